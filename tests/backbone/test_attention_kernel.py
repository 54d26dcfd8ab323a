"""The kernel, interpreted on a CPU, against the dense form and its automatic derivative."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mpt_jax.backbone import attention, attention_kernel


def arrays(batch, queries, keys, heads, head_dim, *, bias=True, valid=True, causal=False, seed=0):
    """queries, keys, values, bias, valid and a gradient; the last row sees no key at all."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    joined = heads * head_dim
    size = 1 / np.sqrt(head_dim)  # scores of the size of one
    q, g = size * normal(batch, queries, joined), normal(batch, queries, joined)
    k, v = normal(batch, keys, joined), normal(batch, keys, joined)
    table = normal(heads, queries, keys)
    if causal:
        table = np.where(np.tri(queries, keys, dtype=bool), table, attention.MASKED)
    seen = np.arange(keys) < rng.integers(1, keys + 1, size=(batch, 1))
    seen[:, keys // 2] = True  # and gaps between
    seen[-1] = False
    return q, k, v, table if bias else None, seen if valid else None, g


def dense_and_kernel(q, k, v, bias, valid, g, head_dim):
    """Result and gradients of queries, keys and values, of either form."""

    @jax.jit
    def dense(q, k, v, g):
        form = functools.partial(attention.dense, bias=bias, valid=valid, head_dim=head_dim)
        out, pull = jax.vjp(form, q, k, v)
        return out, *pull(g)

    @jax.jit
    def kernel(q, k, v, g):
        settings = dict(head_dim=head_dim, interpret=True)
        out = attention_kernel.forward(q, k, v, bias, valid, **settings)
        return out, *attention_kernel.backward(q, k, v, bias, valid, g, **settings)

    return dense(q, k, v, g), kernel(q, k, v, g)


CASES = {
    "lengths that fill no register": dict(shape=(3, 13, 21, 2, 8)),
    "more keys than a register": dict(shape=(2, 16, 130, 2, 64)),
    "decoder": dict(shape=(2, 7, 7, 3, 8), valid=False, causal=True),
    "cross-attention, wide heads": dict(shape=(2, 5, 19, 1, 128), bias=False),
    "two groups of heads": dict(shape=(2, 9, 9, 4, 64)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_result_and_gradients_are_those_of_the_dense_form(case):
    case = dict(case)
    shape = case.pop("shape")
    for expected, found in zip(*dense_and_kernel(*arrays(*shape, **case), shape[-1]), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_blocks_of_queries_add_up(monkeypatch):
    monkeypatch.setattr(attention_kernel, "_MEMORY", 750_000)
    given = arrays(2, 40, 50, 2, 64)
    assert attention_kernel.block(given[0], given[1], 64) == (16, 128)  # the last one overhangs
    for expected, found in zip(*dense_and_kernel(*given, 64), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_row_without_any_key_averages_the_values_and_moves_nothing():
    given = arrays(2, 4, 6, 1, 8)
    _, (out, dq, dk, _) = dense_and_kernel(*given, 8)
    np.testing.assert_allclose(out[-1], np.tile(given[2][-1].mean(0), (4, 1)), atol=1e-5)
    assert not dq[-1].any() and not dk[-1].any()


def test_bfloat16_rounds_what_it_gives_but_not_the_scores():
    q, k, v, bias, valid, g = arrays(2, 20, 30, 2, 64)
    exact, _ = dense_and_kernel(q, k, v, bias, valid, g, 64)
    small = (jnp.asarray(x, jnp.bfloat16) for x in (q, k, v))
    _, found = dense_and_kernel(*small, bias, valid, jnp.asarray(g, jnp.bfloat16), 64)
    for expected, rounded in zip(exact, found, strict=True):
        assert rounded.dtype == jnp.bfloat16
        error = np.abs(np.asarray(rounded, np.float32) - expected).max()
        assert error < 0.02 * np.abs(expected).max()


@pytest.mark.parametrize("form", ["dense", "kernel"])
def test_scores_of_hundreds_keep_their_differences_in_bfloat16(form):
    """T5 has no 1/sqrt(d): a score of 700 in bfloat16 would be rounded to a multiple of 4."""
    queries = jnp.full((1, 1, 64), 3.3125, jnp.bfloat16)
    keys = jnp.full((1, 2, 64), 3.3125, jnp.bfloat16).at[0, 1, 0].add(0.25)
    values = jnp.stack([jnp.zeros((1, 64)), jnp.ones((1, 64))], axis=1).astype(jnp.bfloat16)
    if form == "dense":
        found = attention.dense(queries, keys, values, None, None, 64)
    else:
        settings = dict(head_dim=64, interpret=True)
        found = attention_kernel.forward(queries, keys, values, None, None, **settings)
    expected = 1 / (1 + np.exp(-3.3125 * 0.25))
    np.testing.assert_allclose(np.asarray(found, np.float32), expected, rtol=1e-2)


def test_a_block_holds_as_few_heads_as_fill_a_register():
    def block(length, joined, head_dim, dtype=jnp.bfloat16):
        x = jax.ShapeDtypeStruct((1, length, joined), dtype)
        return attention_kernel.block(x, x, head_dim)

    assert block(356, 768, 64) == (368, 128)  # T5-Base
    assert block(356, 192, 64) == (368, 192)  # three heads on each device: all of them
    assert block(356, 1024, 128) == (368, 128)
    assert block(612, 768, 64, jnp.float32)[0] >= 256
    assert block(50_000, 768, 64)[0] == 0
