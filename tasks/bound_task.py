"""A task as one run reads it: with its id, perhaps few rows, and passes that resume exactly.

SeqIO repeats a pass, and what makes the next one differ lies in generators inside of the pass. Any
step between the two runs ahead of its reader and reaches the end of a pass first; a checkpoint that
is taken then has lost the next pass's order. Here a pass is a function of its number, and nothing
is repeated: the position in the data is the number of the pass and a place in it.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import seqio
import tensorflow as tf
from etils import epath

from mpt_jax.errors import UserError
from mpt_jax.tasks.index_shuffle import seed_of_pass
from mpt_jax.tasks.reading import reading
from mpt_jax.tasks.row_source import TRAIN, RowSource

TASK_IDS = "task_ids"

_plain = tf.autograph.experimental.do_not_convert


class BoundTask(seqio.Task):
    """A copy of a registered task, registered nowhere, that carries `task_ids`.

    Args:
      task: the registered one, which stays as it is.
      task_id: position among the tasks of the run.
      num_tasks: of the run.
      few_shot: total number of training rows; None means all. Other splits stay whole.
      few_shot_seed: seed of that draw.

    Raises:
      UserError: data that cannot be read, k outside of 1..n.
    """

    def __init__(
        self,
        task: seqio.Task,
        *,
        task_id: int,
        num_tasks: int,
        few_shot: int | None = None,
        few_shot_seed: int = 0,
    ):
        self._few = {"few_shot": few_shot, "seed": few_shot_seed}
        bound = (task, task_id, num_tasks, few_shot, few_shot_seed)
        with reading(task):
            source = RowSource(task.source, **self._few)
        feature = seqio.Feature(
            seqio.PassThroughVocabulary(size=num_tasks), add_eos=False, dtype=tf.int32, rank=1
        )
        copy = task.replace(
            source=source,
            output_features={**task.output_features, TASK_IDS: feature},
            preprocessors=[*task.preprocessors, functools.partial(_add_task_id, task_id=task_id)],
        )
        vars(self).update(vars(copy))  # SeqIO has no other way to a copy of another class
        self._bound = bound
        if not (self.cache_dir or self.requires_caching) and TRAIN in self.splits:
            self.num_input_examples(TRAIN)  # faults of the data show before a backbone is read

    @property
    def splits(self):
        """As SeqIO's."""
        with reading(self):
            return super().splits

    def num_input_examples(self, split: str, use_cached: bool = False) -> int:
        """Rows of `split`, as its source or its cache has them."""
        with reading(self, use_cached):
            return self._rows(split, use_cached).num_input_examples(split)

    def files(self, split: str, use_cached: bool = False) -> list[str]:
        """The files that hold the rows of `split`, or of its cache, where there are any."""
        with reading(self, use_cached):
            return self._rows(split, use_cached).files(split)

    def identity(self, split: str, use_cached: bool = False) -> tuple:
        """What decides the rows of `split`: what was bound, the files with size and time."""
        files = [(path, epath.Path(path).stat()) for path in self.files(split, use_cached)]
        return (*self._bound, *((path, found.length, found.mtime) for path, found in files))

    def get_cached_stats(self, split: str = TRAIN) -> Mapping[str, Any]:
        """As SeqIO's; mixing rates count the few rows that are kept."""
        stats = super().get_cached_stats(split)
        few_shot = self._few["few_shot"]
        return {**stats, "examples": few_shot} if few_shot and split == TRAIN else stats

    def get_dataset(
        self,
        sequence_length: Mapping[str, int] | None = None,
        split: str = TRAIN,
        use_cached: bool = False,
        shuffle: bool = True,
        num_epochs: int | None = 1,
        **settings: Any,
    ) -> tf.data.Dataset:
        """As SeqIO's; except for one pass in order, rows hold only the output features."""
        read = self._passes if shuffle or num_epochs != 1 else super().get_dataset
        with reading(self, use_cached):
            rows = read(
                sequence_length,
                split,
                use_cached,
                shuffle=shuffle,
                num_epochs=num_epochs,
                **settings,
            )
        return rows.with_options(_untuned())

    def _passes(
        self,
        sequence_length: Mapping[str, int] | None,
        split: str,
        use_cached: bool,
        *,
        shuffle: bool,
        num_epochs: int | None,
        seed: int,
        shard_info: seqio.ShardInfo | None = None,
        trim_output_features: bool = True,
        try_in_mem_cache: bool = False,
    ) -> tf.data.Dataset:
        del try_in_mem_cache
        source = self._rows(split, use_cached)
        cached = use_cached and self.supports_caching

        def one_pass(number: tf.Tensor) -> tf.data.Dataset:
            rows = source.get_dataset(split, shuffle, seed_of_pass(seed, number), shard_info)
            return rows if cached else self.preprocess_precache(rows, seed)

        passes = tf.data.Dataset.counter()
        passes = passes if num_epochs is None else passes.take(num_epochs)
        rows = passes.flat_map(_as_written(one_pass))
        rows = self.preprocess_postcache(rows, sequence_length, seed)
        rows = self._validate_preprocessing(rows)
        if trim_output_features:
            rows = self._trim_output_features(rows, sequence_length)
        # Before the buffer: it lies in every checkpoint, where texts would be most of it.
        rows = rows.map(_plain(lambda row: {name: row[name] for name in self.output_features}))
        if not shuffle or source.in_memory(split):
            return rows
        return rows.shuffle(self._buffer(source), seed)

    def _preprocess_dataset(
        self,
        dataset: tf.data.Dataset,
        preprocessors: Sequence[Callable[..., tf.data.Dataset]],
        *args: Any,
        **kwargs: Any,
    ) -> tf.data.Dataset:
        """As SeqIO's, whose own functions need no AutoGraph, and take long with it."""
        steps = [_step(function) for function in preprocessors]
        return super()._preprocess_dataset(dataset, steps, *args, **kwargs)

    def _rows(self, split: str, use_cached: bool) -> RowSource:
        cached = use_cached and self.supports_caching
        return self._get_cached_source(split) if cached else self.source

    def _get_cached_source(self, split: str, *args: Any) -> RowSource:
        """As SeqIO's; its rows are shuffled and kept as those of any source."""
        few = self._few if split == TRAIN else {}
        return RowSource(super()._get_cached_source(split, *args), **few)

    def _buffer(self, source: RowSource) -> int:
        if self.shuffle_buffer_size:
            return self.shuffle_buffer_size
        if source.wrapped.performs_internal_shuffling:
            return 1
        raise UserError(
            f"Task {self.name!r} forbids shuffling (shuffle_buffer_size = None), and has too many "
            "rows to be shuffled in memory: give it a shuffle_buffer_size, or train with "
            "--gin.train/utils.DatasetConfig.shuffle=False."
        )


def _as_written(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` for tf.data, but run as plain Python: AutoGraph would rewrite all that it calls.

    A source that makes its rows in Python took minutes so. Maps inside still are rewritten, as they
    are outside of any function; `do_not_convert` would take that from them.
    """
    autograph = tf.__internal__.autograph
    return autograph.tf_convert(function, autograph.control_status_ctx(), convert_by_default=False)


def _add_task_id(dataset: tf.data.Dataset, task_id: int) -> tf.data.Dataset:
    return dataset.map(_plain(lambda row: {**row, TASK_IDS: tf.constant([task_id], tf.int32)}))


def _untuned() -> tf.data.Options:
    """Without TensorFlow's tuner, whose thread can miss that the iterator ends.

    What frees the iterator then waits until that thread wakes up: up to a minute.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return options


def _step(function: Callable[..., Any]) -> Callable[..., Any]:
    """The preprocessor as it is, or without AutoGraph if it is a function of SeqIO's own."""
    if isinstance(function, functools.partial):
        return functools.partial(_step(function.func), *function.args, **function.keywords)
    is_seqios = getattr(function, "__module__", "").startswith("seqio.")
    return _plain(function) if is_seqios and inspect.isfunction(function) else function
