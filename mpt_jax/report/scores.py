"""Pictures of final scores: against tuned parameters, cost and shots, and ablations."""

import math
import re
from collections.abc import Iterable, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.markers import MarkerStyle

from mpt_jax.engine.records import recorded_costs
from mpt_jax.report import reported, style
from mpt_jax.report.runs import TARGET
from mpt_jax.report.settings import Cell, Setting, score_name, short_names
from mpt_jax.report.style import Look, Picture

ERROR = {"capsize": 3, "elinewidth": 1.2}


def against_parameters(
    found: Sequence[Setting], looks: dict[str, Look], as_reported: bool
) -> Picture:
    """A panel per number of shots: the mean over tasks against tuned parameters per task."""
    name, title = "parameters", "Score against tuned parameters"
    points = {s: _means(s) for s in found if s.stage == TARGET}
    points = {s: means for s, means in points.items() if means}
    if not points:
        return Picture(name, title, reason=_no_mean(found))
    figure, axes = style.panels(len(points), sharex=True, sharey=True)
    full = [s for s in points if s.shots is None]
    paper_of = {s: reported.TABLE if as_reported and s in full else () for s in points}
    counts = [s.tuned(label) for s, means in points.items() for label in means]
    counts += [point.tuned for paper in paper_of.values() for point in paper]
    style.log_count_axis(axes[0], min(counts), max(counts))
    for panel, (setting, means) in zip(axes, points.items(), strict=True):
        tuned = {label: setting.tuned(label) for label in means}
        group = reported.group_of(setting.tasks)
        places = _side_by_side(tuned, panel)
        for label, cell in means.items():
            _point(panel, places[label], cell, label, looks[label])
        if paper_of[setting]:
            _overlay(panel, group)
        panel.set(title=setting.title, xlabel="tuned parameters per task (log scale)")
        panel.set_ylabel(score_name(setting.runs, setting.tasks))
    style.legend_below(figure, axes)
    caption = (
        f"{_over(points)}; bars: ± standard deviation over seeds. Methods with about the same "
        "number of parameters are set side by side: the exact numbers are in the table."
    )
    if as_reported and full:
        caption += f" {reported.CAPTION}"
    elif as_reported:
        caption += " Published figures are for all training examples, and there are no such runs."
    return Picture(name, title, caption + _notes(points), figure)


def against_seconds(found: Sequence[Setting], looks: dict[str, Look]) -> Picture:
    """A panel per number of shots: the mean over tasks against the seconds of a run."""
    name, title = "costs", "Score against cost"
    points = {s: _timed(s) for s in found if s.stage == TARGET}
    points = {s: timed for s, timed in points.items() if timed}
    if not points:
        return Picture(name, title, reason="no method with runs on every task says what they cost.")
    figure, axes = style.panels(len(points), sharex=True, sharey=True)
    every = [seconds for timed in points.values() for seconds, _ in timed.values()]
    style.log_count_axis(axes[0], min(every), max(every))
    for panel, (setting, timed) in zip(axes, points.items(), strict=True):
        for label, (seconds, cell) in timed.items():
            _point(panel, seconds, cell, label, looks[label])
        panel.set(title=setting.title, xlabel="seconds of a training run (log scale)")
        panel.set_ylabel(score_name(setting.runs, setting.tasks))
    style.legend_below(figure, axes)
    caption = (
        f"{_over(points)}; bars: ± standard deviation over seeds. Seconds of the wall clock from a "
        "run's start to its end, as the mean over runs; source runs, which serve many targets, are "
        "not in them."
    )
    return Picture(name, title, caption + _notes(points), figure)


def few_shot(found: Sequence[Setting], looks: dict[str, Look]) -> list[Picture]:
    """Score against shots: the mean over the tasks that every number of shots has, and by task."""
    name, title = "few_shot", "Few-shot curves"
    targets = [s for s in found if s.stage == TARGET]
    tasks = sorted(set.intersection(*(set(s.tasks) for s in targets))) if targets else []
    if len(targets) < 2 or not tasks:
        why = "they need target runs of the same tasks with at least two numbers of shots"
        return [Picture(name, title, reason=f"{why}.")]
    labels = [label for label in looks if any(s.mean(label, tasks) for s in targets)]
    if not labels:
        return [Picture(name, title, reason="no method has runs on every task.")]

    figure, (panel,) = style.panels(1, 4.6)
    for label in labels:
        _shots_line(panel, looks[label], label, targets, [s.mean(label, tasks) for s in targets])
    runs = [run for s in targets for run in s.runs if set(run.tasks) & set(tasks)]
    panel.set_ylabel(score_name(runs, tasks))
    style.legend_below(figure, [panel])
    caption = (
        f"{_task_list(tasks)}; bands: ± standard deviation over seeds. The horizontal "
        "axis is logarithmic; “all” is not on its scale."
    )
    pictures = [Picture(name, title, caption, figure)]
    if len(tasks) > 1:
        pictures.append(_few_shot_by_task(targets, tasks, looks))
    return pictures


