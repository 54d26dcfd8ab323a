"""Examples of a user's files as a SeqIO data source, read when they are first used.

They are read in Python, once, and stay in memory as tensors. A training split is shuffled as a
whole, by its indices: files are often sorted by label, and SeqIO's own shuffling reaches no
further than its buffer.
"""

from collections.abc import Callable, Mapping, Sequence

import seqio
import tensorflow as tf

from mpt_jax.tasks.index_shuffle import WHOLE, shuffled_rows
from mpt_jax.tasks.local.form import Example

Splits = Mapping[str, Sequence[Example]]


class LocalSource(seqio.DataSource):
    """Rows with the strings "inputs" and "targets", and "references" [answers] where asked for.

    Args:
      splits: names of all splits.
      read: split -> its examples, and those of other splits that lie in the same file.
      files: split -> the files that hold it.
      references: whether rows carry all their right answers, next to the first as the target.
    """

    ORDER_BY_SEED = True  # see `RowSource`

    def __init__(
        self,
        splits: Sequence[str],
        read: Callable[[str], Splits],
        *,
        files: Callable[[str], Sequence[str]] = lambda _: (),
        references: bool,
    ):
        super().__init__(splits=splits)
        self._read_splits = read
        self._files = files
        self._references = references
        self._in_memory: dict[str, dict[str, tf.Tensor]] = {}

    @property
    def supports_arbitrary_sharding(self) -> bool:
        """Yes: every n-th row, for any n."""
        return True

    def list_shards(self, split: str) -> Sequence[str]:
        """The files that hold the split; for sharding see `supports_arbitrary_sharding`."""
        return self._files(split)

    def num_input_examples(self, split: str) -> int:
        """Rows of `split`, which is read for it."""
        return int(self._columns(split)["inputs"].shape[0])

    def get_dataset(
        self,
        split: str = "train",
        shuffle: bool = True,
        seed: int | tf.Tensor | None = None,
        shard_info: seqio.ShardInfo | None = None,
        **as_of_task,
    ) -> tf.data.Dataset:
        """One pass over `split`, in an order that is a function of the seed; None draws one.

        `as_of_task` is the rest of SeqIO's interface, without effect here.
        """
        del as_of_task
        columns = self._columns(split)
        shard = shard_info or WHOLE
        own = range(shard.index, self.num_input_examples(split), shard.num_shards)

        def row(index: tf.Tensor) -> dict[str, tf.Tensor]:
            place = own.start + own.step * index
            return {name: column[place] for name, column in columns.items()}

        if shuffle:
            return shuffled_rows(len(own), row, seed)
        return tf.data.Dataset.range(len(own)).map(row)

    def _columns(self, split: str) -> dict[str, tf.Tensor | tf.RaggedTensor]:
        if split not in self._in_memory:
            with tf.init_scope():  # read here and now, also for a pass that is being traced
                for name, rows in self._read_splits(split).items():
                    self._in_memory[name] = _tensors(rows, self._references)
        return self._in_memory[split]


def _tensors(rows: Sequence[Example], references: bool) -> dict[str, tf.Tensor | tf.RaggedTensor]:
    """Columns of N rows: strings [N], and ragged strings [N, answers]."""
    columns = {
        "inputs": _strings([row.inputs for row in rows]),
        "targets": _strings([row.answers[0] for row in rows]),
    }
    if references:
        columns["references"] = tf.RaggedTensor.from_row_lengths(
            _strings([answer for row in rows for answer in row.answers]),
            [len(row.answers) for row in rows],
        )
    return columns


def _strings(texts: list[str]) -> tf.Tensor:
    return tf.constant(texts, tf.string, shape=[len(texts)])
