"""The step that a configuration would run, ready to be compiled: the real one, on shapes alone."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax

from mpt_jax.engine import initialize, run_axis
from mpt_jax.engine import step as step_lib
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.engine.schedules import create_learning_rate_scheduler
from mpt_jax.plan import counting

TRAIN, PREDICT = "train", "predict"


@dataclasses.dataclass(frozen=True)
class Setup:
    """What a configuration says of a step.

    Attributes:
        step: TRAIN or PREDICT.
        model: the model protocol.
        partitioner: the mesh, of described devices.
        restore: tells the dtype of frozen weights.
        batch_size, lengths: of an uncut batch.
        num_microbatches: of a training step.
        runs: that take a training step at once (`engine.group`).
    """

    step: str
    model: Any
    partitioner: PjitPartitioner
    restore: initialize.RestoreCheckpointConfig | None
    batch_size: int
    lengths: Mapping[str, int]
    num_microbatches: int = 1
    runs: int = 1


@dataclasses.dataclass(frozen=True)
class Program:
    """A step, ready to be lowered, and what can be counted without a compiler.

    Attributes:
        lower: gives the `jax.stages.Lowered` of it.
        parameters: bytes per chip of all parameters, as they lie.
        arguments: those of all arguments.
        flops: counted, of all chips.
    """

    lower: Callable[[], Any]
    parameters: int
    arguments: int
    flops: float


def build(setup: Setup) -> Program:
    """The program of a setup; nothing is computed, read or compiled.

    Raises:
        UserError: a batch or a parameter that its mesh axis does not divide.
    """
    model, partitioner = setup.model, setup.partitioner
    name = "EVAL_BATCH_SIZE" if setup.step == PREDICT else "BATCH_SIZE"
    partitioner.check_batch_size(setup.batch_size, setup.num_microbatches, name)
    shapes = initialize.batch_shapes(setup.batch_size, setup.lengths)
    params = initialize.param_shapes(model, partitioner, setup.restore, shapes)
    batch = {
        name: jax.ShapeDtypeStruct(shape, "int32", sharding=partitioner.batch_sharding)
        for name, shape in shapes.items()
    }
    labels = model.param_labels(params)
    prompts = jax.eval_shape(model.embed_prompts, params, batch)
    length = setup.lengths["inputs"] + (0 if prompts is None else prompts.shape[1])
    flops = setup.batch_size * counting.forward_flops(
        model.config, length, setup.lengths["targets"]
    )
    if setup.step == PREDICT:
        jitted = step_lib.jitted_eval_step(model.predict_batch, partitioner)
        arguments: tuple = (params, batch)
    else:
        jitted, arguments = _training(setup, params, labels, batch)
        flops *= setup.runs * counting.passes(labels, params, model.distillation is not None)

    def lower() -> Any:
        with jax.set_mesh(partitioner.mesh):  # which fused attention asks for
            return jitted.lower(*arguments)

    return Program(
        lower=lower,
        parameters=bytes_per_chip(params),
        arguments=bytes_per_chip(arguments),
        flops=flops,
    )


def _training(
    setup: Setup, params: Mapping, labels: Mapping, batch: Mapping
) -> tuple[Any, tuple[Any, ...]]:
    """The jitted step, and the shapes of its arguments."""
    partitioner, whole = setup.partitioner, setup.partitioner.replicated
    axes = setup.model.param_axes(params)
    trainable, frozen = step_lib.split(params, labels)
    schedule = create_learning_rate_scheduler("constant")
    optimizer = setup.model.optimizer_def.build(labels, axes, schedule)
    state = jax.eval_shape(functools.partial(step_lib.init_state, optimizer), trainable)
    shardings = partitioner.state_sharding(state, step_lib.split(axes, labels)[0])
    state = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        state,
        shardings,
    )
    key = jax.eval_shape(lambda: jax.random.key(0))
    rng = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=whole)
    arguments: tuple[Any, ...] = (state, frozen, batch, rng)
    if setup.runs > 1:
        stack = run_axis.Stack(partitioner, setup.runs)
        rate = jax.ShapeDtypeStruct((setup.runs,), "float32", sharding=whole)
        state, own = stack.shapes(state), (stack.shapes(batch), stack.shapes(rng))
        arguments = (state, stack.frozen_shapes(frozen), *own, dict.fromkeys(optimizer.rates, rate))
    jitted = step_lib.jitted_train_step(
        setup.model,
        optimizer,
        partitioner,
        state,
        num_microbatches=setup.num_microbatches,
        **run_axis.options(partitioner, frozen, setup.runs),
    )
    return jitted, arguments


def bytes_per_chip(shapes: Any) -> int:
    """Bytes of one chip's part of a tree of shapes with shardings."""

    def of_leaf(leaf: jax.ShapeDtypeStruct) -> int:
        part = jax.ShapeDtypeStruct(leaf.sharding.shard_shape(leaf.shape), leaf.dtype)
        return part.size * part.dtype.itemsize

    return sum(map(of_leaf, jax.tree.leaves(shapes)))
