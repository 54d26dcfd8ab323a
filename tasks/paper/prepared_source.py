"""Rows of TFDS datasets that were prepared before the run: a run itself never downloads.

A missing dataset is said at once, with the folder that was looked in and the command that prepares
it; TFDS itself would try to download it, and retry for minutes where there is no network.
"""

import functools
from collections.abc import Callable, Hashable, Sequence

import seqio
import tensorflow as tf
import tensorflow_datasets as tfds

from mpt_jax.errors import UserError, did_you_mean
from mpt_jax.tasks.paper.splits import Part, Recipe
from mpt_jax.tasks.row_source import TRAIN, count_rows

# (stored rows, are they trained on) -> the rows of the task
Arrange = Callable[[tf.data.Dataset, bool], tf.data.Dataset]

_COUNTS: dict[tuple[Hashable, ...], int] = {}  # of arranged splits


class PreparedSource(seqio.DataSource):
    """The parts of a prepared TFDS dataset that `splits` names.

    Nothing is looked up on disk before a split is asked for.

    Args:
      task: whose data it is, for messages.
      tfds_name: name, config and version, such as "glue/rte:2.0.0".
      splits: which stored rows each split has.
      arrange: where the task's rows are not the stored ones, makes the former of the latter.
      features: the stored features to read; empty means all.
      data_dir: where the data were prepared; None is TFDS's own folder.
    """

    def __init__(
        self,
        task: str,
        tfds_name: str,
        splits: Recipe,
        *,
        arrange: Arrange | None = None,
        features: Sequence[str] = (),
        data_dir: str | None = None,
    ):
        super().__init__(splits=tuple(splits))
        self._task = task
        self._name = tfds_name
        self._recipe = splits
        self._arrange = arrange
        self._features = features
        self._data_dir = data_dir

    @functools.cached_property
    def _stored(self) -> seqio.TfdsDataSource:
        """The same splits as slices of the stored ones, whose sizes are known only here.

        Raises:
          UserError: the data are not prepared, lack a split or have too few rows for one.
        """
        source = functools.partial(seqio.TfdsDataSource, self._name, self._data_dir, read_only=True)
        # Built again: SeqIO would remember the dataset as it was before it was prepared.
        builder = tfds.builder(self._name, data_dir=source().tfds_dataset.data_dir)
        if not builder.info.splits:
            raise UserError(self._not_prepared(builder))
        slices = {name: self._slice(builder, name, part) for name, part in self._recipe.items()}
        wanted = dict.fromkeys(self._features, True)
        decoders = tfds.decode.PartialDecoding(wanted) if wanted else None
        return source(splits=slices, decoders=decoders)

    def _slice(self, builder: tfds.core.DatasetBuilder, name: str, part: Part) -> str:
        stored = builder.info.splits
        data = f"The data of task {self._task!r} in {builder.data_path}"
        if part.split not in stored:
            raise UserError(
                f"{data} have no split {part.split!r}, only {', '.join(stored)}."
                f"{did_you_mean(part.split, stored)}"
            )
        size = stored[part.split].num_examples
        start, stop = part.bounds(size)
        if start >= stop:
            raise UserError(
                f"{data} leave no rows for {name!r}: their split {part.split!r} has only {size}."
            )
        return f"{part.split}[{start}:{stop}]"

    def _not_prepared(self, builder: tfds.core.DatasetBuilder) -> str:
        root = builder.data_dir_root
        return (
            f"The data of task {self._task!r} are not prepared: there is no {self._name} in "
            f"{root}. Prepare them once, on a machine with a network, with\n"
            f'  python -c "import tensorflow_datasets as tfds; '
            f"tfds.builder('{self._name}', data_dir='{root}').download_and_prepare()\"\n"
            "or say where they are (DATA_DIR in the suites of the paper)."
        )

    @property
    def supports_arbitrary_sharding(self) -> bool:
        """No: TFDS shards by file."""
        return False

    def list_shards(self, split: str) -> Sequence[str]:
        """The files that hold the split."""
        return self._stored.list_shards(split)

    def num_input_examples(self, split: str) -> int:
        """Rows of the split; arranged ones are counted by reading them, once in a process."""
        if self._arrange is None:
            return self._stored.num_input_examples(split)
        key = (self._stored.tfds_dataset.builder.data_path, split, self._arrange)
        if key not in _COUNTS:
            _COUNTS[key] = count_rows(self.get_dataset(split, shuffle=False))
        return _COUNTS[key]

    def get_dataset(
        self,
        split: str = TRAIN,
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        **as_of_task,
    ) -> tf.data.Dataset:
        """One pass over the split; `as_of_task` is SeqIO's interface, without effect here."""
        del as_of_task
        rows = self._stored.get_dataset(split, shuffle, seed, shard_info)
        return self._arrange(rows, split == TRAIN) if self._arrange else rows
