"""Registers the mini suite with SeqIO: the paper in miniature, generated here and offline.

Tasks `mini_*` (six sources, eight targets, three for pretraining) and the mixtures `mini_sources`,
`mini_targets`, `mini_pretrain` and `mini_pretrain_seen`, mixed in proportion to their rows. Import
this module to have them; a run does so by MIXTURE_OR_TASK_MODULE.
"""

import functools
from collections.abc import Callable, Mapping, Sequence

import seqio
import tensorflow as tf

from mpt_jax.tasks import metrics, postprocessors, registration
from mpt_jax.tasks.info import TaskInfo
from mpt_jax.tasks.metrics import MetricFn
from mpt_jax.tasks.mini import pretrain, vocabulary
from mpt_jax.tasks.mini.rows import Row
from mpt_jax.tasks.mini.suite import SOURCES, SPLITS, SUITE, TARGETS, MiniTask, split_rows

# name -> rows(count, seed) and the number of training rows; validation has 500.
PRETRAINING = {
    "mini_span_corruption": (pretrain.corruption_rows, 45_000),
    "mini_instructions": (pretrain.instruction_rows, 480_000),
}
# For a backbone that has seen the targets, as T5 v1.0 has: a sixth of what it reads is of them.
SEEN = {**PRETRAINING, "mini_seen_targets": (pretrain.seen_rows, 105_000)}
_PRETRAINING_VALIDATION = 500


def _add_task(
    name: str,
    rows: Callable[[str], Sequence[Row]],
    sizes: Mapping[str, int],
    metric_fn: MetricFn,
    info: TaskInfo,
) -> None:
    """Registers a task over generated rows: `rows` of a split are made when it is read."""
    source = seqio.FunctionDataSource(
        functools.partial(_dataset, rows=rows), splits=tuple(sizes), num_input_examples=sizes
    )
    registration.add_task(
        name,
        source,
        [],
        vocabulary=vocabulary.vocabulary(),
        metric_fns=[metric_fn],
        postprocess_fn=postprocessors.references if metric_fn is metrics.bleu else None,
        info=info,
    )


def _dataset(
    split: str,
    shuffle_files: bool,
    seed: int | None = None,
    *,
    rows: Callable[[str], Sequence[Row]],
) -> tf.data.Dataset:
    """The split's rows in memory; SeqIO shuffles them, so `shuffle_files` has nothing to do."""
    del shuffle_files, seed
    read = rows(split)
    columns = {"inputs": [row.inputs for row in read], "targets": [row.targets for row in read]}
    if read[0].references:
        columns["references"] = [row.references for row in read]
    return tf.data.Dataset.from_tensor_slices({k: tf.constant(v) for k, v in columns.items()})


def _add_suite_task(name: str, task: MiniTask) -> None:
    _add_task(
        name,
        functools.partial(split_rows, name),
        {split: task.size(split) for split in SPLITS},
        metrics.BY_NAME[task.metric],
        TaskInfo(task.cases if task.labelled else (), task.metric, task.inputs),
    )


def _add_pretraining_task(
    name: str, write: Callable[[int, str], Sequence[Row]], train_rows: int
) -> None:
    sizes = {"train": train_rows, "validation": _PRETRAINING_VALIDATION}
    _add_task(
        name,
        lambda split: write(sizes[split], f"{name} {split}"),
        sizes,
        metrics.accuracy,
        TaskInfo(),
    )


def _register() -> None:
    for name, task in SUITE.items():
        _add_suite_task(name, task)
    for name, (write, train_rows) in SEEN.items():
        _add_pretraining_task(name, write, train_rows)
    registration.add_mixture("mini_sources", tuple(SOURCES))
    registration.add_mixture("mini_targets", tuple(TARGETS))
    registration.add_mixture("mini_pretrain", tuple(PRETRAINING))
    registration.add_mixture("mini_pretrain_seen", tuple(SEEN))


_register()
