"""What a split holds, as a model meets it: counted once through the task's own preprocessing."""

import collections
import dataclasses
from collections.abc import Mapping

import numpy as np
import seqio
import tensorflow as tf

from mpt_jax.feature_lengths import SIDES

_BATCH = 512


@dataclasses.dataclass(frozen=True)
class SplitFacts:
    """Facts of the N examples of a split.

    Attributes:
      lengths: side -> tokens of each example, with the end token and before any cut: [N] int32.
      targets: how often each target text occurs.
      examples: the first few, side -> text as the model sees it: what its tokens read.
    """

    lengths: Mapping[str, np.ndarray]
    targets: collections.Counter[str]
    examples: list[dict[str, str]]

    @property
    def count(self) -> int:
        """N."""
        return self.targets.total()


def read_split(task: seqio.Task, split: str, num_examples: int) -> SplitFacts:
    """Reads the whole of `split`, and shows `num_examples` of its examples."""

    def measured(row: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        sizes = {side: tf.size(row[side]) for side in SIDES}
        return {**sizes, "target": _target(row, task)}

    lengths = {side: [np.zeros(0, np.int32)] for side in SIDES}
    targets = collections.Counter()
    rows = task.get_dataset(None, split=split, shuffle=False, try_in_mem_cache=False)
    for batch in rows.map(measured).batch(_BATCH).as_numpy_iterator():
        for side in SIDES:
            lengths[side].append(batch[side])
        targets.update(text.decode("utf-8") for text in batch["target"])
    decode = {side: task.output_features[side].vocabulary.decode for side in SIDES}
    examples = [
        {side: decode[side](row[side].tolist()) for side in SIDES}
        for row in rows.take(num_examples).as_numpy_iterator()
    ]
    return SplitFacts({side: np.concatenate(lengths[side]) for side in SIDES}, targets, examples)


def _target(row: Mapping[str, tf.Tensor], task: seqio.Task) -> tf.Tensor:
    """The target's text: as the preprocessing kept it, else decoded."""
    kept = row.get("targets_pretokenized")
    if kept is not None and kept.dtype == tf.string and kept.shape.rank == 0:
        return kept
    return task.output_features["targets"].vocabulary.decode_tf(row["targets"])
