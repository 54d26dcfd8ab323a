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
      examples: the first few, side -> text.
    """

    lengths: Mapping[str, np.ndarray]
    targets: collections.Counter[str]
    examples: list[dict[str, str]]

    @property
    def count(self) -> int:
        """N."""
        return self.targets.total()


def read_split(task: seqio.Task, split: str, num_examples: int) -> SplitFacts:
    """Reads the whole of `split`, and keeps `num_examples` of its examples as text."""

    def measured(row: Mapping[str, tf.Tensor]) -> dict[str, tuple[tf.Tensor, tf.Tensor]]:
        return {side: (tf.size(row[side]), _text(row, side, task)) for side in SIDES}

    lengths = {side: [np.zeros(0, np.int32)] for side in SIDES}
    targets, examples = collections.Counter(), []
    rows = task.get_dataset(None, split=split, shuffle=False, try_in_mem_cache=False)
    for batch in rows.map(measured).batch(_BATCH).as_numpy_iterator():
        texts = {side: [text.decode("utf-8") for text in batch[side][1]] for side in SIDES}
        for side in SIDES:
            lengths[side].append(batch[side][0])
        targets.update(texts["targets"])
        for pair in zip(*texts.values(), strict=True):
            if len(examples) == num_examples:
                break
            examples.append(dict(zip(SIDES, pair, strict=True)))
    return SplitFacts({side: np.concatenate(lengths[side]) for side in SIDES}, targets, examples)


def _text(row: Mapping[str, tf.Tensor], side: str, task: seqio.Task) -> tf.Tensor:
    """A side as text: as the preprocessing kept it, else decoded."""
    kept = row.get(f"{side}_pretokenized")
    if kept is not None and kept.dtype == tf.string and kept.shape.rank == 0:
        return kept
    return task.output_features[side].vocabulary.decode_tf(row[side])
