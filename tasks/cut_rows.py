"""Which rows are cut: those whose text has more tokens than the task's length."""

from collections.abc import Sequence

import seqio

from mpt_jax.tasks.spelling import Row


def count(task: seqio.Task, rows: Sequence[Row], side: str, limit: int) -> int:
    """How many of the rows are longer than `limit` tokens on a side, with the end token.

    Args:
      task: whose vocabulary the text goes through.
      rows: cut, as `spelling.sample` gives them. One that fills its length is encoded anew, to tell
        whether it was longer; where the preprocessors keep no text that is not known.
      side: "inputs" or "targets".
      limit: the length that they are cut to.
    """
    feature = task.output_features[side]
    full = (row for row in rows if len(row[side]) >= limit)
    texts = (text for row in full if isinstance(text := row.get(f"{side}_pretokenized"), bytes))
    encoded = (feature.vocabulary.encode(text.decode("utf-8")) for text in texts)
    return sum(len(tokens) + int(feature.add_eos) > limit for tokens in encoded)
