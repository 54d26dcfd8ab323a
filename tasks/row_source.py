"""A split of which one pass is a function of its seed; a small one, or k rows of one, in memory.

So that a run can be resumed exactly (see `bound_task`) a pass may hang on nothing but its seed.
Rows in memory are shuffled by their indices: a pass holds each row exactly once, any source will
do, and a checkpoint holds places, not text.
"""

import contextlib
import dataclasses
from collections.abc import Iterator

import numpy as np
import seqio
import tensorflow as tf
import tensorflow_datasets as tfds
from etils import epath

from mpt_jax.errors import UserError
from mpt_jax.tasks.index_shuffle import WHOLE, shuffled_rows

TRAIN = "train"
MEMORY_ROWS = 10_000  # larger splits are streamed, in their source's own order
_READ_BATCH = 512


class RowSource(seqio.DataSource):
    """`source`, of which `train`, and what is shuffled, is in memory where it has few rows.

    A larger split is streamed, and shuffled only through the task's buffer; but the files of a
    `seqio.FileDataSource` come in another order in each pass, and so do all rows of a source with
    ORDER_BY_SEED = True, whose order must be a function of the seed, an int64 scalar tensor.

    Args:
      source: where the rows come from.
      few_shot: number of rows k of the `train` split to keep, drawn without replacement.
      seed: seed of numpy's `default_rng` for that draw; the same seed gives the same rows.

    Raises:
      UserError: if k is below 1 or above the number of rows.
    """

    def __init__(self, source: seqio.DataSource, *, few_shot: int | None = None, seed: int = 0):
        super().__init__(splits=(), caching_permitted=source.caching_permitted)
        self._source = source
        self._few_shot = few_shot
        self._seed = seed
        self._counts: dict[str, int] = {}
        self._tables: dict[str, tuple[tf.Tensor, tf.TypeSpec]] = {}
        self._datasets: dict[tuple, tf.data.Dataset] = {}
        if few_shot is not None and TRAIN in self.splits:
            self._check_draw(few_shot)

    def _check_draw(self, few_shot: int) -> None:
        rows = self._rows_of_source(TRAIN)
        if not 1 <= few_shot <= rows:
            raise UserError(
                f"few_shot = {few_shot} must lie between 1 and the {rows} rows of its train split."
            )

    @property
    def splits(self):
        """The source's, which may have to look for them on disk."""
        return self._source.splits

    @property
    def wrapped(self) -> seqio.DataSource:
        """The source that all rows come from."""
        return self._source

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

    def in_memory(self, split: str) -> bool:
        """Whether `split` has so few rows that they are held and shuffled as a whole."""
        return self.num_input_examples(split) <= MEMORY_ROWS

    @property
    def supports_arbitrary_sharding(self) -> bool:
        """Yes: by files where there are enough, else every n-th row."""
        return True

    def list_shards(self, split: str) -> list[str]:
        """One; see `supports_arbitrary_sharding`."""
        return [split]

    def files(self, split: str) -> list[str]:
        """The files that hold `split`, sorted; none for a source that names none."""
        shards = map(str, self._source.list_shards(split))
        return sorted(path for path in shards if path != split and epath.Path(path).is_file())

    def get_dataset(
        self,
        split: str = TRAIN,
        shuffle: bool = True,
        seed: int | tf.Tensor | None = None,
        shard_info: seqio.ShardInfo | None = None,
        **as_of_task,
    ) -> tf.data.Dataset:
        """One pass over `split`, in an order that is a function of the seed; None draws one.

        `as_of_task` is the rest of SeqIO's interface, without effect here.
        """
        del as_of_task
        shard = shard_info or WHOLE
        if not (split == TRAIN or shuffle) or not self.in_memory(split):
            return self._streamed(split, shuffle, seed, shard)
        table, spec = self._table(split)

        def row(index: tf.Tensor):
            return _unpack(table, spec, index)

        count = self.num_input_examples(split)
        if shuffle:
            return shuffled_rows(count, row, seed, shard)
        return tf.data.Dataset.range(shard.index, count, shard.num_shards).map(row)

    def _streamed(
        self, split: str, shuffle: bool, seed: int | tf.Tensor | None, shard: seqio.ShardInfo
    ) -> tf.data.Dataset:
        source = self._source
        shards = 0 if source.supports_arbitrary_sharding else len(source.list_shards(split))
        if shuffle and shards > 1 and isinstance(source, seqio.FileDataSource):
            return _files_shuffled(source, split, seed, shard)
        by_files = source.supports_arbitrary_sharding or shards >= shard.num_shards > 1
        part = shard if by_files else None
        with _uncached_tfds():
            if shuffle and getattr(source, "ORDER_BY_SEED", False):
                rows = source.get_dataset(split=split, shuffle=True, seed=seed, shard_info=part)
            else:
                rows = self._in_order(split, part)
        return rows if by_files else rows.shard(shard.num_shards, shard.index)

    def _in_order(self, split: str, part: seqio.ShardInfo | None) -> tf.data.Dataset:
        """The source's own rows, asked for once: it may make them in Python, which takes long."""
        key = (split, part and (part.index, part.num_shards))
        if key not in self._datasets:
            with tf.init_scope():  # also for a pass that is being traced
                rows = self._source.get_dataset(split=split, shuffle=False, shard_info=part)
            self._datasets[key] = rows
        return self._datasets[key]

    def _table(self, split: str) -> tuple[tf.Tensor, tf.TypeSpec]:
        """The kept rows as [rows, components] serialised tensors, and the spec of one row."""
        if split not in self._tables:
            with tf.init_scope():  # read here and now, also for a pass that is being traced
                self._tables[split] = self._read(split)
        return self._tables[split]

    def _read(self, split: str) -> tuple[tf.Tensor, tf.TypeSpec]:
        rows = self._source.get_dataset(split=split, shuffle=False)
        spec = rows.element_spec
        if split == TRAIN and self._few_shot is not None:
            rows = _keep(rows, draw(self._rows_of_source(TRAIN), self._few_shot, self._seed))
        packed = list(rows.map(_pack).batch(_READ_BATCH).as_numpy_iterator())
        width = len(tf.nest.flatten(spec, expand_composites=True))
        table = np.concatenate([np.empty((0, width), object), *packed])
        return tf.constant(table, tf.string, table.shape), spec


