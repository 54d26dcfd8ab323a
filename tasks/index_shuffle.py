"""Shuffles a whole split by its indices without holding them: a checkpoint stays small.

`tf.data`'s own shuffle keeps its buffer, some 370 bytes an index, in every checkpoint of a
position in the data. Here an order is a function of a key, of which each pass draws its own.
"""

import tensorflow as tf


def shuffled_indices(count: int, seed: int | None) -> tf.data.Dataset:
    """The indices below `count` (int64), each once, in an order drawn anew whenever it is repeated.

    Args:
      count: how many.
      seed: the same one gives the same orders; None draws one.
    """
    keys = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)

    def one_pass(key: tf.Tensor) -> tf.data.Dataset:
        def shuffled(index: tf.Tensor) -> tf.Tensor:
            return tf.random.experimental.index_shuffle(index, tf.cast(key, tf.int32), count - 1)

        return tf.data.Dataset.range(count).map(shuffled)

    return keys.batch(2, drop_remainder=True).take(1).flat_map(one_pass)
