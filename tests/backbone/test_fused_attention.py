"""Which attention runs where, and the fused one within a model and on a mesh."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import t5_golden
from jax.experimental import topologies
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from mpt_jax.backbone import attention, attention_by_example, fused_attention
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.errors import UserError

interpreted = pytest.mark.usefixtures("_interpreted")


@pytest.fixture
def _interpreted(monkeypatch):
    monkeypatch.setattr(fused_attention, "INTERPRET", True)


def given(batch=4, length=6, heads=2, head_dim=8):
    rng = np.random.default_rng(0)
    q, k, v = rng.normal(size=(3, batch, length, heads * head_dim)).astype(np.float32) / 2
    bias = rng.normal(size=(heads, length, length)).astype(np.float32)
    return q, k, v, bias, rng.random((batch, length)) < 0.8


def attend(choice, head_dim=8):
    return lambda *arrays: fused_attention.attend(choice, *arrays, head_dim)


def kernels(function, *arrays):
    return str(jax.make_jaxpr(function)(*arrays)).count("pallas_call")


# ---------------------------------------------------------------- the choice


def test_auto_is_dense_on_a_cpu():
    assert kernels(attend("auto"), *given()) == 0


@interpreted
def test_auto_is_fused_where_that_can_run():
    assert kernels(attend("auto"), *given()) == 1
    assert kernels(attend("dense"), *given()) == 0
    assert kernels(attend("auto", head_dim=6), *given(head_dim=6)) == 0


def test_fused_says_why_it_cannot_run_on_a_cpu():
    with pytest.raises(UserError, match="T5Config.attention = 'fused'.* a cpu.* 'auto'") as error:
        attend("fused")(*given())
    assert "\n" not in str(error.value)


@interpreted
@pytest.mark.parametrize(
    ("changes", "reason"),
    [(dict(head_dim=48), "heads of 48"), (dict(batch=1, length=30_000), "30000 keys in float32")],
)
def test_fused_says_why_it_cannot_take_such_arrays(changes, reason):
    shapes = dict(batch=2, length=6, heads=2, head_dim=8) | changes
    x = jax.ShapeDtypeStruct(
        (shapes["batch"], shapes["length"], shapes["heads"] * shapes["head_dim"]), jnp.float32
    )
    with pytest.raises(UserError, match=f"'fused' cannot run: {reason}"):
        jax.eval_shape(lambda x: attend("fused", shapes["head_dim"])(x, x, x, None, None), x)


@interpreted
def test_a_bias_that_trains_makes_auto_dense_and_fused_an_error():
    q, k, v, bias, valid = given()

    def gradient(choice):
        return jax.grad(lambda bias: (attend(choice)(q, k, v, bias, valid) ** 2).sum())(bias)

    np.testing.assert_allclose(gradient("auto"), gradient("dense"), atol=1e-5)
    with pytest.raises(UserError, match="no gradient of the position bias, which trains"):
        gradient("fused")


# ---------------------------------------------------------------- one example after the other


def test_many_scores_are_taken_one_example_after_the_other_on_a_cpu(monkeypatch):
    monkeypatch.setattr(fused_attention, "MANY_SCORES", 4 * 2 * 6 * 6)
    arrays = given()

    def both(choice):
        def run(q, k, v, bias, valid):
            out, pull = jax.vjp(lambda *x: attend(choice)(*x, bias, valid), q, k, v)
            return out, *pull(out)

        return run

    def loops(*arrays):
        return str(jax.make_jaxpr(both("auto"))(*arrays)).count("scan[")

    for partitions in (1, 2):  # data 4, and data 2 x model 2
        with jax.set_mesh(PjitPartitioner(num_partitions=partitions).mesh):
            assert loops(*arrays) == 2
            assert loops(*given(length=5)) == 0
            found = jax.jit(both("auto"))(*arrays)
        for ours, theirs in zip(found, both("dense")(*arrays), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("absent", [(), ("bias",), ("valid",), ("bias", "valid")])
def test_one_example_after_the_other_with_and_without_bias_and_padding(absent):
    q, k, v, bias, valid = given(length=7, batch=3)
    valid[1] = False  # an example that only fills the batch
    gradient = np.random.default_rng(1).normal(size=q.shape).astype(np.float32)
    optional = {"bias": bias, "valid": valid} | dict.fromkeys(absent)
    dense = functools.partial(attention.dense, **optional, head_dim=8)
    expected, pull = jax.vjp(dense, q, k, v)
    arrays = (q, k, v, *optional.values())
    found, *kept = attention_by_example.forward(*arrays, head_dim=8)
    gradients = attention_by_example.backward(*arrays, gradient, *kept, head_dim=8)
    for ours, theirs in zip((found, *gradients), (expected, *pull(gradient)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_one_example_after_the_other_in_bfloat16():
    """As close to float32 as what is rounded allows: inputs, softmax and results."""
    exact = given()
    rounded = [x.astype(jnp.bfloat16) for x in exact[:3]]
    expected, pull = jax.vjp(lambda *x: attention.dense(*x, *exact[3:], 8), *exact[:3])
    found, *kept = attention_by_example.forward(*rounded, *exact[3:], head_dim=8)
    gradients = attention_by_example.backward(*rounded, *exact[3:], rounded[0], *kept, head_dim=8)
    for ours, theirs in zip((found, *gradients), (expected, *pull(exact[0])), strict=True):
        assert ours.dtype == jnp.bfloat16
        np.testing.assert_allclose(ours.astype(np.float32), theirs, atol=0.03, rtol=0.03)


# ---------------------------------------------------------------- within a model


@interpreted
def test_a_model_s_loss_and_gradient_are_the_same():
    small = dict(num_encoder_layers=1, num_decoder_layers=1, dropout_rate=0.1)
    of_prompts = functools.partial(t5_golden.load("v1_0").loss_and_gradient, **small)
    dense, fused = of_prompts(attention="dense"), of_prompts(attention="fused", remat=True)
    for found, expected in zip(fused, dense, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------- on a mesh


@interpreted
def test_a_mesh_of_data_and_model_needs_no_exchange():
    partitioner = PjitPartitioner(num_partitions=2)  # data 2 x model 2
    specs = [P("data", None, "model")] * 3 + [P("model"), P("data")]
    arrays = [
        jax.device_put(x, NamedSharding(partitioner.mesh, spec))
        for x, spec in zip(given(), specs, strict=True)
    ]

    def both(q, k, v, bias, valid):
        out, pull = jax.vjp(lambda q, k, v: attend("fused")(q, k, v, bias, valid), q, k, v)
        return out, *pull(out)

    with jax.set_mesh(partitioner.mesh):
        compiled = jax.jit(both).lower(*arrays).compile()
    found = compiled(*arrays)
    for exchange in ("all-gather", "all-reduce", "all-to-all", "collective-permute"):
        assert exchange not in compiled.as_text()
    assert found[0].sharding.spec == P("data", None, "model")
    dense = lambda q, k, v: attention.dense(q, k, v, *given()[3:], 8)  # noqa: E731
    out, pull = jax.vjp(dense, *given()[:3])
    for ours, theirs in zip(found, (out, *pull(out)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@interpreted
def test_what_a_mesh_does_not_divide_is_whole_on_each_device():
    arrays = given(batch=3, heads=3)
    with jax.set_mesh(PjitPartitioner(num_partitions=2).mesh):
        found = jax.jit(attend("fused"))(*arrays)
    np.testing.assert_allclose(found, attention.dense(*arrays, 8), atol=1e-5)


@interpreted
def test_within_a_shard_map_each_device_has_its_part_already():
    mesh = PjitPartitioner(num_partitions=2).mesh
    q, k, v, _, _ = given()
    spec = P("data", None, "model")

    def own(q, k, v):
        return attend("fused")(q, k, v, None, None)

    split = jax.shard_map(own, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
    expected = attention.dense(q, k, v, None, None, 8)
    np.testing.assert_allclose(jax.jit(split)(q, k, v), expected, atol=1e-5)


def test_the_tpu_s_compiler_takes_the_kernels_and_gathers_nothing(monkeypatch):
    """Compiles for a described TPU; nothing runs."""
    pytest.importorskip("libtpu", reason="needs the libtpu that jax[tpu] names")
    for name, value in (
        ("TPU_SKIP_MDS_QUERY", "1"),
        ("TPU_WORKER_HOSTNAMES", "localhost"),
        ("ALLOW_MULTIPLE_LIBTPU_LOAD", "true"),
    ):
        monkeypatch.setenv(name, value)
    devices = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2").devices
    mesh = PjitPartitioner(num_partitions=2, devices=devices).mesh

    def shape(dims, dtype, *spec):
        return jax.ShapeDtypeStruct(dims, dtype, sharding=NamedSharding(mesh, P(*spec)))

    x = shape((4, 356, 4 * 64), jnp.bfloat16, "data", None, "model")
    bias = shape((4, 356, 356), jnp.float32, "model")
    valid = shape((4, 356), jnp.bool_, "data")

    def both(q, k, v, bias, valid):
        out, pull = jax.vjp(lambda q, k, v: attend("fused", 64)(q, k, v, bias, valid), q, k, v)
        return out, *pull(out)

    with jax.set_mesh(mesh):
        hlo = jax.jit(both).lower(x, x, x, bias, valid).compile().as_text()
    assert hlo.count('custom_call_target="tpu_custom_call"') == 2
    assert "all-gather" not in hlo and "all-reduce" not in hlo
