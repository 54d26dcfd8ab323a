"""One step of training or evaluation, as pure functions of state and batch.

Only the trainable leaves are differentiated: the parameters come in two trees, `trainable` (part
of the state) and `frozen` (a constant of the run), so that the backbone has neither gradient nor
optimizer state and is never copied by a step.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax import traverse_util
from jax.sharding import PartitionSpec

from mpt_jax.backbone import layout
from mpt_jax.engine import kept
from mpt_jax.engine.optimizers import FROZEN, Optimizer
from mpt_jax.engine.partitioning import DATA, MODEL, PjitPartitioner
from mpt_jax.errors import UserError

Params = dict[str, Any]
Batch = Mapping[str, jax.Array]
Metrics = dict[str, Any]


@flax.struct.dataclass
class TrainState:
    """All that a step changes, and all that a checkpoint holds.

    Attributes:
        step: int32 scalar, the number of steps taken.
        trainable: nested dict of the trainable leaves.
        opt_state: the optimizer's state over `trainable`.
    """

    step: jax.Array
    trainable: Params
    opt_state: optax.OptState


def init_state(tx: Optimizer, trainable: Params) -> TrainState:
    """The state before the first step."""
    return TrainState(jnp.zeros((), jnp.int32), trainable, tx.init(trainable))


def split(params: Params, labels: Params) -> tuple[Params, Params]:
    """Splits nested dicts into (trainable, frozen) by their labels (see `Model.param_labels`).

    Any tree shaped like the parameters can be split: labels, logical axis names, shapes.

    Raises:
        UserError: a parameter without a label, or a label without a parameter; they are listed.
    """
    flat, flat_labels = traverse_util.flatten_dict(params), traverse_util.flatten_dict(labels)
    if unclaimed := sorted("/".join(path) for path in flat.keys() ^ flat_labels.keys()):
        raise UserError(
            "Each parameter must be claimed as trained or frozen by the method, once; these are"
            f" in only one of the parameters and their labels: {', '.join(unclaimed)}."
        )
    trainable = {path: leaf for path, leaf in flat.items() if flat_labels[path] != FROZEN}
    frozen = {path: leaf for path, leaf in flat.items() if flat_labels[path] == FROZEN}
    return traverse_util.unflatten_dict(trainable), traverse_util.unflatten_dict(frozen)


def merge(trainable: Params, frozen: Params) -> Params:
    """The inverse of `split`."""
    return traverse_util.unflatten_dict(
        {**traverse_util.flatten_dict(frozen), **traverse_util.flatten_dict(trainable)}
    )


def train_step(
    model: Any,
    tx: Optimizer,
    state: TrainState,
    frozen: Params,
    batch: Batch,
    rng: jax.Array,
    rates: Mapping[str, Any] | None = None,
    *,
    num_microbatches: int = 1,
) -> tuple[TrainState, Metrics]:
    """One optimizer step.

    The result does not depend on `num_microbatches` (except dropout and rounding): losses are
    normalized by the whole batch, so those of its microbatches sum up to its own.

    Args:
        model: has `normalizers(batch)` and `loss_fn(params, batch, dropout_rng, normalizers)`.
        tx: the optimizer over the trainable leaves.
        state: the state before the step.
        frozen: the other parameters.
        batch: arrays of leading axis B.
        rng: the run's dropout key; each step folds in its number.
        rates: group -> peak learning rate; None: the optimizer's own.
        num_microbatches: B is processed in so many equal parts, one after the other.

    Returns:
        The state after the step, and metrics: the model's clu metrics merged over the batch,
        "loss", "grad_norm", "learning_rate/<group>" (float32 scalars) and "finite" (bool). If
        the loss or the gradient is not finite, the state is the one given, step included.
    """
    dropout_rng = jax.random.fold_in(rng, state.step)
    loss, metrics, grads = loss_and_grads(
        model, state.trainable, frozen, batch, dropout_rng, num_microbatches
    )
    grad_norm = optax.global_norm(grads)
    finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
    rates = tx.rates if rates is None else rates
    updates, opt_state = tx.update(grads, state.opt_state, state.trainable, state.step, rates)
    moved = TrainState(state.step + 1, optax.apply_updates(state.trainable, updates), opt_state)
    new_state = jax.tree.map(lambda new, old: jnp.where(finite, new, old), moved, state)
    applied = tx.learning_rates(state.step, rates)
    named = {f"learning_rate/{group}": rate for group, rate in applied.items()}
    scalars = {"loss": loss, "grad_norm": grad_norm, "finite": finite, **named}
    return new_state, {**metrics, **scalars}


def loss_and_grads(
    model: Any,
    trainable: Params,
    frozen: Params,
    batch: Batch,
    dropout_rng: jax.Array,
    num_microbatches: int,
) -> tuple[jax.Array, Metrics, Params]:
    """(loss, merged metrics, gradients of `trainable`) of a batch; arguments as `train_step`."""

    def objective(trainable, part, rng, normalizers):
        params = merge(trainable, frozen)
        loss, metrics = model.loss_fn(params, part, rng, normalizers=normalizers)
        return loss.astype(jnp.float32), dict(metrics)

    value_and_grad = jax.value_and_grad(objective, has_aux=True)
    normalizers = model.normalizers(batch)
    if num_microbatches == 1:
        (loss, metrics), grads = value_and_grad(trainable, batch, dropout_rng, normalizers)
        return loss, metrics, grads

    common = {name: value for name, value in normalizers.items() if jnp.ndim(value) == 0}
    per_example = {name: value for name, value in normalizers.items() if name not in common}

    def one_part(total, inputs):
        index, part, part_normalizers = inputs
        part_rng = jax.random.fold_in(dropout_rng, index)
        (loss, metrics), grads = value_and_grad(
            trainable, part, part_rng, {**common, **part_normalizers}
        )
        return jax.tree.map(jnp.add, total, (loss, grads)), metrics

    zero = (jnp.zeros((), jnp.float32), jax.tree.map(jnp.zeros_like, trainable))
    parts = (
        jnp.arange(num_microbatches),
        _microbatches(batch, num_microbatches),
        _microbatches(per_example, num_microbatches),
    )
    (loss, grads), stacked = jax.lax.scan(one_part, zero, parts)
    return loss, {name: metric.reduce() for name, metric in stacked.items()}, grads


def _microbatches(arrays: Mapping[str, jax.Array], count: int) -> dict[str, jax.Array]:
    """[B, ...] -> [count, B / count, ...], interleaved: part i has the examples i, i + count, ...

    Rows that lie on one device stay there: each part takes its share from every data shard.
    """
    return {
        name: array.reshape(array.shape[0] // count, count, *array.shape[1:]).swapaxes(0, 1)
        for name, array in arrays.items()
    }


TrainStep = Callable[..., tuple[TrainState, Metrics]]


def jitted_train_step(
    model: Any,
    tx: Optimizer,
    partitioner: PjitPartitioner,
    state: TrainState,
    *,
    num_microbatches: int = 1,
    frozen_axes: Any = None,
    runs_over_data: bool = False,
) -> Any:
    """`(state, frozen, batch, rng[, rates]) -> (state, metrics)` for `jax.jit`, not compiled yet.

    The state is donated: its buffers are reused, and the new state lies as the given one does.

    Args:
        state: arrays, or their shapes with shardings.
        frozen_axes: None: of one run. Else of several, on a first axis of all that is given and
            returned; of the frozen parameters only where this tree has a 0, because what is
            None in it is shared by all runs.
        runs_over_data: of several runs, each data partition computes its own, with whole batches
            and without a word to the others; else each has its rows of all runs.
    """
    one = functools.partial(train_step, model, tx, num_microbatches=num_microbatches)
    if frozen_axes is not None:
        one = jax.vmap(one, in_axes=(0, frozen_axes, 0, 0, 0))
    if runs_over_data:
        one = _runs_over_data(one, partitioner, (0, frozen_axes, 0, 0, 0))

    def step(state, frozen, batch, rng, rates=None):
        if runs_over_data:
            return one(state, frozen, batch, rng, rates)
        with layout.split_over_batch(partitioner.batch_sharding):
            return one(state, frozen, batch, rng, rates)

    # Left to itself, XLA may lay out the new state in another way, and compile twice.
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    return jax.jit(step, donate_argnums=0, out_shardings=(shardings, partitioner.replicated))


def _runs_over_data(
    mapped: Callable[..., Any], partitioner: PjitPartitioner, in_axes: tuple
) -> Callable[..., Any]:
    """The step of several runs, of which each data partition takes its own part."""
    mesh, own = partitioner.mesh, PartitionSpec(DATA)
    given = jax.tree.map(
        lambda axis: PartitionSpec() if axis is None else own, in_axes, is_leaf=_is_none
    )
    # Without model partitions nothing is left to the compiler, which then need not split kernels.
    axes = {DATA} if mesh.shape[MODEL] > 1 else {DATA, MODEL}
    specs = {"in_specs": given, "out_specs": own}
    return jax.shard_map(mapped, mesh=mesh, axis_names=axes, check_vma=False, **specs)


def _is_none(leaf: Any) -> bool:
    return leaf is None


def make_train_step(
    model: Any, tx: Optimizer, partitioner: PjitPartitioner, **options: Any
) -> TrainStep:
    """`jitted_train_step` with its options, compiled by the first call.

    Arguments lie on the partitioner's mesh (`place_state`, `place`, `shard_batch`).
    """
    compiled: TrainStep | None = None

    def run(state: TrainState, *arguments: Any):
        nonlocal compiled
        if compiled is None:
            compiled = jitted_train_step(model, tx, partitioner, state, **options)
        with jax.set_mesh(partitioner.mesh):  # which fused attention asks for
            return compiled(state, *arguments)

    return run


def jitted_eval_step(
    fn: Callable[..., Any],
    partitioner: PjitPartitioner,
    *,
    axes: Any = None,
    runs_over_data: bool = False,
) -> Any:
    """A model's `fn(params, batch, *rest)` for `jax.jit`; the results are replicated.

    Args:
        fn: of the model.
        partitioner: the mesh.
        axes: None: of one run. Else of several, `(params, chosen [N], batches [N, B, ...])`: each
            batch with the parameters of the run at its place in `chosen`, which are those at that
            index where this tree has a 0; what is None in it is shared by all runs.
        runs_over_data: as `jitted_train_step`, for several batches.
    """
    one = fn
    if axes is not None:
        one = jax.vmap(fn, in_axes=(axes, 0))
    if runs_over_data:
        one = _runs_over_data(one, partitioner, (axes, 0))

    def of_chosen(params, chosen, batches):
        def choose(axis, leaf):
            return leaf if axis is None else leaf[chosen]

        return apply(jax.tree.map(choose, axes, params, is_leaf=_is_none), batches)

    @functools.wraps(fn)
    def apply(*arguments):
        if runs_over_data:
            return one(*arguments)
        with layout.split_over_batch(partitioner.batch_sharding):
            return one(*arguments)

    step = apply if axes is None else of_chosen
    return jax.jit(step, out_shardings=partitioner.replicated)


def kept_eval_step(model: Any, name: str, partitioner: PjitPartitioner) -> Callable[..., Any]:
    """`make_eval_step` of a model's function, kept for models with the same one (`kept`).

    Args:
        model: may say what decides its programs, `inference`.
        name: of the function: "predict_batch", "score_batch" or "rank_batch".
        partitioner: the mesh.
    """
    make = functools.partial(make_eval_step, getattr(model, name), partitioner)

    def key() -> tuple | None:
        decides = getattr(model, "inference", None)
        return None if decides is None else (name, decides, partitioner.mesh)

    return kept.once("eval step", key, make)


def make_eval_step(fn: Callable[..., Any], partitioner: PjitPartitioner) -> Callable[..., Any]:
    """Compiles a model's `fn(params, batch, *rest)`, e.g. `predict_batch`.

    Batches come whole to every host, as numpy; each can read the results.
    """
    compiled = jitted_eval_step(fn, partitioner)

    @functools.wraps(compiled)
    def run(params: Params, batch: Batch, *rest: Any) -> Any:
        sharded = partitioner.shard_whole_batch(batch)
        with jax.set_mesh(partitioner.mesh):
            return compiled(params, sharded, *rest)

    return run
