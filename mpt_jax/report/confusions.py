"""Heat maps of which label was taken for which, where evaluations were asked for it."""

import re
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from mpt_jax.report import style
from mpt_jax.report.heat_maps import COLOURS, MOST_NUMBERED, write_numbers
from mpt_jax.report.runs import Run
from mpt_jax.report.settings import Setting
from mpt_jax.report.style import Picture

_TITLE = "Confusion of labels"


def confusions(found: Sequence[Setting]) -> list[Picture]:
    """A picture per setting and task: a panel per method, its runs' counts added up."""
    pictures = [
        _picture(setting, task)
        for setting in found
        for task in setting.tasks
        if any(task in run.confusions for run in setting.runs)
    ]
    why = "no run has an evaluation with --gin.CONFUSION=True."
    return pictures or [Picture("confusion", _TITLE, reason=why)]


def _picture(setting: Setting, task: str) -> Picture:
    groups: dict[tuple, list[Run]] = {}
    for label in setting.labels:
        for run in setting.of(label):
            if task in run.confusions:
                one = run.confusions[task]
                groups.setdefault((label, one.rows, one.columns), []).append(run)
    figure, axes = style.panels(len(groups), height=_height(groups))
    for panel, ((label, rows, columns), runs) in zip(axes, groups.items(), strict=True):
        counts = sum(run.confusions[task].counts for run in runs)
        _draw(panel, counts, rows, columns)
        panel.set(title=label, xlabel="answer", ylabel="label")
    splits = ", ".join(sorted({run.split for runs in groups.values() for run in runs}))
    seeds = ", ".join(f"{label}: {len(runs)}" for (label, *_), runs in groups.items())
    caption = (
        f"{setting.title}. How often each label of {task} was answered with which, on the split "
        f"{splits}; added up over seeds ({seeds}). The darker, the smaller the share of its row. "
        "Scores of each label: confusion.csv."
    )
    name = f"confusion_{setting.name}_{re.sub(r'[^A-Za-z0-9_.-]+', '_', task)}"
    title = f"{_TITLE}: {task}, {setting.title[0].lower()}{setting.title[1:]}"
    return Picture(name, title, caption, figure)


def _height(groups: dict[tuple, list[Run]]) -> float:
    most = max(len(rows) for _, rows, _ in groups)
    return max(2.4, min(0.3 * most + 1.4, 7))


def _draw(panel: Axes, counts: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> None:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    panel.pcolormesh(shares, cmap=COLOURS, vmin=0, vmax=1, linewidth=0)
    size = 8 if len(columns) <= MOST_NUMBERED else max(3, 110 / len(columns))
    names = [[_short(name) for name in axis] for axis in (columns, rows)]
    middles = [[i + 0.5 for i in range(len(axis))] for axis in names]
    slanted = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    panel.set_xticks(middles[0], names[0], fontsize=size, **slanted)
    panel.set_yticks(middles[1], names[1], fontsize=size)
    panel.invert_yaxis()
    panel.grid(visible=False)
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    if len(columns) <= MOST_NUMBERED:
        write_numbers(panel, shares, [[f"{n:,}" for n in row] for row in counts.tolist()], low=0)


def _short(text: str, most: int = 24) -> str:
    text = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return text if len(text) <= most else f"{text[: most - 1]}…"
