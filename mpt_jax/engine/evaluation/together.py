"""Evaluations of several products on one backbone, whose batches are answered at once."""

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import jax

from mpt_jax.engine import group_size, run_axis
from mpt_jax.engine.evaluation.answering import Answers
from mpt_jax.engine.evaluation.evaluate import Prepared

Name = TypeVar("Name", bound=Hashable)


def answers(evaluations: Mapping[Name, Prepared]) -> dict[Name, Answers]:
    """The answers of each model, by the names of the evaluations.

    Those that need programs of their own are answered alone.
    """
    alike: dict[Hashable, list[Name]] = {}
    for name, each in evaluations.items():
        alike.setdefault(_program(each), []).append(name)
    found: dict[Name, Answers] = {}
    for names in alike.values():
        of_names = _at_once([evaluations[name] for name in names])
        found |= dict(zip(names, of_names, strict=True))
    return found


def _at_once(evaluations: Sequence[Prepared]) -> list[Answers]:
    first, *others = evaluations
    if not others:
        return [first.answers()]
    model, partitioner, number = first.settings.model, first.settings.partitioner, len(evaluations)
    stack = run_axis.Stack(partitioner, number)
    params, axes = stack.params([each.params for each in evaluations])
    asked = [each.asked for each in evaluations]
    at_once = group_size.at_once(model, partitioner, params, axes, number, asked)
    return list(at_once.answers(params, dict(enumerate(asked))).values())


def _program(evaluation: Prepared) -> tuple:
    """What decides how batches are answered, except for the values of the parameters."""
    settings, cfg = evaluation.settings, evaluation.settings.dataset_cfg
    leaves, tree = jax.tree.flatten(evaluation.params)
    shapes = tuple((leaf.shape, leaf.dtype.name) for leaf in leaves)
    lengths = tuple(sorted(cfg.task_feature_lengths.items()))
    place = (settings.partitioner.mesh, cfg.batch_size, lengths, settings.rank_labels)
    return (*place, settings.model.inference, tree, shapes)
