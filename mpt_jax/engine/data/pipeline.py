"""From a dataset configuration to batches on the host, the same for every method.

Everything random or stateful (order, mixing, few-shot rows, prefetched batches) lives inside one
tf.data iterator, so that its checkpoint resumes with the next unseen batch; what comes after it
(numpy, the cut to length buckets) is a function of only the batch.

SeqIO and TensorFlow are imported where they are used: the command line reads `DatasetConfig`
before it needs them.
"""

import dataclasses
import functools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mpt_jax import feature_lengths, hosts
from mpt_jax.byte_vocabulary import is_bytes
from mpt_jax.engine import kept
from mpt_jax.engine.data.length_buckets import MODEL_FEATURES, Batch, Buckets, cut_batch
from mpt_jax.errors import UserError, shown
from mpt_jax.product import description

if TYPE_CHECKING:
    import seqio
    import tensorflow as tf

    from mpt_jax.tasks import spelling
    from mpt_jax.tasks.bound_task import BoundTask

ConverterCls = Callable[..., "seqio.FeatureConverter"]

_PREFETCHED_BATCHES = 2


@dataclasses.dataclass(frozen=True)
class DatasetConfig:
    """Which rows, how long, how many at a time: T5X's fields, and the length buckets.

    Attributes:
      mixture_or_task_name: registered name(s), bound with the default task ids, or the mixture
        that `mpt_jax.tasks.mixtures.bind_tasks` returned.
      task_feature_lengths: longest "inputs" and "targets" in tokens; longer ones are cut, as in T5.
      split: the split that every task is read from.
      batch_size: examples of a global batch, over all processes.
      shuffle: whether training shuffles; evaluation never does.
      seed: of the data order; None means the run's.
      use_cached: read what `seqio_cache_tasks` wrote.
      pack: refused; a packed row holds examples of several tasks.
      module: imported first, to register the tasks.
      length_buckets: ascending lengths for "inputs" and/or "targets"; a batch is cut to the
        smallest that holds its examples. None: no cut.
    """

    mixture_or_task_name: "str | Sequence[str] | seqio.Mixture"
    task_feature_lengths: Mapping[str, int]
    split: str
    batch_size: int
    shuffle: bool
    seed: int | None
    use_cached: bool = False
    pack: bool = False
    module: str | Sequence[str] | None = None
    length_buckets: Mapping[str, Sequence[int]] | None = None

    def __post_init__(self):
        if self.pack:
            raise UserError(
                "DatasetConfig.pack = True cannot be used: a packed row holds examples of "
                "several tasks. Set it to False; length_buckets save the padding instead."
            )
        if not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise UserError(f"batch_size must be a number of at least 1; got {self.batch_size!r}.")
        feature_lengths.check(self.task_feature_lengths)
        for side, buckets in (self.length_buckets or {}).items():
            if side not in MODEL_FEATURES or list(buckets) != sorted({*buckets} - {0}):
                raise UserError(
                    "length_buckets maps 'inputs' and 'targets' to ascending positive lengths; "
                    f"got {side!r}: {list(buckets)}."
                )

    def identity(self) -> tuple:
        """What decides the rows that are read, and how they are batched; hashable.

        Raises:
          UserError: as `load_mixture`.
        """
        tasks = load_mixture(self, tell=False).tasks
        read = tuple(task.identity(self.split, self.use_cached) for task in tasks)
        settings = (self.split, self.batch_size, self.shuffle, self.seed, self.use_cached)
        by_side = (self.task_feature_lengths, self.length_buckets or {})
        return (read, *settings, *(str(sorted(each.items())) for each in by_side))


class DataIterator:
    """Endless host batches; each is numpy, cut to its length bucket.

    Attributes:
      tf_iterator: what `tf.train.Checkpoint(iterator=...)` saves and restores.
    """

    def __init__(self, dataset: "tf.data.Dataset", length_buckets: Buckets | None):
        self._length_buckets = length_buckets
        self.tf_iterator = iter(dataset)

    def __iter__(self) -> "DataIterator":
        return self

    def __next__(self) -> Batch:
        batch = {name: tensor.numpy() for name, tensor in next(self.tf_iterator).items()}
        return cut_batch(batch, self._length_buckets, hosts.agree_on_longest)


