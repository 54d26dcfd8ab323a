"""The table of the mini suite: each task's labels, split sizes and key metric, and its rows."""

import functools
import random
from collections.abc import Callable
from typing import Any, NamedTuple

from mpt_jax.tasks import mini_rows
from mpt_jax.tasks.mini_rows import Row

SPLITS = ("train", "validation", "test")
_SEED = "mpt mini world 1"

_NLI = ("entailment", "neutral", "contradiction")


class MiniTask(NamedTuple):
    """One task of the suite.

    Attributes:
      writer: writes a row for one of `cases`.
      cases: what rows take in turn; the label words, where `labelled`.
      metric: the key metric.
      train: rows of the train split; validation has 200 rows and test 300 in every task.
      labelled: whether the targets are `cases` (else free text or spans).
    """

    writer: Callable[[random.Random, Any], Row]
    cases: tuple[str, ...]
    metric: str
    train: int
    labelled: bool = True

    def size(self, split: str) -> int:
        """Rows of `split`."""
        return {"train": self.train, "validation": 200, "test": 300}[split]


SOURCES = {
    "mini_nli": MiniTask(mini_rows.nli, _NLI, "accuracy", 4000),
    "mini_qnli": MiniTask(mini_rows.qnli, mini_rows.ENTAILS, "accuracy", 4000),
    "mini_paraphrase": MiniTask(mini_rows.paraphrase, mini_rows.DUPLICATE, "accuracy", 4000),
    "mini_sentiment": MiniTask(mini_rows.sentiment, mini_rows.FEELINGS, "accuracy", 4000),
    "mini_qa": MiniTask(
        mini_rows.qa, ("who", "what", "where", "when", "colour"), "f1", 4000, labelled=False
    ),
    "mini_cloze": MiniTask(
        mini_rows.cloze, ("first", "second", "third"), "accuracy", 4000, labelled=False
    ),
}
TARGETS = {
    "mini_news_nli": MiniTask(mini_rows.news_nli, _NLI, "accuracy", 1000),
    "mini_rte": MiniTask(mini_rows.rte, mini_rows.ENTAILS, "accuracy", 250),
    "mini_similarity": MiniTask(mini_rows.similarity, tuple("012345"), "pearson", 1000),
    "mini_acceptability": MiniTask(mini_rows.acceptability, mini_rows.ACCEPTABLE, "matthews", 1000),
    "mini_wic": MiniTask(mini_rows.wic, ("true", "false"), "accuracy", 1000),
    "mini_coref": MiniTask(mini_rows.coref, ("yes", "no"), "accuracy", 1000),
    "mini_boolq": MiniTask(mini_rows.boolq, ("yes", "no"), "accuracy", 1000),
    "mini_data2text": MiniTask(mini_rows.data2text, ("",), "bleu", 1000, labelled=False),
}
SUITE = {**SOURCES, **TARGETS}


@functools.cache
def split_rows(name: str, split: str) -> tuple[Row, ...]:
    """The rows of a split: distinct within the task, balanced over `cases`, the same every time.

    The test rows come first in the task's one stream, so they do not depend on other sizes.
    """
    task = SUITE[name]
    order = ("test", "validation", "train")
    total = sum(task.size(each) for each in order)
    start = sum(task.size(each) for each in order[: order.index(split)])
    return tuple(_stream(name, total)[start : start + task.size(split)])


@functools.cache
def _stream(name: str, count: int) -> list[Row]:
    return mini_rows.distinct_rows(SUITE[name].writer, SUITE[name].cases, count, f"{_SEED}: {name}")
