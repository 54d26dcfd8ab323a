"""Which attention runs, by `T5Config.attention`, and how it lies on a mesh.

The fused kernel needs to know what it is compiled for: the mesh that is in use (`jax.set_mesh`),
over which heads and examples are split, because XLA cannot split a kernel (or a loop over
examples) by itself.
"""

import functools
import math
from collections.abc import Callable

import jax
from jax.custom_derivatives import SymbolicZero
from jax.sharding import AxisType, PartitionSpec

from mpt_jax.backbone import attention, attention_by_example, attention_kernel
from mpt_jax.errors import UserError

INTERPRET = False  # runs the kernel without a TPU, slowly: for tests
MANY_SCORES = 2**22  # 16 MB: from here on their memory matters, even to a CPU


def attend(
    choice: str,
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    bias: jax.Array | None,
    valid: jax.Array | None,
    head_dim: int,
) -> jax.Array:
    """`attention.dense`, or the same by the fused kernel.

    Args:
        choice: "dense"; "fused"; "auto": fused where it can run, and on a CPU one example after
            the other where there are many scores.
        queries, keys, values, bias, valid, head_dim: as `attention.dense`.

    Returns:
        [B, Q, H * d]

    Raises:
        UserError: "fused" where it cannot run, or where the bias is differentiated.
    """
    arrays = (queries, keys, values, bias, valid)
    if choice == "dense":
        return attention.dense(*arrays, head_dim)
    platform = _platform()
    obstacle = _obstacle(platform, queries, keys, head_dim)
    if not obstacle:
        return _fused(*arrays, head_dim, choice)
    if choice == "fused":
        raise _refusal(obstacle)
    scores = queries.size // head_dim * keys.shape[1]
    known = not jax.sharding.get_abstract_mesh().empty
    if known and platform == "cpu" and scores >= MANY_SCORES:
        return _fused(*arrays, head_dim, _BY_EXAMPLE)
    return attention.dense(*arrays, head_dim)


def _platform() -> str:
    """What the program is compiled for: where the mesh lies, or jax's default."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return device.platform if device else jax.default_backend()


def _obstacle(platform: str, queries: jax.Array, keys: jax.Array, head_dim: int) -> str | None:
    """Why the fused kernel cannot run on these arrays; None: it can."""
    if platform != "tpu" and not INTERPRET:
        return f"it needs a TPU, and this is a {platform}"
    if jax.sharding.get_abstract_mesh().empty and not INTERPRET:
        return "it needs to know the mesh (jax.set_mesh)"
    if head_dim % 128 and 128 % head_dim:
        return f"heads of {head_dim} columns neither divide a register of 128 nor fill some"
    if not attention_kernel.block(queries, keys, head_dim)[0]:
        return f"{keys.shape[1]} keys in {keys.dtype} are too many for the memory of a kernel"
    return None


def _refusal(obstacle: str) -> UserError:
    return UserError(
        f"config.T5Config.attention = 'fused' cannot run: {obstacle}. Set it to 'auto', which "
        "takes 'dense' there."
    )


_BY_EXAMPLE = "by example"


@functools.partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def _fused(queries, keys, values, bias, valid, head_dim, choice):
    return _forward(queries, keys, values, bias, valid, head_dim=head_dim, choice=choice)[0]


def _fused_forward(queries, keys, values, bias, valid, head_dim, choice):
    arrays = tuple(x and x.value for x in (queries, keys, values, bias, valid))
    if bias is not None and bias.perturbed:
        if choice == "fused":
            raise _refusal("it has no gradient of the position bias, which trains here")
        dense = functools.partial(attention.dense, valid=arrays[4], head_dim=head_dim)
        return jax.vjp(dense, *arrays[:4])
    result, *kept = _forward(*arrays, head_dim=head_dim, choice=choice)
    return result, (arrays, kept)


def _fused_backward(head_dim, choice, kept, gradient):
    if isinstance(gradient, SymbolicZero):
        return (None,) * 5
    if callable(kept):
        return *kept(gradient), None
    arrays, kept = kept
    return *_backward(*arrays, gradient, *kept, head_dim=head_dim, choice=choice), None, None


_fused.defvjp(_fused_forward, _fused_backward, symbolic_zeros=True)

# How arrays lie on a mesh: [B, T, H * d], [H, Q, K], [B, K] and [B, H, Q].
_JOINED, _BIAS, _VALID, _ROWS = ("data", None, "model"), ("model",), ("data",), ("data", "model")
_INPUTS = (_JOINED, _JOINED, _JOINED, _BIAS, _VALID)


def _forward(*arrays: jax.Array | None, head_dim: int, choice: str) -> tuple[jax.Array, ...]:
    """Of queries, keys, values, bias and valid: the result, and what the backward pass needs."""
    if choice == _BY_EXAMPLE:
        run = functools.partial(attention_by_example.forward, head_dim=head_dim)
        return _on_mesh(run, arrays, _INPUTS, (_JOINED, _ROWS, _ROWS), head_dim)
    run = functools.partial(attention_kernel.forward, head_dim=head_dim, interpret=INTERPRET)
    return _on_mesh(lambda *own: (run(*own),), arrays, _INPUTS, (_JOINED,), head_dim)


def _backward(*arrays: jax.Array | None, head_dim: int, choice: str) -> tuple[jax.Array, ...]:
    """Of the same, the result's gradient and what the forward pass kept: three gradients."""
    run = functools.partial(attention_kernel.backward, interpret=INTERPRET)
    if choice == _BY_EXAMPLE:
        run = attention_by_example.backward
    run, layouts = functools.partial(run, head_dim=head_dim), (*_INPUTS, _JOINED, _ROWS, _ROWS)
    return _on_mesh(run, arrays, layouts[: len(arrays)], (_JOINED,) * 3, head_dim)


def _on_mesh(
    run: Callable,
    arrays: tuple[jax.Array | None, ...],
    layouts: tuple[tuple[str | None, ...], ...],
    results: tuple[tuple[str | None, ...], ...],
    head_dim: int,
) -> tuple[jax.Array, ...]:
    """Runs `run` on each device's own examples and heads; no device needs another's.

    What the mesh does not divide is whole on each of its devices.
    """
    mesh = jax.sharding.get_abstract_mesh()
    free = {
        name: size
        for name, size, kind in zip(mesh.axis_names, mesh.axis_sizes, mesh.axis_types, strict=True)
        if kind != AxisType.Manual  # a surrounding shard_map has split the others
    }
    if not free:
        return run(*arrays)
    batch, _, joined = arrays[0].shape
    counts = {"data": batch, "model": joined // head_dim}
    divided = {name for name, count in counts.items() if count % free.get(name, math.inf) == 0}

    def spec(layout):
        return PartitionSpec(*(name if name in divided else None for name in layout))

    specs = tuple(
        None if x is None else spec(layout) for x, layout in zip(arrays, layouts, strict=True)
    )
    return jax.shard_map(
        run,
        in_specs=specs,
        out_specs=tuple(map(spec, results)),
        axis_names=set(free),
        check_vma=False,  # Pallas does not say how its results vary
    )(*arrays)