def train_batches(
    cfg: DatasetConfig, converter_cls: ConverterCls, *, shard: "seqio.ShardInfo", seed: int = 0
) -> DataIterator:
    """This process's share of endless training batches: B = cfg.batch_size / processes.

    Args:
      cfg: what to read.
      converter_cls: the model's `FEATURE_CONVERTER_CLS`.
      shard: which share (`PjitPartitioner.data_shard`).
      seed: the run's seed, used where `cfg.seed` is None.

    Raises:
      UserError: on unknown names or splits, empty or too small ones, label words that do not fit
        the target length, a batch size that does not divide over the processes, tasks whose
        reading keeps a state that no checkpoint holds.
    """
    dataset = train_dataset(cfg, converter_cls, shard=shard, seed=seed)
    batches = DataIterator(dataset, cfg.length_buckets)
    check_resumable(batches.tf_iterator, cfg)
    return batches


def train_dataset(
    cfg: DatasetConfig, converter_cls: ConverterCls, *, shard: "seqio.ShardInfo", seed: int = 0
) -> "tf.data.Dataset":
    """The batches of `train_batches` as a tf.data pipeline, before the cut to length buckets."""
    batch_size = _share(cfg.batch_size, shard.num_shards)
    mixture = load_mixture(cfg, min_rows=shard.num_shards)
    _check_same_size(mixture, cfg)
    for task in mixture.tasks:
        _note_lost_end(task, cfg)
    dataset = mixture.get_dataset(
        cfg.task_feature_lengths,
        shard_info=shard,
        num_epochs=None,
        log_mixing_proportions=False,  # SeqIO's count of tokens, in a log that is not shown
        split=cfg.split,
        use_cached=cfg.use_cached,
        shuffle=cfg.shuffle,
        seed=seed if cfg.seed is None else cfg.seed,
    )
    dataset = converter_cls(pack=cfg.pack)(dataset, cfg.task_feature_lengths)
    return dataset.batch(batch_size, drop_remainder=True).prefetch(_PREFETCHED_BATCHES)


def pad_rows(batch: Batch, batch_size: int) -> Batch:
    """The batch with rows of zeros added up to `batch_size`: only padding, loss weight 0."""
    missing = batch_size - len(next(iter(batch.values())))
    if not missing:
        return batch
    return {k: np.pad(v, [(0, missing)] + [(0, 0)] * (v.ndim - 1)) for k, v in batch.items()}


def load_mixture(cfg: DatasetConfig, *, min_rows: int = 1, tell: bool = True) -> "seqio.Mixture":
    """The bound mixture of `cfg`, checked against everything a user can get wrong in it.

    As in SeqIO, tasks that lack the split are left out; the others keep their ids.

    Args:
      cfg: what to read.
      min_rows: what each task must have at least.
      tell: whether to name the tasks that are left out, on standard error.

    Raises:
      UserError: see `train_batches`; no task has the split.
    """
    import seqio

    from mpt_jax.tasks.mixtures import TASK_IDS, bind_tasks, having_split, import_tasks

    import_tasks(cfg.module)
    mixture = cfg.mixture_or_task_name
    if not isinstance(mixture, seqio.Mixture):
        mixture = bind_tasks(mixture)
    if TASK_IDS not in mixture.output_features:
        raise UserError(
            f"Mixture {mixture.name!r} carries no task ids: bind its tasks with "
            "mpt_jax.tasks.mixtures.bind_tasks, or give its name."
        )
    mixture, lacking = having_split(mixture, cfg.split)
    if lacking and tell:
        hosts.note(f"left out, because they have no split {cfg.split!r}: {', '.join(lacking)}.")
    for task in mixture.tasks:
        _check_split(task, cfg, min_rows)
        _check_labels(task, cfg.task_feature_lengths["targets"])
    return mixture


