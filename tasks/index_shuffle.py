"""Shuffles a whole split by its indices without holding them: a checkpoint stays small.

`tf.data`'s own shuffle keeps its buffer, some 370 bytes an index, in every checkpoint of a
position in the data. Here an order is a function of a key, of which each pass draws its own.
"""

from collections.abc import Callable

import tensorflow as tf


def shuffled_rows(
    count: int, row: Callable[[tf.Tensor], object], seed: int | None
) -> tf.data.Dataset:
    """A dataset of `row(index)` for each index once, in an order drawn anew with each repetition.

    Repeat it as it is: a `map` in between, which `tf.data` runs ahead of its reader, reaches the
    end of a pass before its reader does, and a checkpoint taken there has lost the next pass's key.

    Args:
      count: how many indices, from 0.
      row: the row [] of an index (int64 scalar), of any structure of tensors.
      seed: the same one gives the same orders; None draws one.
    """
    keys = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)

    def one_pass(key: tf.Tensor) -> tf.data.Dataset:
        def shuffled(index: tf.Tensor) -> object:
            shuffle = tf.random.experimental.index_shuffle
            return row(shuffle(index, tf.cast(key, tf.int32), count - 1))

        return tf.data.Dataset.range(count).map(shuffled)

    return keys.batch(2, drop_remainder=True).take(1).flat_map(one_pass)
