"""Heat maps of which label was taken for which, where evaluations were asked for it."""

import re
from collections.abc import Sequence

import numpy as np

from mpt_jax.report import heat_maps, style
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
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        texts = [[f"{n:,}" for n in row] for row in counts.tolist()]
        names = [[_short(name) for name in axis] for axis in (rows, columns)]
        heat_maps.draw(panel, shares, *names, texts, low=0, smallest=3)
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


def _short(text: str, most: int = 24) -> str:
    text = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return text if len(text) <= most else f"{text[: most - 1]}…"
