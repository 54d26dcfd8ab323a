import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import t5_golden

from mpt_jax.backbone import attention, layers

CONFIG = t5_golden.CONFIGS["v1_1"]


def plain_bucket(distance, bidirectional, buckets, max_distance):
    """Raffel et al. 2020, section 2.1, for one key-minus-query distance."""
    first = 0
    if bidirectional:
        buckets //= 2
        first = buckets if distance > 0 else 0
        distance = abs(distance)
    else:
        distance = max(-distance, 0)
    exact = buckets // 2
    if distance < exact:
        return first + distance
    share = math.log(distance / exact) / math.log(max_distance / exact)
    return first + min(exact + math.floor(share * (buckets - exact)), buckets - 1)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("buckets", "max_distance"), [(32, 128), (8, 10), (32, 100)])
def test_bucket_is_that_of_a_plain_loop(bidirectional, buckets, max_distance):
    distances = np.arange(-300, 301)
    settings = (bidirectional, buckets, max_distance)
    found = layers.relative_position_bucket(
        jnp.array(distances),
        bidirectional=bidirectional,
        buckets=buckets,
        max_distance=max_distance,
    )
    np.testing.assert_array_equal(found, [plain_bucket(int(d), *settings) for d in distances])
    assert int(found.max()) == buckets - 1


@pytest.mark.parametrize("causal", [False, True])
def test_bias_is_the_bucket_s_row_per_head(causal):
    table = np.arange(16.0, dtype=np.float32).reshape(2, 8)
    queries, keys = jnp.arange(3, 6), jnp.arange(20)
    buckets = layers.position_buckets(CONFIG, queries, keys, causal=causal)
    found = layers.RelativePositionBias(CONFIG).apply({"params": {"rel_embedding": table}}, buckets)
    assert found.shape == (2, 3, 20)
    for head, q, k in [(0, 0, 0), (1, 2, 5), (1, 1, 19)]:
        expected = table[head, plain_bucket(k - (q + 3), not causal, 8, 10)]
        assert found[head, q, k] == (attention.MASKED if causal and k > q + 3 else expected)


def test_layer_norm_divides_by_the_root_mean_square_in_float32():
    x = np.random.default_rng(0).normal(size=(2, 3, 16)).astype(np.float32) * 300
    scale = np.linspace(0.5, 2.0, 16, dtype=np.float32)
    expected = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale
    found = layers.LayerNorm(1e-6, jnp.float32).apply({"params": {"scale": scale}}, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    half = layers.LayerNorm(1e-6, jnp.bfloat16).apply({"params": {"scale": scale}}, x)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), expected, rtol=2e-2)


def test_attention_is_that_of_a_plain_loop():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 16)).astype(np.float32)
    memory = rng.normal(size=(2, 5, 16)).astype(np.float32)
    bias = rng.normal(size=(2, 3, 5)).astype(np.float32)
    valid = np.array([[True] * 5, [True, True, False, True, False]])
    kernels = {
        name: rng.normal(size=(16, 16)).astype(np.float32) / 4
        for name in ("query", "key", "value", "out")
    }
    expected = np.zeros((2, 3, 16), np.float32)
    for b in range(2):
        q, k, v = x[b] @ kernels["query"], memory[b] @ kernels["key"], memory[b] @ kernels["value"]
        heads = []
        for h in range(2):
            part = slice(8 * h, 8 * h + 8)
            weights = np.exp(q[:, part] @ k[:, part].T + bias[h]) * valid[b]
            heads.append(weights / weights.sum(-1, keepdims=True) @ v[:, part])
        expected[b] = np.concatenate(heads, axis=-1) @ kernels["out"]
    params = {name: {"kernel": kernel} for name, kernel in kernels.items()}
    found = layers.Attention(CONFIG, deterministic=True).apply(
        {"params": params}, x, memory, bias=jnp.array(bias), valid=jnp.array(valid)
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_gated_mlp_multiplies_its_branches():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 2, 16)).astype(np.float32)
    shapes = {"wi_0": (16, 32), "wi_1": (16, 32), "wo": (32, 16)}
    kernels = {n: rng.normal(size=s).astype(np.float32) / 4 for n, s in shapes.items()}
    gate = x @ kernels["wi_0"]
    gelu = 0.5 * gate * (1 + np.tanh(math.sqrt(2 / math.pi) * (gate + 0.044715 * gate**3)))
    expected = gelu * (x @ kernels["wi_1"]) @ kernels["wo"]
    params = {name: {"kernel": kernel} for name, kernel in kernels.items()}
    found = layers.Mlp(CONFIG, deterministic=True).apply({"params": params}, x)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_tied_logits_are_scaled_by_the_root_of_the_width():
    rng = np.random.default_rng(0)
    embedding = rng.normal(size=(60, 16)).astype(np.float32)
    x = rng.normal(size=(2, 3, 16)).astype(np.float32)
    embed = layers.Embed(60, 16, jnp.bfloat16)
    variables = {"params": {"embedding": embedding}}
    logits = embed.apply(variables, x, method="logits")
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, x @ embedding.T / 4.0, rtol=1e-5, atol=1e-5)
    tokens = np.array([[0, 59]])
    np.testing.assert_allclose(
        embed.apply(variables, tokens).astype(jnp.float32), embedding[tokens], rtol=1e-2
    )


def test_dropout_drops_a_unit_at_all_positions_of_an_example():
    config = dataclasses.replace(CONFIG, dropout_rate=0.5)
    dropped = layers.dropout(config, deterministic=False).apply(
        {}, jnp.ones((4, 7, 16)), rngs={"dropout": jax.random.key(0)}
    )
    np.testing.assert_array_equal(dropped, np.broadcast_to(dropped[:, :1], dropped.shape))
    assert set(np.unique(dropped)) == {0.0, 2.0}
