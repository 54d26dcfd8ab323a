"""SeqIO's encoder-decoder features, and the task of each example."""

from collections.abc import Mapping
from typing import ClassVar

import seqio
import tensorflow as tf

from mpt_jax.errors import UserError
from mpt_jax.tasks.mixtures import TASK_IDS


class TaskIdFeatureConverter(seqio.EncDecFeatureConverter):
    """`EncDecFeatureConverter` whose batches also hold `task_ids` [B] int32.

    The tasks carry `task_ids` as a vector of length 1 (`mpt_jax.tasks.mixtures.bind_tasks`):
    a Mixture drops what is not an output feature and SeqIO's Evaluator cannot measure a scalar.
    Feature lengths may name `task_ids` or leave it out.

    Raises:
      UserError: with `pack=True`; a packed row holds several examples and has no one task.
    """

    MODEL_FEATURES: ClassVar = {
        **seqio.EncDecFeatureConverter.MODEL_FEATURES,
        TASK_IDS: seqio.FeatureConverter.FeatureSpec(dtype=tf.int32, rank=0),
    }

    def __init__(self, pack: bool = False, **kwargs):
        if pack:
            raise UserError(
                "pack = True cannot be used: a packed row holds examples of several tasks. "
                "Set DatasetConfig.pack = False; length buckets save the padding instead."
            )
        # Examples are trimmed before and padded after: a check of their lengths finds nothing.
        super().__init__(pack=False, apply_length_check=False, **kwargs)

    @tf.autograph.experimental.do_not_convert  # nothing in it needs it, and it takes seconds
    def __call__(
        self, ds: tf.data.Dataset, task_feature_lengths: Mapping[str, int]
    ) -> tf.data.Dataset:
        """The model features of `ds`; a length of `task_ids` is accepted and not needed."""
        lengths = {k: v for k, v in task_feature_lengths.items() if k != TASK_IDS}
        return super().__call__(ds, lengths)

    def _convert_example(self, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {**super()._convert_example(features), TASK_IDS: features[TASK_IDS][0]}

    def get_model_feature_lengths(self, task_feature_lengths: Mapping[str, int]) -> dict[str, int]:
        """Lengths by model feature, one for `task_ids` included: SeqIO compares the names."""
        return {**super().get_model_feature_lengths(task_feature_lengths), TASK_IDS: 1}