def check_vocabularies(cfg: DatasetConfig, inputs: "seqio.Vocabulary", targets: "seqio.Vocabulary"):
    """Refuses tasks that the model's vocabularies do not fit, or that give no example at all.

    A task whose other targets cannot be spelled in them is noticed on standard error: metrics may
    overlook the difference, as SQuAD's do, or lose little by it. So is one with texts that are cut.

    Raises:
      UserError: a task is tokenised with another vocabulary, or two of its label words have the
        same tokens, or its metrics could call no answer equal to one of them; its preprocessors
        drop every row.
    """
    check = functools.partial(_check_vocabularies, cfg, inputs, targets)

    def key() -> tuple | None:
        pieces = [getattr(each, "sp_model", None) for each in (inputs, targets)]
        return None if None in pieces else (cfg.identity(), *pieces)

    kept.once("checked", key, check)


def _check_vocabularies(
    cfg: DatasetConfig, inputs: "seqio.Vocabulary", targets: "seqio.Vocabulary"
) -> None:
    for task in load_mixture(cfg, tell=False).tasks:
        for side, vocabulary in (("inputs", inputs), ("targets", targets)):
            if not _same(task.output_features[side].vocabulary, vocabulary):
                raise UserError(
                    f"Task {task.name!r} tokenises its {side} with another vocabulary than the "
                    "model's VOCABULARY: choose a suite made for this backbone, or register the "
                    "task with the backbone's SentencePiece model (SPIECE_MODEL), for a ByT5 with "
                    "seqio.ByteVocabulary()."
                )
        _check_answers(task, cfg)


def _same(one: "seqio.Vocabulary", other: "seqio.Vocabulary") -> bool:
    """Whether both give the same ids; SeqIO asks for the same path of a SentencePiece file too, and
    for the same number of sentinels after bytes, which no text reaches.
    """
    if is_bytes(one) and is_bytes(other):
        return True
    content = getattr(one, "sp_model", None)
    return one == other or (content is not None and content == getattr(other, "sp_model", None))


def _check_split(task: "BoundTask", cfg: DatasetConfig, min_rows: int) -> None:
    from mpt_jax.tasks.reading import check_cache

    split = cfg.split
    if cfg.use_cached:
        check_cache(task)
    elif task.requires_caching:
        raise UserError(
            f"Task {task.name!r} is read only from its cache: set --gin.USE_CACHED_TASKS=True."
        )
    count = task.num_input_examples(split, cfg.use_cached)
    if count < min_rows:
        raise UserError(
            f"Split {split!r} of task {task.name!r} has {count} rows; "
            f"at least {min_rows} are needed{' (one per process)' if min_rows > 1 else ''}."
        )


def _check_same_size(mixture: "seqio.Mixture", cfg: DatasetConfig) -> None:
    """Tasks are drawn for each batch: what is one is said in two places."""
    size = getattr(mixture, "batch_size", cfg.batch_size)
    if size != cfg.batch_size:
        raise UserError(
            f"mixtures.bind_tasks.batch_size = {size} draws the tasks of a batch, and "
            f"utils.DatasetConfig.batch_size = {cfg.batch_size} is another batch: set both to the "
            "same number, as --gin.BATCH_SIZE does."
        )


def _note_lost_end(task: "BoundTask", cfg: DatasetConfig) -> None:
    """Warns of a task that ends long texts without the end token, which prediction always adds.

    It is not an error: short texts are as they should be, and T5's own tasks are registered so.
    """
    from mpt_jax.tasks.ending import sides_without_end

    sides = sides_without_end(task, cfg.split, cfg.use_cached)
    if sides:
        hosts.note(
            f"task {task.name!r} cuts the end token off its longer {' and '.join(sides)}, so it "
            "trains on other tokens than it will see: end its preprocessors with "
            "seqio.preprocessors.append_eos_after_trim instead of append_eos."
        )


