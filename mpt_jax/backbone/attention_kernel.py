"""Attention with T5's bias as one Pallas kernel for TPUs, forward and backward.

Scores [B, H, Q, K] never leave the chip's vector memory. A block holds some queries and all keys
of one example: the softmax of its rows is whole, and the backward pass computes it again from
queries and keys instead of reading it, as flash attention does (Dao et al. 2022). Two things suit
a frozen T5: the bias [H, Q, K] has no batch axis, so that a block of it is read once and serves
one example after the other, and it has no gradient. Heads lie next to each other, [B, T, H * d],
as the projections leave them: nothing is transposed.
"""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from mpt_jax.backbone.attention import MASKED

_MEMORY = 31 << 19  # bytes of a TPU's vector memory, less some room: 15.5 of 16 MB
_LANES = 128  # columns of a vector register
_ROWS = 16  # rows of one in bfloat16


def forward(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    bias: jax.Array | None,
    valid: jax.Array | None,
    *,
    head_dim: int,
    interpret: bool = False,
) -> jax.Array:
    """As `attention.dense`.

    Args:
        queries: [B, Q, H * d].
        keys: [B, K, H * d]; `block` says how many are too many.
        values: [B, K, H * d].
        bias: [H, Q, K] float32.
        valid: [B, K] bool.
        head_dim: d.
        interpret: run without a TPU, slowly.

    Returns:
        [B, Q, H * d]
    """
    inputs = (queries, keys, values, bias, valid)
    return _call(_forward_kernel, "hqb", inputs, ("queries",), head_dim, interpret)[0]


