"""The score of one answer for every row: what a method must beat to have learnt anything."""

import collections
import pathlib
from collections.abc import Sequence

from real import corpora

NAME = "always the commonest label"  # of its row in a table


def of_target(copied: pathlib.Path, corpus: corpora.Corpus) -> str:
    """The score of always giving the commonest label of train, or the mean of the numbers.

    Args:
      copied: folder of the prepared corpora.
      corpus: a target.

    Returns:
      A cell of the table; "-" for generated text.
    """
    if corpus.answer == "score":
        return "0.0"  # a constant does not correlate
    if corpus.answer != "label":
        return "-"
    scored = corpora.read_rows(copied / corpus.name / f"{corpus.evaluated[-1]}.jsonl")
    return _share_of_commonest(_train_labels(copied, corpus), [row["label"] for row in scored])


def of_source(copied: pathlib.Path, corpus: corpora.Corpus, held_out: pathlib.Path) -> str:
    """The same for a source, whose scored rows are a part of train.

    Args:
      copied: folder of the prepared corpora.
      corpus: a source.
      held_out: the rows with their "targets", as a run's evaluation writes them.
    """
    scored = [row["targets"] for row in corpora.read_rows(held_out)]
    return _share_of_commonest(_train_labels(copied, corpus), scored)


def _train_labels(copied: pathlib.Path, corpus: corpora.Corpus) -> list[str]:
    return [row["label"] for row in corpora.read_rows(copied / corpus.name / "train.jsonl")]


def _share_of_commonest(train: Sequence[str], scored: Sequence[str]) -> str:
    (label, _), *_ = collections.Counter(train).most_common(1)
    return f"{100 * sum(answer == label for answer in scored) / len(scored):.1f}"