def check_resumable(iterator: "tf.data.Iterator", cfg: DatasetConfig) -> None:
    """Saves the position of training batches, which training must do later.

    Raises:
      UserError: names the tasks whose reading keeps a state that cannot be saved.
    """
    if not (error := _why_not_saved(iterator)):
        return
    reading = {"split": cfg.split, "use_cached": cfg.use_cached, "shuffle": cfg.shuffle, "seed": 0}
    culprits = [
        repr(task.name)
        for task in load_mixture(cfg, tell=False).tasks
        if _why_not_saved(iter(task.get_dataset(cfg.task_feature_lengths, **reading)))
    ]
    raise UserError(
        f"Task {', '.join(culprits)} cannot be trained on, because a stopped run could not go on "
        f"where it was: its source or a preprocessor keeps its own state ({error}). "
        "Use TensorFlow's stateless functions there instead of Python and tf.random (SeqIO's "
        "map_over_dataset(num_seeds=1) gives seeds), or cache the task (seqio_cache_tasks)."
    )


def _why_not_saved(iterator: "tf.data.Iterator") -> str:
    """TensorFlow's reason why the position cannot be saved; "" if it can."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        try:
            tf.train.Checkpoint(iterator=iterator).write(f"{folder}/position")
        except tf.errors.FailedPreconditionError as error:
            return error.message
    return ""


def _check_labels(task: "seqio.Task", length: int) -> None:
    from mpt_jax.tasks.info import info

    feature = task.output_features["targets"]
    for word in info(task.name).label_words:
        description.check_label(word)
        tokens = len(feature.vocabulary.encode(word)) + int(feature.add_eos)
        if tokens > length:
            raise UserError(
                f"Label {shown(word)} of task {task.name!r} takes {tokens} tokens with its end, "
                f"more than the {length} of TASK_FEATURE_LENGTHS['targets']; raise that length."
            )


def _check_answers(task: "seqio.Task", cfg: DatasetConfig) -> None:
    from mpt_jax.tasks import spelling
    from mpt_jax.tasks.info import info

    words = info(task.name).label_words
    if same := spelling.collision(task, words):
        raise UserError(
            f"The label words {shown(same[0])} and {shown(same[1])} of task {task.name!r} are the "
            "same tokens in its vocabulary, so no answer can tell them apart: rename one."
        )
    rows = spelling.sample(task, cfg.split, cfg.task_feature_lengths, use_cached=cfg.use_cached)
    if not rows:
        raise UserError(
            f"Split {cfg.split!r} of task {task.name!r} gives no example: "
            "its preprocessors drop every row."
        )
    if lost := spelling.lost_labels(task, words, rows):
        becomes = spelling.respelled(task, lost[0])
        raise UserError(
            f"The label word {shown(lost[0])} of task {task.name!r} cannot be spelled in its "
            f"vocabulary, where it becomes {shown(becomes)}: every answer would count as wrong. "
            "Choose words that the vocabulary has (`t5x tasks NAME` shows what becomes of them)."
        )
    if lost := spelling.lost(task, rows):
        becomes = spelling.respelled(task, lost[0])
        hosts.note(
            f"{len(lost)} of the first {len(rows)} targets in {cfg.split!r} of task {task.name!r} "
            f"cannot be spelled in its vocabulary, as {shown(lost[0])}, which becomes "
            f"{shown(becomes)}: metrics that see this count such answers as wrong."
        )
    _note_cut(task, cfg, rows)


def _note_cut(task: "seqio.Task", cfg: DatasetConfig, rows: "Sequence[spelling.Row]") -> None:
    from mpt_jax.tasks import cut_rows

    for side, limit in cfg.task_feature_lengths.items():
        if cut := cut_rows.count(task, rows, side, limit):
            hosts.note(
                f"{cut} of the first {len(rows)} {side} in {cfg.split!r} of task {task.name!r} are "
                f"longer than the {limit} tokens of TASK_FEATURE_LENGTHS[{side!r}], and are cut."
            )


def _share(batch_size: int, num_shards: int) -> int:
    if batch_size % num_shards:
        raise UserError(
            f"Batch size {batch_size} does not divide over {num_shards} processes; "
            f"use a multiple of {num_shards}."
        )
    return batch_size // num_shards