def backward(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    bias: jax.Array | None,
    valid: jax.Array | None,
    gradient: jax.Array,
    *,
    head_dim: int,
    interpret: bool = False,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Gradients of queries, keys and values, by that of the result of `forward`."""
    inputs = (queries, keys, values, bias, valid, gradient)
    outputs = ("queries", "keys", "keys")
    return tuple(_call(_backward_kernel, "hbq", inputs, outputs, head_dim, interpret))


def block(queries: jax.Array, keys: jax.Array, head_dim: int) -> tuple[int, int]:
    """A block's queries and its columns, which are those of as few heads as fill registers.

    Returns:
        0 queries where the keys are too many for the vector memory.
    """
    length, joined = queries.shape[1:]
    width = math.lcm(head_dim, _LANES)
    width = width if joined % width == 0 else joined
    columns = _up(keys.shape[1], _LANES)
    # In and out twice, for the next step's transfer; and two float32 sums.
    rest = _MEMORY - columns * width * (8 * keys.dtype.itemsize + 2 * 4)
    rows = max(0, rest) // (4 * columns * (2 * width // head_dim + 4))  # the bias, and scores
    unit = _LANES if rows >= _LANES else _ROWS
    return min(_up(length, _ROWS), rows // unit * unit), width


def _call(
    kernel: object,
    order: str,
    inputs: Sequence[jax.Array | None],
    outputs: Sequence[str],
    head_dim: int,
    interpret: bool,
) -> Sequence[jax.Array]:
    """Runs a kernel over groups of heads (h), blocks of queries (q) and examples (b).

    A block is fetched again only where its place changes from one step to the next. The last
    letter of `order` moves fastest: "b" keeps the bias, "q" the keys.
    """
    queries, keys, values, bias, valid, *gradient = inputs
    batch, length, joined = queries.shape
    rows, width = block(queries, keys, head_dim)
    columns = _up(keys.shape[1], _LANES)
    steps = {"h": joined // width, "q": pl.cdiv(length, rows), "b": batch}

    def spec(shape: tuple[int, ...], place: str) -> pl.BlockSpec:
        at = [order.find(letter) for letter in place]  # "0": the axis is whole
        return pl.BlockSpec(shape, lambda *step: tuple(0 if i < 0 else step[i] for i in at))

    of = {
        "queries": spec((1, rows, width), "bqh"),
        "keys": spec((1, columns, width), "b0h"),
        "bias": spec((width // head_dim, rows, columns), "hq0"),
        "valid": spec((1, 1, columns), "b00"),
    }
    if valid is not None:
        valid = valid.astype(jnp.int32)[:, None]
    in_specs = [
        of["queries"],
        of["keys"],
        of["keys"],
        None if bias is None else of["bias"],
        None if valid is None else of["valid"],
        *(of["queries"] for _ in gradient),
    ]
    shapes = {"queries": queries, "keys": keys}
    products = 2 if kernel is _forward_kernel else 5
    return pl.pallas_call(
        functools.partial(
            kernel, sizes=(length, keys.shape[1]), head_dim=head_dim, axis=order.index("q")
        ),
        grid=tuple(steps[letter] for letter in order),
        in_specs=in_specs,
        out_specs=[of[name] for name in outputs],
        out_shape=[jax.ShapeDtypeStruct(shapes[n].shape, shapes[n].dtype) for n in outputs],
        scratch_shapes=[pltpu.VMEM((columns, width), jnp.float32) for _ in outputs[1:]],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=["parallel" if x != "q" else "arbitrary" for x in order]
        ),
        cost_estimate=pl.CostEstimate(
            flops=2 * products * batch * length * keys.shape[1] * joined,
            transcendentals=batch * length * keys.shape[1] * joined // head_dim,
            bytes_accessed=_bytes((*inputs, *(shapes[name] for name in outputs))),
        ),
        interpret=interpret,
        name=kernel.__name__.strip("_"),
    )(queries, keys, values, bias, valid, *gradient)


def _up(count: int, multiple: int) -> int:
    return pl.cdiv(count, multiple) * multiple


def _bytes(arrays: Sequence[jax.Array | None]) -> int:
    return sum(x.size * x.dtype.itemsize for x in arrays if x is not None)


def _forward_kernel(q, k, v, bias, valid, out, *, sizes, head_dim, axis):
    keys = _inside(k[0], sizes[1])
    values = _inside(v[0], sizes[1])
    for i, head in enumerate(_heads(keys, head_dim)):
        weights = _weights(q[0, :, head], keys[:, head], bias, i, valid, sizes[1])
        mixed = _product(weights.astype(values.dtype), values[:, head], 1, 0)
        out[0, :, head] = mixed.astype(out.dtype)


def _backward_kernel(
    q, k, v, bias, valid, gradient, dq, dk, dv, dk_sum, dv_sum, *, sizes, head_dim, axis
):
    block = pl.program_id(axis)
    left = sizes[0] - block * q.shape[1]  # rows of this block that exist
    queries, gradients = _inside(q[0], left), _inside(gradient[0], left)
    keys, values = _inside(k[0], sizes[1]), _inside(v[0], sizes[1])

    @pl.when(block == 0)
    def _():
        dk_sum[...] = jnp.zeros_like(dk_sum)
        dv_sum[...] = jnp.zeros_like(dv_sum)

    for i, head in enumerate(_heads(keys, head_dim)):
        weights = _weights(queries[:, head], keys[:, head], bias, i, valid, sizes[1])
        weights = _inside(weights, left)
        moved = _product(gradients[:, head], values[:, head], 1, 1)
        moved = weights * (moved - jnp.sum(weights * moved, axis=1, keepdims=True))
        if valid is not None:  # scores that were replaced have no part in a uniform average
            moved = jnp.where(valid[0] != 0, moved, 0)
        weights, moved = weights.astype(values.dtype), moved.astype(values.dtype)
        dq[0, :, head] = _product(moved, keys[:, head], 1, 0).astype(dq.dtype)
        dk_sum[:, head] += _product(moved, queries[:, head], 0, 0)
        dv_sum[:, head] += _product(weights, gradients[:, head], 0, 0)

    @pl.when(block == pl.num_programs(axis) - 1)
    def _():
        dk[0] = dk_sum[...].astype(dk.dtype)
        dv[0] = dv_sum[...].astype(dv.dtype)


def _heads(block: jax.Array, head_dim: int) -> list[slice]:
    return [slice(start, start + head_dim) for start in range(0, block.shape[1], head_dim)]


def _inside(block: jax.Array, count: jax.Array | int) -> jax.Array:
    """`block` with zeros from row `count` on: outside of an array a block holds anything."""
    if isinstance(count, int) and count >= block.shape[0]:
        return block
    return jnp.where(jax.lax.broadcasted_iota(jnp.int32, block.shape, 0) < count, block, 0)


def _weights(queries, keys, bias, head, valid, count) -> jax.Array:
    """Softmax of the scores [rows, columns], float32; exactly 0 in columns from `count` on."""
    scores = _product(queries, keys, 1, 1)
    if bias is not None:
        scores += bias[head]
    if valid is not None:
        scores = jnp.where(valid[0] != 0, scores, MASKED)
    if count < scores.shape[1]:
        column = jax.lax.broadcasted_iota(jnp.int32, scores.shape, 1)
        scores = jnp.where(column < count, scores, -jnp.inf)
    weights = jnp.exp(scores - jnp.max(scores, axis=1, keepdims=True))
    return weights / jnp.sum(weights, axis=1, keepdims=True)


def _product(a: jax.Array, b: jax.Array, of_a: int, of_b: int) -> jax.Array:
    """The matrix product over axis `of_a` of a and `of_b` of b, summed in float32."""
    axes = (((of_a,), (of_b,)), ((), ()))
    return jax.lax.dot_general(a, b, axes, preferred_element_type=jnp.float32)
