"""The pictures of docs/figures, drawn from the summary and the cosines; in `t5x report`'s style."""

import math
from collections.abc import Callable, Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from mini import labels, scores, summary
from mini.cosines import Cosines
from mini.summary import Line

from mpt_jax.report import heat_maps, style
from mpt_jax.report.style import Picture
from mpt_jax.sweep.plan import FULL

# What a method tunes decides its colour: the paper's, prompts, the network.
_OWN, _PROMPTS, _NETWORK = "#0072B2", "#009E73", "#D55E00"
_NETWORKS = ("adapters", "BitFit", "full fine-tuning", "LoRA", "IA3")
_NAMED = ("MPT", "prompt tuning from scratch", "adapters", "full fine-tuning")  # with bands
_SHORT = {
    "prompt tuning from the source prompt": "from source prompt",
    "prompt tuning from scratch": "prompt tuning",
    "residual prompt tuning": "residual",
    "MPT without distillation": "no distillation",
    "MPT without decomposition": "no decomposition",
}
_REGIMES = {
    "unseen": "backbone has not seen the targets",
    "seen": "backbone has seen the targets",
}
_AXIS = "key metric, mean over targets (%)"
_GREY = "#888888"
_LOG = " (log scale)"
_COLOURS = "Blue: MPT and its variants; green: other prompts; orange: what tunes the network."
FEW = "16"  # of the pictures with one panel of few examples


def few_shot(found: Sequence[Line]) -> Picture:
    """A panel per regime: the mean over targets against the number of examples."""
    means = _means(found)
    regimes, shots = _regimes(means), scores.shots_of(means)
    places = {k: _place(k, shots) for k in shots}
    first, last = min(places.values()), max(places.values())
    constant = next(x for x in found if (x.method, x.task) == (summary.CONSTANT, summary.MEAN))
    figure = Figure(figsize=(5.8 * len(regimes), 5.2), layout="constrained")
    panels = figure.subplots(1, len(regimes), squeeze=False, sharey=True)[0]
    ends: list[dict[str, labels.Place]] = []
    for panel, regime in zip(panels, regimes, strict=True):
        ends.append({})
        for method in _methods(means):
            line = [x for x in means if (x.regime, x.method) == (regime, method)]
            line.sort(key=lambda x: places[x.shots])
            if len(line) > 1:
                _line(panel, method, line, places)
                end = (places[line[-1].shots], line[-1].mean, 0, _colour(method))
                ends[-1][_short(method)] = end
        panel.plot([first, last], [constant.mean] * 2, color=_GREY, linewidth=1, linestyle=":")
        panel.text(first, constant.mean, summary.CONSTANT, color=_GREY, va="bottom")
        panel.set_xticks(list(places.values()), [_named(k) for k in shots])
        panel.set(title=_REGIMES[regime], xlabel="training examples per target", ylabel=_AXIS)
        panel.tick_params(labelleft=True)
        panel.set_xlim(right=last + 0.5 * (last - first))
        panel.spines["bottom"].set_bounds(first, last)
    labels.lay_out(figure)
    for panel, of_panel in zip(panels, ends, strict=True):
        labels.at_ends(panel, of_panel)
    names = [_short(method) for method in _NAMED]
    caption = (
        f"{_COLOURS} Bands of {', '.join(names[:-1])} and {names[-1]}: ± one standard deviation "
        "over seeds. The horizontal axis is logarithmic; “all” is not on its scale."
    )
    return Picture("few_shot", "Score against the number of examples", caption, figure)


def against_tuned(found: Sequence[Line]) -> Picture:
    """Panels of regimes × {few, all} examples: the mean over targets against tuned numbers."""
    return _against("tuned", f"tuned numbers per task{_LOG}", found, lambda line: line.tuned)


def against_seconds(found: Sequence[Line]) -> Picture | None:
    """The same against the seconds of a training run; None where no line says them."""
    if not any(line.seconds for line in found):
        return None
    note = " Source runs, which serve all targets, are not in the seconds."
    x_name = f"seconds of a training run{_LOG}"
    return _against("seconds", x_name, found, lambda line: line.seconds, note)


