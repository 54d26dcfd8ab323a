"""Which label was answered with which, and the scores of each label: `<task>.confusion.csv`.

A report reads the file, so that nothing heavy is imported before a confusion is counted.
"""

import csv
import dataclasses
from collections.abc import Sequence

import numpy as np

from mpt_jax import csv_text
from mpt_jax.errors import UserError, shown

SUFFIX = "confusion.csv"
NONE = "no label word"
_SCORES = ("precision", "recall", "f1", "support")
_MOST_TOLD = 20  # labels


@dataclasses.dataclass(frozen=True, eq=False)
class Confusion:
    """Of one task with K label words.

    Attributes:
        labels: the label words.
        counts: [K, K + 1] integers: how many targets (rows) were answered with each label, and in
            the last column with another text. A row K + 1 where a target is another text.
        scores: [K, 4] float: precision, recall and F1 in percent, and the number of targets.
    """

    labels: tuple[str, ...]
    counts: np.ndarray
    scores: np.ndarray

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the rows of `counts`."""
        return (*self.labels, NONE)[: len(self.counts)]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of `counts`."""
        return (*self.labels, NONE)


def of(labels: Sequence[str], targets: np.ndarray, answers: np.ndarray) -> Confusion:
    """Counts a confusion; scikit-learn's arithmetic, 0 where it would divide by 0.

    Args:
        labels: K different label words.
        targets: [N] integers, N >= 1: which label it is, K for none.
        answers: as `targets`.
    """
    import sklearn.metrics

    known = range(len(labels))
    counts = sklearn.metrics.confusion_matrix(targets, answers, labels=[*known, len(labels)])
    scores = sklearn.metrics.precision_recall_fscore_support(
        targets, answers, labels=known, zero_division=0.0
    )
    rows = len(labels) + int(counts[-1].any())
    return Confusion(tuple(labels), counts[:rows], np.stack(scores, axis=1) * [100, 100, 100, 1])


def told(found: Confusion) -> list[str]:
    """Lines for the screen: each label's scores, and what it was most often taken for."""
    lines = []
    for i, (label, scores) in enumerate(zip(found.labels, found.scores, strict=True)):
        named = "  ".join(
            f"{name} {score:.{0 if name == 'support' else 2}f}"
            for name, score in zip(_SCORES, scores, strict=True)
        )
        wrong = found.counts[i].copy()
        wrong[i] = 0
        most = int(wrong.argmax())
        taken = f"  taken for {_name(found, most)}: {wrong[most]}" if wrong.any() else ""
        lines.append(f"  {shown(label)} {named}{taken}")
    more = len(lines) - _MOST_TOLD
    return lines if more <= 0 else [*lines[:_MOST_TOLD], f"  and {more} labels more"]


def _name(found: Confusion, column: int) -> str:
    return shown(found.labels[column]) if column < len(found.labels) else NONE


def to_csv(found: Confusion) -> str:
    """The text of the file: a line per row, its counts, and the label's scores in percent."""
    lines = [["label", *found.columns, *_SCORES]]
    for i, (name, row) in enumerate(zip(found.rows, found.counts.tolist(), strict=True)):
        scores: list[str | int] = ["", "", "", sum(row)]
        if i < len(found.labels):
            scores = [*(f"{score:.4f}" for score in found.scores[i, :3]), sum(row)]
        lines.append([name, *row, *scores])
    return csv_text.csv_text(lines)


def from_csv(text: str, where: str) -> Confusion:
    """What `to_csv` has written.

    Raises:
        UserError: the text is something else; `where` names the file.
    """
    try:
        head, *lines = csv_text.read(text)
        labels = tuple(head[1 : -1 - len(_SCORES)])
        width = len(labels) + 1
        counts = np.array([line[1 : 1 + width] for line in lines], dtype=np.int64)
        scores = np.array([line[1 + width :] for line in lines[: len(labels)]], dtype=np.float64)
        usable = (
            tuple(head[-len(_SCORES) :]) == _SCORES
            and len(labels) > 0
            and counts.shape in ((len(labels), width), (width, width))
            and scores.shape == (len(labels), len(_SCORES))
            and np.isfinite(scores).all()
            and (counts >= 0).all()
        )
    except (ValueError, OverflowError, csv.Error):
        usable = False
    if not usable:
        raise UserError(f"{where} is not a confusion matrix: evaluate again.")
    return Confusion(labels, counts, scores)
