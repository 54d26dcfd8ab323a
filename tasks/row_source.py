"""A small training split, or k rows of a large one, read once and reshuffled every epoch.

SeqIO repeats a split before it shuffles through a buffer, so that over a few epochs of a few rows
some are seen more often than others, and it writes that buffer into every checkpoint. Here the rows
stay in memory and only their indices are shuffled: each epoch holds each row exactly once, any
source can be checkpointed, and a checkpoint holds indices, not text.
"""

import functools
from collections.abc import Sequence

import numpy as np
import seqio
import tensorflow as tf

from mpt_jax.errors import UserError
from mpt_jax.tasks.index_shuffle import shuffled_rows

TRAIN = "train"
MEMORY_ROWS = 10_000  # larger training splits are streamed, in SeqIO's own way
_READ_BATCH = 512


class RowSource(seqio.DataSource):
    """`source` with its `train` split in memory when it is small or cut to a few rows.

    Other splits, and a `train` split that is neither, are `source`'s own.

    Args:
      source: where the rows come from; its `train` split is read unshuffled.
      few_shot: number of rows k of the `train` split to keep, drawn without replacement.
      seed: seed of numpy's `default_rng` for that draw; the same seed gives the same rows.

    Raises:
      UserError: if k is below 1 or above the number of rows.
    """

    def __init__(self, source: seqio.DataSource, *, few_shot: int | None = None, seed: int = 0):
        super().__init__(splits=source.splits, caching_permitted=source.caching_permitted)
        self._source = source
        self._few_shot = few_shot
        self._seed = seed
        self._counts: dict[str, int] = {}
        if few_shot is not None:
            self._check_draw(few_shot)

    def _check_draw(self, few_shot: int) -> None:
        if TRAIN not in self.splits:
            raise UserError(f"few_shot = {few_shot} needs a 'train' split; found {self.splits}.")
        rows = self._rows_of_source(TRAIN)
        if not 1 <= few_shot <= rows:
            raise UserError(
                f"few_shot = {few_shot} must lie between 1 and the {rows} rows of its train split."
            )

    def _rows_of_source(self, split: str) -> int:
        if split not in self._counts:
            count = self._source.num_input_examples(split)
            if count is None:
                count = count_rows(self._source.get_dataset(split=split, shuffle=False))
            self._counts[split] = count
        return self._counts[split]

    def num_input_examples(self, split: str) -> int:
        """Rows of `split`, counted once by reading it where the source does not know."""
        if split == TRAIN and self._few_shot is not None:
            return self._few_shot
        return self._rows_of_source(split)

    def _in_memory(self, split: str) -> bool:
        return split == TRAIN and self.num_input_examples(split) <= MEMORY_ROWS

    @property
    def supports_arbitrary_sharding(self) -> bool:
        """No: SeqIO gives each process every n-th row of a split in memory."""
        return False

    def list_shards(self, split: str) -> Sequence[str]:
        """One shard for rows in memory, else the source's."""
        return [split] if self._in_memory(split) else self._source.list_shards(split)

    def get_dataset(
        self,
        split: str = TRAIN,
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        **as_of_task,
    ) -> tf.data.Dataset:
        """One pass over `split`; repeated, each pass has an order of its own if `shuffle`.

        `as_of_task` is the rest of SeqIO's interface, without effect here.
        """
        del as_of_task
        if not self._in_memory(split):
            # An unshuffled source needs no seed, and a function source may not take one.
            return self._source.get_dataset(
                split=split,
                shuffle=shuffle,
                seed=seed if shuffle else None,
                shard_info=shard_info,
            )
        table, spec = self._table
        row = functools.partial(_unpack, tf.constant(table), spec)
        if shuffle:
            return shuffled_rows(len(table), row, seed)
        return tf.data.Dataset.range(len(table)).map(row)

    @functools.cached_property
    def _table(self) -> tuple[np.ndarray, tf.TypeSpec]:
        """The kept rows as [rows, components] serialised tensors, and the spec of one row."""
        rows = self._source.get_dataset(split=TRAIN, shuffle=False)
        spec = rows.element_spec
        if self._few_shot is not None:
            rows = _keep(rows, draw(self._rows_of_source(TRAIN), self._few_shot, self._seed))
        packed = list(rows.map(_pack).batch(_READ_BATCH).as_numpy_iterator())
        width = len(tf.nest.flatten(spec, expand_composites=True))
        return np.concatenate([np.empty((0, width), object), *packed]), spec


def count_rows(rows: tf.data.Dataset) -> int:
    """The number of rows, by reading them all."""
    return int(rows.reduce(np.int64(0), lambda total, _: total + 1).numpy())


def draw(rows: int, k: int, seed: int) -> np.ndarray:
    """Indices [k] of k of `rows` rows, without replacement, ascending."""
    return np.sort(np.random.default_rng(seed).choice(rows, size=k, replace=False))


def _keep(rows: tf.data.Dataset, indices: np.ndarray) -> tf.data.Dataset:
    last = int(indices[-1])
    kept = np.zeros(last + 1, bool)
    kept[indices] = True
    marked = tf.data.Dataset.zip(rows, tf.data.Dataset.from_tensor_slices(kept))
    return marked.filter(lambda _, keep: keep).map(lambda row, _: row)


def _pack(row) -> tf.Tensor:
    components = tf.nest.flatten(row, expand_composites=True)
    return tf.stack([tf.io.serialize_tensor(component) for component in components])


def _unpack(table: tf.Tensor, spec, index: tf.Tensor):
    packed = table[index]
    components = [
        tf.ensure_shape(tf.io.parse_tensor(packed[i], component.dtype), component.shape)
        for i, component in enumerate(tf.nest.flatten(spec, expand_composites=True))
    ]
    return tf.nest.pack_sequence_as(spec, components, expand_composites=True)
