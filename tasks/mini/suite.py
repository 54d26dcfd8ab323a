"""The table of the mini suite: each task's labels, split sizes and key metric, and its rows."""

import functools
import random
from collections.abc import Callable
from typing import Any, NamedTuple

from mpt_jax.tasks.mini import rows
from mpt_jax.tasks.mini.rows import Row

SPLITS = ("train", "validation", "test")
_SEED = "mpt mini world 1"

_PAIR = "premise: {premise} hypothesis: {hypothesis}"
_QUESTION = "context: {context} question: {question}"
_TWO = "sentence1: {sentence1} sentence2: {sentence2}"
_ONE = "sentence: {sentence}"

_NLI = ("entailment", "neutral", "contradiction")


class MiniTask(NamedTuple):
    """One task of the suite.

    Attributes:
      writer: writes a row for one of `cases`.
      cases: what rows take in turn; the label words, where `labelled`.
      metric: the key metric.
      train: rows of the train split; validation has 200 rows and test 300 in every task.
      inputs: how its inputs are written.
      labelled: whether the targets are `cases` (else free text or spans).
    """

    writer: Callable[[random.Random, Any], Row]
    cases: tuple[str, ...]
    metric: str
    train: int
    inputs: str
    labelled: bool = True

    def size(self, split: str) -> int:
        """Rows of `split`."""
        return {"train": self.train, "validation": 200, "test": 300}[split]


SOURCES = {
    "mini_nli": MiniTask(rows.nli, _NLI, "accuracy", 4000, _PAIR),
    "mini_qnli": MiniTask(rows.qnli, rows.ENTAILS, "accuracy", 4000, _QUESTION),
    "mini_paraphrase": MiniTask(rows.paraphrase, rows.DUPLICATE, "accuracy", 4000, _TWO),
    "mini_sentiment": MiniTask(rows.sentiment, rows.FEELINGS, "accuracy", 4000, _ONE),
    "mini_qa": MiniTask(
        rows.qa, ("who", "what", "where", "when", "colour"), "f1", 4000, _QUESTION, labelled=False
    ),
    "mini_cloze": MiniTask(
        rows.cloze,
        ("first", "second", "third"),
        "accuracy",
        4000,
        "context: {context} query: {query} entities: {entities}",
        labelled=False,
    ),
}
TARGETS = {
    "mini_news_nli": MiniTask(rows.news_nli, _NLI, "accuracy", 1000, _PAIR),
    "mini_rte": MiniTask(rows.rte, rows.ENTAILS, "accuracy", 250, _PAIR),
    "mini_similarity": MiniTask(rows.similarity, tuple("012345"), "pearson", 1000, _TWO),
    "mini_acceptability": MiniTask(rows.acceptability, rows.ACCEPTABLE, "matthews", 1000, _ONE),
    "mini_wic": MiniTask(rows.wic, ("true", "false"), "accuracy", 1000, f"{_TWO} word: {{word}}"),
    "mini_coref": MiniTask(rows.coref, ("yes", "no"), "accuracy", 1000, _QUESTION),
    "mini_boolq": MiniTask(rows.boolq, ("yes", "no"), "accuracy", 1000, _QUESTION),
    "mini_data2text": MiniTask(
        rows.data2text,
        ("",),
        "bleu",
        1000,
        "subject: {subject} action: {action} object: {object}",
        labelled=False,
    ),
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
    return rows.distinct_rows(SUITE[name].writer, SUITE[name].cases, count, f"{_SEED}: {name}")