def _against(
    name: str,
    x_name: str,
    found: Sequence[Line],
    x_of: Callable[[Line], float | None],
    note: str = "",
) -> Picture:
    means = [x for x in _means(found) if x_of(x) and x.shots in (FEW, FULL)]
    regimes, shots = _regimes(means), scores.shots_of(means)
    size = (6 * len(shots), 4.4 * len(regimes))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(regimes), len(shots), squeeze=False, sharex=True, sharey=True)
    _log_axis(grid[0][0], [x_of(x) for x in means])
    points: dict[Axes, dict[str, labels.Place]] = {}
    for row, regime in zip(grid, regimes, strict=True):
        for panel, k in zip(row, shots, strict=True):
            points[panel] = {
                _short(x.method): (x_of(x), x.mean, x.std or 0, _colour(x.method))
                for x in means
                if (x.regime, x.shots) == (regime, k)
            }
            for at, mean, std, colour in points[panel].values():
                bar = {"color": colour, "elinewidth": 1, "capsize": 2}
                panel.errorbar(at, mean, std, marker="o", markersize=5, **bar)
            title = f"{_REGIMES[regime]}, {_named(k)} examples"
            panel.set(title=title, xlabel=x_name, ylabel=_AXIS)
            panel.tick_params(labelleft=True, labelbottom=True)
    labels.lay_out(figure)
    for panel, of_panel in points.items():
        labels.at_points(panel, of_panel)
    caption = f"{_COLOURS} Bars: ± one standard deviation over seeds.{note}"
    return Picture(name, f"Score against {x_name.removesuffix(_LOG)}", caption, figure)


def _log_axis(panel: Axes, values: Sequence[float]) -> None:
    """A log x axis with room for labels; with 1, 2, 5 where it has few powers of ten."""
    low, high = min(values), max(values)
    if high / low > 100:
        style.log_count_axis(panel, low, high)
        return
    room = 1.5 * (high / low) ** 0.15
    panel.set_xscale("log")
    panel.set_xlim(low / room, high * room)
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: style.short_count(value)))
    panel.xaxis.set_minor_locator(NullLocator())


def prompts(found: Sequence[Cosines]) -> Picture:
    """A heat map per regime: cosines between the sources' composed prompts."""
    size = 3.6
    figure = Figure(figsize=(size * len(found) + 1.3, size + 0.25), layout="constrained")
    grid = figure.subplots(1, len(found), squeeze=False)[0]
    low = math.floor(10 * min(one.values.min() for one in found)) / 10
    low = max(-1.0, min(low, 0.9))
    for panel, one in zip(grid, found, strict=True):
        names = [task.removeprefix("mini_") for task in one.tasks]
        texts = [[f"{x:.2f}" for x in row] for row in one.values]
        mesh = heat_maps.draw(panel, one.values, names, names, texts, low)
        panel.set(title=_REGIMES[one.regime], aspect="equal")
    bar = figure.colorbar(mesh, ax=grid.tolist(), label="cosine similarity", shrink=0.8)
    bar.solids.set(rasterized=False, edgecolor="face")
    seeds = ", ".join(f"{one.regime}: {one.seeds}" for one in found)
    caption = (
        "Cosines between the composed prompts of the source tasks, flattened; mean over seeds "
        f"({seeds})."
    )
    return Picture("prompts", "Similarity of the source tasks' prompts", caption, figure)


def all_of(found: Sequence[Line], cosines: Sequence[Cosines]) -> list[tuple[Picture, bytes]]:
    """Each picture that the numbers are there for, and its SVG."""
    with matplotlib.rc_context(style.RC):
        pictures = [few_shot(found), against_tuned(found), against_seconds(found)]
        if cosines:
            pictures.append(prompts(cosines))
        return [(picture, style.render(picture)[0]) for picture in pictures if picture]


def _line(panel: Axes, method: str, line: Sequence[Line], places: Mapping[str, float]) -> None:
    named = method in _NAMED
    x = [places[one.shots] for one in line]
    y = np.array([one.mean for one in line])
    std = np.array([one.std or 0 for one in line])
    look = {"color": _colour(method), "zorder": 3 if named else 2}
    width, size, opacity = (2.2, 5, 1.0) if named else (1.0, 3, 0.65)
    panel.plot(x, y, marker="o", linewidth=width, markersize=size, alpha=opacity, **look)
    if named:
        panel.fill_between(x, y - std, y + std, color=_colour(method), alpha=0.15, linewidth=0)


def _means(found: Sequence[Line]) -> list[Line]:
    kept = [x for x in found if x.task == summary.MEAN and x.regime != summary.CONTRAST]
    return [x for x in kept if x.method != summary.CONSTANT]


def _regimes(found: Sequence[Line]) -> list[str]:
    return list(dict.fromkeys(x.regime for x in found))


def _methods(found: Sequence[Line]) -> list[str]:
    return list(dict.fromkeys(x.method for x in found))


def _colour(method: str) -> str:
    if method in _NETWORKS:
        return _NETWORK
    return _OWN if method.startswith("MPT") else _PROMPTS


def _short(method: str) -> str:
    return _SHORT.get(method, method)


def _named(shots: str) -> str:
    return "all" if shots == FULL else shots


def _place(shots: str, every: Sequence[str]) -> float:
    """Logarithmic; all examples are not on this scale, but next to it."""
    numbers = [int(k) for k in every if k != FULL]
    return math.log2(max(numbers, default=1)) + 1.5 if shots == FULL else math.log2(int(shots))