def _few_shot_by_task(targets: Sequence[Setting], tasks: list[str], looks) -> Picture:
    figure, axes = style.panels(len(tasks), 2.8, most=4, sharex=True)
    names = short_names(tasks)
    first: dict[str, Axes] = {}  # panel of each metric
    for panel, task in zip(axes, tasks, strict=True):
        for label, look in looks.items():
            _shots_line(panel, look, label, targets, [s.cell(label, task) for s in targets])
        runs = [run for s in targets for run in s.runs if task in run.tasks]
        only = [run.key_metrics[task] for run in runs]
        panel.set(title=names[task], ylabel=f"{only[0].replace('_', ' ')} (%)")
        if panel is not first.setdefault(only[0], panel):
            panel.sharey(first[only[0]])
            panel.autoscale(axis="y")
    style.legend_below(figure, axes)
    caption = (
        "Each task's key metric; bands: ± standard deviation over seeds. Panels of one metric have "
        "the same vertical axis."
    )
    return Picture("few_shot_by_task", "Few-shot curves by task", caption, figure)


def ablations(found: Sequence[Setting]) -> list[Picture]:
    """Bars of each method that has variants, whose labels go on from its own, and of these."""
    targets = {s: _means(s) for s in found if s.stage == TARGET}
    by_base: dict[str, dict[Setting, dict[str, Cell]]] = {}
    for setting, means in targets.items():
        for base, variants in families(list(means)).items():
            bars = {label: means[label] for label in [base, *variants]}
            by_base.setdefault(base, {})[setting] = bars
    if not by_base:
        why = "no method with runs on every task has a variant, whose label begins with its label"
        return [Picture("ablation", "Ablation", reason=f"{why}.")]
    return [_ablation(base, bars) for base, bars in by_base.items()]


def _ablation(base: str, bars: dict[Setting, dict[str, Cell]]) -> Picture:
    height = 0.9 + 0.36 * max(map(len, bars.values()))
    figure, axes = style.panels(len(bars), height)
    every = [cell for means in bars.values() for cell in means.values()]
    low = min(0, *(cell.mean for cell in every))
    high = max(1, *(cell.mean + (cell.std or 0) for cell in every)) * 1.15
    for panel, (setting, means) in zip(axes, bars.items(), strict=True):
        ends = [cell.mean + (cell.std or 0) for cell in means.values()]
        for place, (label, cell, end) in enumerate(zip(means, means.values(), ends, strict=True)):
            colour = "#3D8FC4" if label == base else "#B5D0E2"
            panel.barh(place, cell.mean, color=colour, height=0.62)
            error = ERROR | {"color": "#222222", "linestyle": "none"}
            panel.errorbar(cell.mean, place, xerr=cell.std or 0, **error)
            panel.annotate(
                f"{cell.mean:.1f}", (end, place), (5, 0), textcoords="offset points", va="center"
            )
        panel.set_yticks(range(len(means)), list(means))
        panel.invert_yaxis()
        panel.grid(visible=False, axis="y")
        panel.set_xlim(low, high)
        panel.set(title=setting.title, xlabel=score_name(setting.runs, setting.tasks))
    caption = (
        f"{_over(bars)}. Dark: {base}; light: its variants, the methods whose label begins "
        f"with “{base}”. Whiskers: ± standard deviation over seeds."
    )
    name = "ablation_" + re.sub(r"\W+", "_", base).lower()
    return Picture(name, f"Ablation of {base}", caption + _notes(bars), figure)


def families(labels: Sequence[str]) -> dict[str, list[str]]:
    """Method -> its variants: "MPT" -> ["MPT without distillation"]; those that have any.

    A variant's label is the method's and further words. A variant of a variant counts for the
    first one only.
    """
    found: dict[str, list[str]] = {}
    for label in sorted(labels, key=len):
        base = next((b for b in found if label.startswith((f"{b} ", f"{b},"))), None)
        if base is None:
            found[label] = []
        else:
            found[base].append(label)
    ordered = {base: [x for x in labels if x in variants] for base, variants in found.items()}
    return {base: ordered[base] for base in labels if ordered.get(base)}


def _means(setting: Setting) -> dict:
    means = {label: setting.mean(label) for label in setting.labels}
    return {label: cell for label, cell in means.items() if cell}


