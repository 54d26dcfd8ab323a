"""Evaluation on the real T5X: our settings as the arguments of `t5x.eval.evaluate`."""

import functools
from collections.abc import Mapping
from typing import Any

from t5x import eval as t5x_eval

from mpt_jax import hosts
from mpt_jax.engine.data import pipeline
from mpt_jax.engine.evaluation import answers
from mpt_jax.engine.evaluation.task_metrics import Metrics, with_mean
from mpt_jax.engine.inference.inference import check_evaluation, put_out_metrics
from mpt_jax.engine.initialize import RestoreCheckpointConfig
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.engine.records import evaluated
from mpt_jax.errors import UserError
from mpt_jax.real_t5x.data import Evaluator, dataset_config, register
from mpt_jax.real_t5x.model import Model
from mpt_jax.real_t5x.partitioner import Partitioner
from mpt_jax.real_t5x.restore import restore_config


def evaluate(**settings: Any) -> Metrics:
    """`engine.inference.evaluate` on T5X; its predictions go to `<output_dir>/inference_eval`.

    Raises:
        UserError: as there.
    """
    translated = arguments(**settings)
    t5x_eval.evaluate(**translated)
    return translated["inference_evaluator_cls"].keywords["told"].results


class _Results:
    """Puts the metrics out as our engine does, and keeps them.

    Attributes:
        results: {task: {metric: value}}, in the first process.
    """

    def __init__(self, of: Mapping[str, Any], output_dir: str, confusion: bool):
        self._of, self._output_dir, self._confusion = of, output_dir, confusion
        self.results: Metrics = {}

    def __call__(self, step: int, found: Any, evaluator: Evaluator) -> None:
        del step
        keys, told, confusions = evaluator.key_metrics, {}, {}
        if hosts.is_first():
            self.results = with_mean(found, keys)
            told = answers.told(evaluator, keys, evaluator.predicted)
            if self._confusion:
                confusions = answers.confusions(evaluator, evaluator.predicted)
        of = {**self._of, evaluated.KEYS: keys, evaluated.ANSWERS: told}
        put_out_metrics(self.results, of, self._output_dir, confusions)


def arguments(
    *,
    model: Any,
    dataset_cfg: pipeline.DatasetConfig,
    restore_checkpoint_cfg: RestoreCheckpointConfig,
    partitioner: PjitPartitioner,
    output_dir: str | None = None,
    rank_labels: bool = False,
    confusion: bool = False,
) -> dict[str, Any]:
    """The arguments of `t5x.eval.evaluate` for those of `engine.inference.evaluate`.

    Raises:
        UserError: bad settings, before any work is done.
    """
    if rank_labels:
        raise UserError("RANK_LABELS is not for --engine=t5x, which decodes: use our own engine.")
    output_dir = output_dir or evaluated.folder(model.method.path, dataset_cfg.split)
    check_evaluation(model, dataset_cfg, restore_checkpoint_cfg, partitioner, output_dir)
    lengths = dataset_cfg.task_feature_lengths
    of = evaluated.facts(model.method.path, dataset_cfg.split, lengths)
    told = _Results(of, output_dir, confusion)
    return {
        "model": Model(model),
        "dataset_cfg": dataset_config(dataset_cfg, register(dataset_cfg)),
        "restore_checkpoint_cfg": restore_config(
            model,
            partitioner,
            restore_checkpoint_cfg,
            dataset_cfg.task_feature_lengths,
            dataset_cfg.batch_size,
        ),
        "partitioner": Partitioner(partitioner),
        "output_dir": output_dir,
        "inference_evaluator_cls": functools.partial(
            Evaluator, told=told, asks_for_confusions=confusion
        ),
        "summarize_config_fn": lambda **_: None,
    }
