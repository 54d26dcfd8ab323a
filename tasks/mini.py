"""Registers the mini suite with SeqIO: the paper in miniature, generated here and offline.

Tasks `mini_*` (six sources, eight targets, two for pretraining) and the mixtures `mini_sources`,
`mini_targets` and `mini_pretrain`, mixed in proportion to their rows. Import this module to have
them; a run does so by MIXTURE_OR_TASK_MODULE.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from mpt_jax.tasks import metrics, mini_pretrain
from mpt_jax.tasks.info import TaskInfo, register_info
from mpt_jax.tasks.mini_rows import Row
from mpt_jax.tasks.mini_suite import SOURCES, SPLITS, SUITE, TARGETS, MiniTask, split_rows
from mpt_jax.tasks.mini_vocabulary import vocabulary
from mpt_jax.tasks.mixtures import SIZE_LIMIT

METRICS = {
    "accuracy": metrics.accuracy,
    "f1": metrics.squad,
    "pearson": metrics.correlation,
    "matthews": metrics.matthews,
    "bleu": metrics.bleu,
}
# name -> rows(count, seed) and the number of training rows; validation has 500.
PRETRAINING = {
    "mini_span_corruption": (mini_pretrain.corruption_rows, 30_000),
    "mini_instructions": (mini_pretrain.instruction_rows, 290_000),
}
_PRETRAINING_VALIDATION = 500


def references(answer: str, example: Mapping[str, Any], is_target: bool, **_: Any) -> Any:
    """Postprocessor of tasks with several right texts: a target is the list of all of them."""
    if not is_target:
        return answer
    return [text.decode("utf-8") for text in np.atleast_1d(example["references"])]


def add_task(
    name: str,
    rows: Callable[[str], Sequence[Row]],
    sizes: Mapping[str, int],
    metric_fns: Sequence[Callable[..., Any]],
    postprocess_fn: Callable[..., Any] | None = None,
) -> None:
    """Registers a SeqIO task over generated rows, tokenised and ended with eos.

    Args:
      name: of the task.
      rows: split -> its rows; called when the split is read.
      sizes: split -> number of rows.
      metric_fns: SeqIO metric functions.
      postprocess_fn: from decoded text to what the metrics compare.
    """
    feature = seqio.Feature(vocabulary(), add_eos=True)
    seqio.TaskRegistry.add(
        name,
        source=seqio.FunctionDataSource(
            functools.partial(_dataset, rows=rows), splits=tuple(sizes), num_input_examples=sizes
        ),
        preprocessors=[
            functools.partial(seqio.preprocessors.tokenize, copy_pretokenized=True),
            seqio.CacheDatasetPlaceholder(),
            seqio.preprocessors.append_eos,
        ],
        output_features={"inputs": feature, "targets": feature},
        postprocess_fn=postprocess_fn,
        metric_fns=list(metric_fns),
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
    add_task(
        name,
        functools.partial(split_rows, name),
        {split: task.size(split) for split in SPLITS},
        [METRICS[task.metric]],
        references if task.metric == "bleu" else None,
    )
    labels = task.cases if task.labelled else ()
    register_info(name, TaskInfo(labels, task.metric))


def _add_pretraining_task(
    name: str, write: Callable[[int, str], Sequence[Row]], train_rows: int
) -> None:
    sizes = {"train": train_rows, "validation": _PRETRAINING_VALIDATION}
    add_task(name, lambda split: write(sizes[split], f"{name} {split}"), sizes, [metrics.accuracy])


def _register() -> None:
    for name, task in SUITE.items():
        _add_suite_task(name, task)
    for name, (write, train_rows) in PRETRAINING.items():
        _add_pretraining_task(name, write, train_rows)
    rate = functools.partial(seqio.mixing_rate_num_examples, maximum=SIZE_LIMIT)
    mixtures = {"mini_sources": SOURCES, "mini_targets": TARGETS, "mini_pretrain": PRETRAINING}
    for name, members in mixtures.items():
        seqio.MixtureRegistry.add(name, list(members), default_rate=rate)


_register()