def _timed(setting: Setting) -> dict[str, tuple[float, Cell]]:
    """Of each method whose runs say it: their mean seconds, and its mean score."""
    seconds = {label: setting.cost(label).get(recorded_costs.SECONDS) for label in setting.labels}
    means = _means(setting)
    return {label: (seconds[label], cell) for label, cell in means.items() if seconds[label]}


def _point(panel: Axes, x: float, cell: Cell, label: str, look: Look) -> None:
    marks = look.line_style() | {"linestyle": "none"} | ERROR
    panel.errorbar(x, cell.mean, cell.std or 0, label=style.in_legend(label), **marks)


def _no_mean(found: Sequence[Setting]) -> str:
    if not any(s.stage == TARGET for s in found):
        return "there is no finished target run."
    return "no method has runs on every task of a table."


def _notes(found: Iterable[Setting]) -> str:
    """Which methods a picture of means lacks, and whether validation scores are among them."""
    sentences = []
    for setting in found:
        means = {label: setting.mean(label) for label in setting.labels}
        missing = [label for label, cell in means.items() if cell is None]
        if missing:
            names = ", ".join(missing)
            sentences.append(f" {setting.title}: without {names}, with no seed that has all tasks.")
    if any(cell and cell.validation for s in found for cell in map(s.mean, s.labels)):
        sentences.append(" Some are validation scores, which the tables mark.")
    return "".join(sentences)


def _over(found: Iterable[Setting]) -> str:
    """What a point of some settings is, at the beginning of a caption."""
    several = any(len(setting.tasks) > 1 for setting in found)
    return "Mean over all tasks of the table" if several else "The score of the one task"


def _task_list(tasks: Sequence[str]) -> str:
    return f"Mean over {len(tasks)} tasks ({', '.join(tasks)})" if len(tasks) > 1 else tasks[0]


def _side_by_side(tuned: dict[str, float], panel: Axes, apart=0.015) -> dict[str, float]:
    """Label -> x, where points that would cover each other stand `apart` (part of the axis)."""
    low, high = map(math.log10, panel.get_xlim())
    step = apart * (high - low)
    clusters: list[list[str]] = []
    for label in sorted(tuned, key=lambda label: (tuned[label], label)):
        if clusters and math.log10(tuned[label] / tuned[clusters[-1][-1]]) < step:
            clusters[-1].append(label)
        else:
            clusters.append([label])
    places = {}
    for cluster in clusters:
        centre = sum(math.log10(tuned[label]) for label in cluster) / len(cluster)
        for i, label in enumerate(cluster):
            places[label] = 10 ** (centre + (i - (len(cluster) - 1) / 2) * step)
    return places


def _shots_line(panel: Axes, look: Look, label: str, targets: Sequence[Setting], cells) -> None:
    """One method's line with its band over the numbers of shots."""
    numbers = [s.shots for s in targets if s.shots is not None]
    last = math.log2(max(numbers))
    places = [last + 1.5 if s.shots is None else math.log2(s.shots) for s in targets]
    known = [(x, cell) for x, cell in zip(places, cells, strict=True) if cell]
    if not known:
        return
    x = [place for place, _ in known]
    low = [cell.mean - (cell.std or 0) for _, cell in known]
    high = [cell.mean + (cell.std or 0) for _, cell in known]
    means = [cell.mean for _, cell in known]
    panel.plot(x, means, label=style.in_legend(label), **look.line_style())
    panel.fill_between(x, low, high, color=look.colour, alpha=style.BAND, linewidth=0)
    panel.set_xticks(places, ["all" if s.shots is None else str(s.shots) for s in targets])
    panel.set_xlabel("training examples per task")
    if targets[-1].shots is None:
        panel.axvline(last + 0.75, color="#AAAAAA", linewidth=0.8, linestyle=":")


def _overlay(panel: Axes, group: str) -> None:
    """Published figures as grey letters."""
    points = [point for point in reported.TABLE if group in point.means]
    tuned = {point.letter: point.tuned for point in points}
    places = _side_by_side(tuned, panel, apart=0.03)
    for point in points:
        panel.scatter(
            places[point.letter],
            point.means[group],
            marker=_letter(point.letter),
            s=42,
            color="#555555",
            label=f"as reported, {group}: {point.method}",
        )


def _letter(letter: str) -> MarkerStyle:
    """A marker of that shape; matplotlib takes it for text in labels, where "$" is a "$"."""
    with matplotlib.rc_context({"text.parse_math": True}):
        return MarkerStyle(f"$\\mathrm{{{letter}}}$")
