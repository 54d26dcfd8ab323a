"""Whether runs can take their steps in one program: it must compute for each what its own would.

Runs that follow each other in a process share it too (`program`).
"""

import functools
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util

from mpt_jax.backbone import store
from mpt_jax.engine import step as step_lib
from mpt_jax.engine.initialize import batch_shapes
from mpt_jax.engine.run import Run
from mpt_jax.errors import UserError


class Sharing:
    """Compares runs with the first.

    Args:
        first: a run that is started.
    """

    def __init__(self, first: Run):
        self._first = first
        self._losses: list[tuple[tuple, str]] = []  # so far: what decides them, and their texts

    @functools.cached_property
    def _facts_of_first(self) -> dict[str, Any]:
        return _facts(self._first)

    def check(self, run: Run) -> None:
        """Refuses a started run that another program than that of the first would be needed for.

        Raises:
            UserError: says what differs; or that the backbone trains.
        """
        if not any(tree in run.frozen for tree in store.BACKBONE_TREES):
            raise UserError(
                f"the method {run.model.method.name!r} of {run.settings.model_dir} trains the "
                "backbone itself, which runs that are trained together share: train it by itself."
            )
        others = self._facts_of_first
        for name, value in _facts(run).items():
            if value != others[name]:
                raise self._differs(run, f"{name}{_shown(value, others[name])}")
        alike = _decides_loss(run) == _decides_loss(self._first)
        if not alike and self._loss(run) != self._loss(self._first):
            raise self._differs(run, "what is learnt from (method, losses)")

    def _differs(self, run: Run, what: str) -> UserError:
        return UserError(
            f"{run.settings.model_dir} and {self._first.settings.model_dir} cannot be trained "
            f"together, because they differ in {what}: train them by themselves."
        )

    def _loss(self, run: Run) -> str:
        """The text of `_loss`; a network is traced once for all models that are equal."""
        decides = _decides_loss(run)
        for known, text in self._losses:
            if known == decides:
                return text
        self._losses.append((decides, _loss(run)))
        return self._losses[-1][1]


def program(run: Run) -> tuple | None:
    """What decides the step of a started run, hashable; None: it is not known.

    Rates, the frozen parameters and the key are given to each step.
    """
    settings, partitioner = run.settings, run.settings.partitioner
    if run.model.distillation is not None or not hasattr(run.model, "inference"):
        return None
    place = (partitioner.mesh, tuple(partitioner.logical_axis_rules))
    shapes = (tuple(_shapes(tree).items()) for tree in (run.state().trainable, run.frozen))
    return (*place, settings.trainer.num_microbatches, *shapes, _updates(run), *_decides_loss(run))


def _facts(run: Run) -> dict[str, Any]:
    """What runs that share a program must have in common, by what it is called."""
    settings, restore = run.settings, run.settings.checkpoint_cfg.restore
    return {
        "INITIAL_CHECKPOINT_PATH": restore and restore.path,
        "the mesh": (settings.partitioner.mesh, settings.partitioner.logical_axis_rules),
        "BATCH_SIZE": settings.batch_size,
        "TASK_FEATURE_LENGTHS": dict(settings.lengths),
        "num_microbatches": settings.trainer.num_microbatches,
        "the number of tasks": len(run.model.tasks),
        "the method": run.model.method.name,
        "what is trained": _shapes(run.state().trainable),
        "what is frozen": _shapes(run.frozen),
        "what the optimizer computes (its rule, the schedule)": _updates(run),
        "how they are evaluated (EVAL_BATCH_SIZE, decode_fn)": _evaluation(run),
    }


def _evaluation(run: Run) -> tuple | None:
    """What decides how batches of its evaluation are answered, except for the model's functions."""
    cfg = run.settings.infer_eval_dataset_cfg
    if cfg is None:
        return None
    return cfg.batch_size, dict(cfg.task_feature_lengths), getattr(run.model, "decode_fn", None)


def _decides_loss(run: Run) -> tuple:
    """What the loss of runs with the same facts depends on; where it differs, it may be the same.

    A method computes as its `inference` does, and by these of its attributes.
    """
    model, method = run.model, run.model.method
    acts = (model.inference, method.independent_tasks, method.prompt_length)
    return (*acts, model.distillation, model.label_smoothing, model.z_loss)


def _shapes(tree: Mapping) -> dict[str, tuple]:
    flat = traverse_util.flatten_dict(tree, sep="/")
    return {path: (leaf.shape, leaf.dtype.name) for path, leaf in flat.items()}


def _loss(run: Run) -> str:
    """Loss and gradient as a program, in which nothing is left out but its arguments' values."""
    settings = run.settings
    shapes = batch_shapes(settings.batch_size, settings.lengths)
    batch = {name: jax.ShapeDtypeStruct(shape, "int32") for name, shape in shapes.items()}
    loss = functools.partial(
        step_lib.loss_and_grads, run.model, num_microbatches=settings.trainer.num_microbatches
    )
    return _text(loss, run.state().trainable, run.frozen, batch, run.rng)


def _updates(run: Run) -> str:
    """The optimizer's update, likewise."""
    state, optimizer = run.state(), run.optimizer
    rates = dict.fromkeys(optimizer.rates, jnp.float32(0))
    trainable = state.trainable
    return _text(optimizer.update, trainable, state.opt_state, trainable, state.step, rates)


def _text(function: Any, *arguments: Any) -> str:
    # Of functions that are called as they are the text has the address.
    return re.sub(r" at 0x[0-9a-f]+", "", str(jax.make_jaxpr(function)(*arguments)))


def _shown(value: Any, other: Any) -> str:
    """Both, where they are short."""
    texts = [str(value), str(other)]
    return f" ({texts[0]} and {texts[1]})" if max(map(len, texts)) < 100 else ""
