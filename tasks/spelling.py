"""What targets become in a task's vocabulary: a model answers in tokens, and tokens read alike.

A vocabulary that writes lower case only, lacks a character or joins spaces gives another text back
than it was given. Metrics compare what a model's tokens decode to with the text of the file.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import seqio

from mpt_jax.tasks.reading import reading

SAMPLE = 100  # rows, the first of a split

Row = Mapping[str, Any]


def sample(
    task: seqio.Task, split: str, lengths: Mapping[str, int], *, use_cached: bool = False
) -> list[Row]:
    """The first rows of a split, with what its preprocessing keeps next to the tokens.

    Args:
      task: any.
      split: one of its splits.
      lengths: token limits, which some preprocessors ask for.
      use_cached: read what `seqio_cache_tasks` wrote.

    Raises:
      UserError: its data cannot be read.
    """
    with reading(task, use_cached):
        rows = task.get_dataset(
            lengths, split=split, use_cached=use_cached, shuffle=False, try_in_mem_cache=False
        )
        return list(rows.take(SAMPLE).as_numpy_iterator())


def respelled(task: seqio.Task, text: str) -> str:
    """What an answer reads that has exactly the tokens of `text`."""
    vocabulary = task.output_features["targets"].vocabulary
    return vocabulary.decode(list(vocabulary.encode(text)))


def raw_target(row: Row) -> str | None:
    """The target as the metrics take it; None where they take the tokens, decoded."""
    text = row.get("targets_pretokenized")
    return text.decode("utf-8") if isinstance(text, bytes) else None


def lost(task: seqio.Task, rows: Sequence[Row]) -> list[str]:
    """The targets of `rows` that no answer equals, as the task's postprocessor hands them over."""
    pairs = ((raw_target(row), row) for row in rows)
    return [text for text, row in pairs if text is not None and _changes(task, text, row)]


def lost_labels(task: seqio.Task, words: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Those of the label `words` that no answer equals.

    Args:
      task: whose vocabulary and postprocessor they go through.
      words: its label words.
      rows: a `sample`, at least one row; postprocessors may look at them.
    """
    encode = task.output_features["targets"].vocabulary.encode
    by_target = {raw_target(row): row for row in rows}
    if set(by_target) == {None}:
        return [word for word in words if not len(encode(word))]
    return [word for word in words if _changes(task, word, by_target.get(word, rows[0]))]


def collision(task: seqio.Task, words: Sequence[str]) -> tuple[str, str] | None:
    """Two of the label `words` that have the same tokens, so that answers cannot tell them."""
    seen: dict[tuple[int, ...], str] = {}
    for word in dict.fromkeys(words):
        ids = tuple(task.output_features["targets"].vocabulary.encode(word))
        if ids in seen:
            return seen[ids], word
        seen[ids] = word
    return None


def _changes(task: seqio.Task, text: str, row: Row) -> bool:
    given = respelled(task, text)
    if given == text:
        return False
    exact, best = (
        task.postprocess_fn(said, example=row, is_target=False) for said in (text, given)
    )
    return not np.all(exact == best)
