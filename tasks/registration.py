"""The common tail of every task: from rows of text to a registered SeqIO task.

What a task reads and how it words its rows is its own affair; how text becomes tokens, and what
the registries know of it, is the same for all. Registering a name again replaces the older task,
so that one process can hold runs of different settings, one after the other.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import seqio

from mpt_jax.tasks.info import TaskInfo, register_info
from mpt_jax.tasks.metrics import MetricFn
from mpt_jax.tasks.mixtures import SIZE_LIMIT

Preprocessor = Callable[..., Any]  # dataset -> dataset, as SeqIO calls it


def add_task(
    name: str,
    source: seqio.DataSource,
    preprocessors: Sequence[Preprocessor],
    *,
    vocabulary: seqio.Vocabulary,
    metric_fns: Sequence[MetricFn],
    postprocess_fn: Callable[..., Any] | None = None,
    info: TaskInfo,
) -> None:
    """Registers a task with the features `inputs` and `targets`, tokenised and ended with eos.

    Args:
      name: of the task; an older task of this name is replaced.
      source: where the rows come from.
      preprocessors: from the source's rows to rows with the scalar strings "inputs" and "targets"
        and whatever else the metrics' postprocessor reads.
      vocabulary: of both features.
      metric_fns: SeqIO metric functions.
      postprocess_fn: from decoded text to what the metrics compare.
      info: the task's facts, for `tasks.info`.
    """
    feature = seqio.Feature(vocabulary, add_eos=True)
    _forget(seqio.TaskRegistry, name)
    seqio.TaskRegistry.add(
        name,
        source=source,
        preprocessors=[
            *preprocessors,
            functools.partial(seqio.preprocessors.tokenize, copy_pretokenized=True),
            seqio.CacheDatasetPlaceholder(),
            seqio.preprocessors.append_eos_after_trim,
        ],
        output_features={"inputs": feature, "targets": feature},
        postprocess_fn=postprocess_fn,
        metric_fns=list(metric_fns),
    )
    register_info(name, info)


def add_mixture(name: str, tasks: Sequence[str]) -> None:
    """Registers a mixture of `tasks` in proportion to their rows, none counting for over 2^19.

    A mixture holds its tasks as they are now: add it again after one of them was replaced.
    """
    _forget(seqio.MixtureRegistry, name)
    rate = functools.partial(seqio.mixing_rate_num_examples, maximum=SIZE_LIMIT)
    seqio.MixtureRegistry.add(name, list(tasks), default_rate=rate)


def _forget(registry: type[seqio.dataset_providers.DatasetProviderRegistry], name: str) -> None:
    if name in registry.names():
        registry.remove(name)
