"""Evaluation on the real T5X: our settings as the arguments of `t5x.eval.evaluate`."""

import functools
from typing import Any

from t5x import eval as t5x_eval

from mpt_jax import hosts
from mpt_jax.configuration import config
from mpt_jax.engine.evaluation import answers
from mpt_jax.engine.evaluation import evaluate as own
from mpt_jax.engine.evaluation.task_metrics import Metrics, with_mean
from mpt_jax.engine.settings import Evaluation
from mpt_jax.real_t5x.data import Evaluator, dataset_config, register
from mpt_jax.real_t5x.model import Model
from mpt_jax.real_t5x.partitioner import Partitioner
from mpt_jax.real_t5x.restore import restore_config


def evaluate(settings: Evaluation) -> Metrics:
    """`engine.evaluation.evaluate` on T5X; its predictions go to `<output_dir>/inference_eval`.

    Raises:
        UserError: as there.
    """
    translated = arguments(settings)
    t5x_eval.evaluate(**translated)
    return translated["inference_evaluator_cls"].keywords["told"].results


class _Results:
    """Puts the metrics out as our engine does, and keeps them.

    Attributes:
        results: {task: {metric: value}}, in the first process.
    """

    def __init__(self, settings: Evaluation):
        self._settings = settings
        self.results: Metrics = {}

    def __call__(self, step: int, found: Any, evaluator: Evaluator) -> None:
        del step
        keys, told, collapses, confusions = evaluator.key_metrics, {}, {}, {}
        if hosts.is_first():
            self.results = with_mean(found, keys)
            constant = answers.constant_scores(evaluator, keys)
            told = answers.told(evaluator, constant, evaluator.texts)
            collapses = answers.collapses(evaluator, evaluator.texts)
            if self._settings.confusion:
                confusions = answers.confusions(evaluator, evaluator.texts)
        text = config.operative_config()
        own.put_out_metrics(self._settings, text, self.results, keys, told, collapses, confusions)


def arguments(settings: Evaluation) -> dict[str, Any]:
    """The arguments of `t5x.eval.evaluate`.

    Raises:
        UserError: bad settings, before any work is done.
    """
    restore = restore_config(settings)
    own.check(settings)
    dataset_cfg = settings.dataset_cfg
    return {
        "model": Model(settings.model),
        "dataset_cfg": dataset_config(dataset_cfg, register(dataset_cfg)),
        "restore_checkpoint_cfg": restore,
        "partitioner": Partitioner(settings.partitioner),
        "output_dir": settings.output_dir,
        "inference_evaluator_cls": functools.partial(
            Evaluator, told=_Results(settings), asks_for_confusions=settings.confusion
        ),
        "summarize_config_fn": lambda **_: None,
    }
