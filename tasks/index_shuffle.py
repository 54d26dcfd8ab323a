"""Shuffles a whole split by its indices without holding them: a checkpoint stays small.

`tf.data`'s own shuffle keeps its buffer in every checkpoint of a position in the data, and the next
pass's order in a generator that a checkpoint may miss. Here an order is a function of its seed.
"""

from collections.abc import Callable

import numpy as np
import seqio
import tensorflow as tf

WHOLE = seqio.ShardInfo(0, 1)


def shuffled_rows(
    count: int,
    row: Callable[[tf.Tensor], object],
    seed: int | tf.Tensor | None,
    shard: seqio.ShardInfo = WHOLE,
) -> tf.data.Dataset:
    """A dataset of `row(index)` for each index once, in an order that is a function of the seed.

    Args:
      count: how many indices, from 0.
      row: the row [] of an index (int64 scalar), of any structure of tensors.
      seed: number or int64 scalar; None draws one.
      shard: which part of the order, every n-th place; the parts of a pass are disjoint.
    """
    if seed is None:
        seed = int(np.random.default_rng().integers(2**62))
    key = tf.random.stateless_uniform(
        [2], tf.stack([tf.cast(seed, tf.int64), 0]), None, None, tf.int32
    )

    def at(place: tf.Tensor) -> object:
        return row(tf.random.experimental.index_shuffle(place, key, count - 1))

    return tf.data.Dataset.range(shard.index, count, shard.num_shards).map(
        tf.autograph.experimental.do_not_convert(at)
    )


def seed_of_pass(seed: int, number: tf.Tensor) -> tf.Tensor:
    """The seed of pass `number` (int64 scalar) over rows that a run reads with `seed`: int64."""
    return tf.random.stateless_uniform([], tf.stack([seed, number]), 0, 2**62, tf.int64)
