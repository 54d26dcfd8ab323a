"""Heat maps of cosine similarity between tasks."""

import math
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mpt_jax.report import similarity, style
from mpt_jax.report.runs import SOURCE, TARGET
from mpt_jax.report.settings import Setting, short_names
from mpt_jax.report.similarity import Similarity
from mpt_jax.report.style import Picture

COLOURS = "cividis"  # one hue scale that reads the same without red and green, and in grey
_BAR = 1.3  # inches, for the bar of colours
MOST_NUMBERED = 12  # columns, whose numbers still fit into the squares

_WHAT = {False: ("prompts", "composed prompts"), True: ("factors", "task factors u⊗v")}


def heat_maps(found: Sequence[Setting]) -> list[Picture]:
    """Prompts and factors of source runs; then of target runs, of the most training examples."""
    pictures = []
    for stage in (SOURCE, TARGET):
        settings = [s for s in found if s.stage == stage]
        pictures += [_picture(stage, settings, of_factors) for of_factors in _WHAT]
    return pictures


def _picture(stage: str, settings: Sequence[Setting], of_factors: bool) -> Picture:
    word, what = _WHAT[of_factors]
    name = f"similarity_{stage}_{word}"
    title = f"Similarity of the {what}, {stage} runs"
    for setting in reversed(settings):  # the most training examples first
        if maps := similarity.of_setting(setting, of_factors):
            caption = (
                f"{setting.title}. Cosine similarity of the {what} of each two tasks, flattened; "
                f"mean over seeds ({', '.join(f'{m.label}: {m.seeds}' for m in maps)}). "
            )
            if stage == TARGET:
                caption += "The rows are of the runs of one seed, one row per task."
            else:
                caption += "The rows are those of each run's prompt bank."
            return Picture(name, title, caption, _draw(maps))
    kind = "factors" if of_factors else "prompts"
    why = f"no method has separate {kind} for several tasks in finished {stage} runs"
    return Picture(name, title, reason=f"{why}.")


def _draw(maps: Sequence[Similarity]) -> Figure:
    count = len(maps[0].tasks)
    size = max(2.6, min(0.34 * count + 0.9, 7))
    most = max(1, min(style.MAX_COLUMNS, int((style.WIDTH - _BAR) / size)))
    columns = style.columns_for(len(maps), most)
    size = min((style.WIDTH - _BAR) / columns, max(6, size))
    rows = math.ceil(len(maps) / columns)
    figure = Figure(figsize=(columns * size + _BAR, rows * (size + 0.25)), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    low = min(m.values.min() for m in maps)
    low = max(-1.0, min(math.floor(low * 10) / 10, 0.9))
    for i, panel in enumerate(grid.flatten()):
        if i < len(maps):
            mesh = _panel(panel, maps[i], low, named=i % columns == 0)
        else:
            panel.set_visible(False)
    place = {"shrink": 0.8 / rows, "aspect": 16, "anchor": (0, 1)}
    bar = figure.colorbar(mesh, ax=grid.flatten().tolist(), label="cosine similarity", **place)
    bar.solids.set(rasterized=False, edgecolor="face")  # no embedded bitmap, no seams
    return figure


def _panel(panel: Axes, one: Similarity, low: float, named: bool):
    short = list(short_names(one.tasks).values())
    texts = [[_short(x) for x in row] for row in one.values]
    panel.set(title=one.label, aspect="equal")
    return draw(panel, one.values, short if named else [""] * len(short), short, texts, low)


def draw(
    panel: Axes,
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    texts: Sequence[Sequence[str]],
    low: float,
    smallest: float = 4,
):
    """A heat map of `values` [rows, columns] between `low` and 1; returns what a bar shows.

    `texts` stand in its squares where these are large enough; names have the `smallest` font where
    there are very many.
    """
    mesh = panel.pcolormesh(values, cmap=COLOURS, vmin=low, vmax=1, linewidth=0)
    few = len(columns) <= MOST_NUMBERED
    size = 8 if few else max(smallest, 110 / len(columns))
    slanted = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    panel.set_xticks([i + 0.5 for i in range(len(columns))], columns, fontsize=size, **slanted)
    panel.set_yticks([i + 0.5 for i in range(len(rows))], rows, fontsize=size)
    panel.invert_yaxis()
    panel.grid(visible=False)
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    for i, row in enumerate(values if few else ()):
        for j, value in enumerate(row):
            red, green, blue, _ = matplotlib.colormaps[COLOURS]((value - low) / (1 - low))
            dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
            place = {"ha": "center", "va": "center", "fontsize": 6.5}
            panel.text(j + 0.5, i + 0.5, texts[i][j], color="white" if dark else "black", **place)
    return mesh


def _short(value: float) -> str:
    """0.354 -> ".35"; 1.0 -> "1"; -0.001 -> "0"."""
    text = f"{round(value, 2) + 0.0:.2f}"  # + 0.0: no "-0.00"
    return text.removesuffix(".00") if text.endswith(".00") else text.replace("0.", ".", 1)
