"""Which backbone it is: the sums against the formula in plain numbers, and what they notice."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from mpt_jax.backbone import fingerprints
from mpt_jax.plan import hlo

VALUES = np.random.default_rng(0).normal(size=(12, 8)).astype(np.float32)
EDGES = [1e-42, -1e-39, 3.3e38, 0.0, -0.0, 1.00390625, 1.01171875]  # the last two halfway


def _hashed(number: int) -> int:
    number &= 0xFFFFFFFF
    number = (number ^ number >> 16) * 0x7FEB352D & 0xFFFFFFFF
    number = (number ^ number >> 15) * 0x846CA68B & 0xFFFFFFFF
    return (number ^ number >> 16) | 1


def _by_hand(values: np.ndarray) -> fingerprints.Sums:
    """In Python's numbers, value by value."""
    totals = [0, 0, 0, 0]
    for (row, column), value in np.ndenumerate(np.atleast_2d(values)):
        value = np.float32(value)
        rounded = int(value.astype(ml_dtypes.bfloat16).view(np.uint16))
        rest = int(value.view(np.uint32)) & 0xFFFF
        for i in (0, 1):
            weight = _hashed(2 * row + i) * _hashed(2**31 + 2 * column + i)
            totals[i] += rounded * weight
            totals[2 + i] += rest * weight
    totals = [total % 2**32 for total in totals]
    return fingerprints.Sums(tuple(totals[:2]), tuple(totals[2:]), True)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("shape", [(12, 8), (96,), (1, 96)])
def test_the_sums_are_those_of_the_formula(dtype, shape):
    values = VALUES.copy()
    if dtype != "float16":
        values[3, : len(EDGES)] = EDGES
    values = values.astype(dtype).reshape(shape)
    expected = _by_hand(values)
    assert fingerprints.of_values(values) == expected
    assert any(expected.rest) == (dtype != "bfloat16")
    if dtype != "float16":
        leaf = jnp.asarray(values)
        assert fingerprints.of_leaves({"a": leaf})["a"] == [expected]
        # What another device than a CPU computes.
        matrix = np.atleast_2d(values).shape
        weights = fingerprints._weights(matrix)
        (row,) = np.asarray(fingerprints._on_device(leaf, (1, *matrix), weights))
        assert fingerprints._read(row) == expected


@pytest.mark.parametrize("axes", [(None, "x"), ("x", None), ("x", "y"), (None, None)])
@pytest.mark.parametrize("stacked", [False, True])
def test_the_sums_do_not_depend_on_where_the_parts_lie(axes, stacked):
    values = np.stack([VALUES, VALUES + 1]) if stacked else VALUES
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("x", "y"))
    axes = ("y" if axes == (None, "x") else None, *axes) if stacked else axes
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))
    name = "encoder/layers/mlp" if stacked else "encoder/layers_0/mlp"
    found = fingerprints.of_leaves({name: jax.device_put(values, sharding)})[name]
    assert found == [_by_hand(layer) for layer in (values if stacked else [values])]


def test_no_weight_is_gathered_on_an_accelerator():
    """What another device than a CPU computes, where the weights are split: sums travel."""
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:4]), ("model",))
    for axes in ((None, None, "model"), (None, "model", None)):
        sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))
        leaf = jax.ShapeDtypeStruct((3, 64, 256), "float32", sharding=sharding)
        matrix = leaf.shape[1:]
        lowered = fingerprints._on_device.lower(leaf, leaf.shape, fingerprints._weights(matrix))
        found = hlo.Program(lowered.compile().as_text(), devices=4).collectives()
        assert {each.kind for each in found} == {"all-reduce"}
        assert sum(each.bytes for each in found) < 0.1 * 4 * leaf.size


def _identity(values):
    return fingerprints.identity([("a", values.shape, fingerprints.of_values(values))])


def test_every_change_of_a_bit_is_noticed():
    whole = _identity(VALUES)
    for place in np.ndindex(VALUES.shape):
        for bit in range(32):
            values = VALUES.copy()
            values.view(np.uint32)[place] ^= np.uint32(1 << bit)
            changed = _identity(values)
            assert changed != whole
            assert bit < 16 or changed.fingerprint != whole.fingerprint


def test_exchanged_values_are_noticed():
    rng, seen = np.random.default_rng(1), {_identity(VALUES).fingerprint}
    for _ in range(200):
        values = VALUES.copy().reshape(-1)
        one, other = rng.choice(values.size, 2, replace=False)
        values[[one, other]] = values[[other, one]]
        assert _identity(values.reshape(VALUES.shape)).fingerprint not in seen
    square = VALUES[:8]
    assert _identity(square.T.copy()) != _identity(square)
    assert _identity(square[::-1].copy()) != _identity(square)


def test_a_copy_in_bfloat16_has_no_lower_bits():
    whole, copy = _identity(VALUES), _identity(VALUES.astype(ml_dtypes.bfloat16))
    assert (copy.fingerprint, copy.bits) == (whole.fingerprint, "")
    assert _identity(VALUES.astype(ml_dtypes.bfloat16).astype(np.float32)) == copy
    assert len(whole.bits) == 16


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_what_is_not_finite_is_known(value, dtype):
    values = VALUES.astype(dtype)
    assert fingerprints.of_values(values).finite
    values[5, 5] = value
    assert not fingerprints.of_values(values).finite
    if dtype != "float16":
        (sums,) = fingerprints.of_leaves({"a": jnp.asarray(values)})["a"]
        assert not sums.finite


def test_what_is_known_of_an_array_is_forgotten_with_it():
    leaf = jnp.asarray(VALUES)
    known = len(fingerprints._known)
    first = fingerprints.of_leaves({"a": leaf})["a"]
    assert fingerprints.of_leaves({"b": leaf})["b"] is first
    assert len(fingerprints._known) == known + 1
    del leaf
    assert len(fingerprints._known) == known