def count_rows(rows: tf.data.Dataset) -> int:
    """The number of rows, by reading them all."""
    return int(rows.reduce(np.int64(0), lambda total, _: total + 1).numpy())


def draw(rows: int, k: int, seed: int) -> np.ndarray:
    """Indices [k] of k of `rows` rows, without replacement, ascending."""
    return np.sort(np.random.default_rng(seed).choice(rows, size=k, replace=False))


@contextlib.contextmanager
def _uncached_tfds() -> Iterator[None]:
    """TFDS keeps rows of small datasets in memory, and then in every checkpoint; not in here."""
    before = seqio.utils._TFDS_DATA_READ_CONFIG_OVERRIDE
    config = dataclasses.replace(before or tfds.ReadConfig(), try_autocache=False)
    seqio.set_tfds_read_config_override(config)
    try:
        yield
    finally:
        seqio.set_tfds_read_config_override(before)


def _files_shuffled(
    source: seqio.FileDataSource, split: str, seed: int | tf.Tensor | None, shard: seqio.ShardInfo
) -> tf.data.Dataset:
    """As the source's own rows, with its files in an order that is a function of the seed."""
    files = source.list_shards(split)
    by_files = len(files) >= shard.num_shards
    own = files[shard.index :: shard.num_shards] if by_files else files
    paths = tf.constant(own)
    rows = shuffled_rows(len(own), lambda index: paths[index], seed).interleave(
        source._reader,
        cycle_length=source._cycle_length,
        block_length=source._block_length,
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return rows if by_files else rows.shard(shard.num_shards, shard.index)


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
