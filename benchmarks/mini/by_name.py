"""What a backbone knows of tasks without any tuning: asked by their names, and without."""

import statistics
from collections.abc import Callable, Mapping, Sequence

import gin
from mini.key_metric import Answer

from mpt_jax.api import LoadedModel
from mpt_jax.configuration import config

HEAD = ("task", "with its name", "without")
Score = Callable[[str, Answer], float]  # percent, of a task and what answers it


def lines(model: LoadedModel, names: Mapping[str, str], score: Score) -> list[tuple[str, ...]]:
    """The scores of all tasks as text, as `HEAD`, and last their means.

    Args:
      model: a backbone without a prompt.
      names: task -> the name that its pretraining put in front of its inputs.
      score: percent, of a task's test rows that are answered.
    """
    found = {}
    for task, name in names.items():
        found[task] = [score(task, asked(model, prefix)) for prefix in (f"{name} ", "")]
    found["mean"] = [statistics.mean(column) for column in zip(*found.values(), strict=True)]
    return [(task, *(f"{value:.3f}" for value in scores)) for task, scores in found.items()]


def asked(model: LoadedModel, prefix: str) -> Answer:
    """The model's answers to inputs that have `prefix` in front."""

    def answer(inputs: Sequence[str], words: Sequence[str]) -> list[str]:
        del words
        return model.predict([prefix + text for text in inputs])

    return answer


def lengths(files: Sequence[str], overrides: Sequence[str] = ()) -> dict[str, int]:
    """The tasks' lengths in a run's gin files, in pieces; gin is then configured by them."""
    config.parse(files, overrides)
    return gin.query_parameter("TASK_FEATURE_LENGTHS/gin.macro.value")
