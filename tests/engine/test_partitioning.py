"""Meshes, shardings by logical axis names, batches, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

from mpt_jax.engine.partitioning import (
    PjitPartitioner,
    data_shard,
    standard_logical_axis_rules,
)
from mpt_jax.errors import UserError

AXES = {
    "embedding": ("vocab", "embed"),
    "mlp": {"wi": ("embed", "mlp"), "wo": ("mlp", "embed")},
    "bank": {"task_u": ("tasks", "prompt_length", "rank")},
}
PARAMS = {
    "embedding": np.arange(24.0).reshape(6, 4),
    "mlp": {"wi": np.ones((4, 8)), "wo": np.ones((8, 4))},
    "bank": {"task_u": np.ones((3, 5, 1))},
}


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({}, {"data": 4, "model": 1}),
        ({"num_partitions": 2}, {"data": 2, "model": 2}),
        ({"num_partitions": None, "model_parallel_submesh": (1, 2)}, {"data": 2, "model": 2}),
        ({"num_partitions": 4}, {"data": 1, "model": 4}),
    ],
)
def test_mesh_shape(arguments, shape):
    partitioner = PjitPartitioner(**arguments)
    assert dict(partitioner.mesh.shape) == shape
    assert partitioner.data_partitions == shape["data"]


@pytest.mark.parametrize(("size", "relation"), [(8, "more than"), (3, "not a divisor"), (0, "0")])
def test_mesh_that_the_devices_cannot_form(size, relation):
    with pytest.raises(UserError, match=f"{relation}.*4 device"):
        PjitPartitioner(num_partitions=size)


def test_num_partitions_and_submesh_disagree():
    with pytest.raises(UserError, match="num_partitions = 4 and model_parallel_submesh"):
        PjitPartitioner(num_partitions=4, model_parallel_submesh=(1, 2))


def test_parameters_lie_as_their_logical_axes_say():
    placed = PjitPartitioner(num_partitions=2).place(PARAMS, AXES)
    jax.tree.map(np.testing.assert_array_equal, placed, PARAMS)
    shards = jax.tree.map(lambda leaf: leaf.addressable_shards[0].data.shape, placed)
    assert shards == {
        "embedding": (3, 4),
        "mlp": {"wi": (4, 4), "wo": (4, 4)},
        "bank": {"task_u": (3, 5, 1)},
    }


def test_additional_rules_add_names():
    rules = standard_logical_axis_rules(additional_rules=[("experts", "model")])
    partitioner = PjitPartitioner(num_partitions=2, logical_axis_rules=rules)
    sharding = partitioner.sharding({"a": ("embed", "experts")})["a"]
    assert sharding.spec == PartitionSpec(None, "model")


def test_additional_rules_come_first():
    rules = standard_logical_axis_rules(additional_rules=[("vocab", None)])
    sharding = PjitPartitioner(num_partitions=2, logical_axis_rules=rules).sharding(AXES)
    assert sharding["embedding"].spec == PartitionSpec(None, None)


def test_parameters_over_both_axes_of_the_mesh():
    rules = standard_logical_axis_rules(parameter_partitioning_dims=2)
    partitioner = PjitPartitioner(num_partitions=2, logical_axis_rules=rules)
    assert partitioner.sharding(AXES)["mlp"]["wi"].spec == PartitionSpec("data", "model")
    for dims in ((2, 1), (1, 3), (1, 0)):
        with pytest.raises(UserError, match="parameter_partitioning_dims = 1 or 2"):
            standard_logical_axis_rules(*dims)


def test_unknown_logical_axis_names_parameter_and_nearest():
    with pytest.raises(UserError, match="mlp/wi.*'embedd'.*Did you mean 'embed'"):
        PjitPartitioner().sharding({"mlp": {"wi": ("embedd", "mlp")}})


def test_rule_for_an_unknown_mesh_axis():
    with pytest.raises(UserError, match="'modell'"):
        PjitPartitioner(logical_axis_rules=[("embed", "modell")])


def test_dimension_that_does_not_divide_is_named():
    params = {**PARAMS, "embedding": np.ones((7, 4))}
    with pytest.raises(UserError, match=r"embedding \(7, 4\): dimension 0 \(= 7\).*'model' of 2"):
        PjitPartitioner(num_partitions=2).place(params, AXES)
    with pytest.raises(UserError, match="dimension 0"):
        PjitPartitioner(num_partitions=2).sharding(AXES, params)


@pytest.mark.parametrize("rule", [optax.adam(0.1), optax.adafactor(0.1, min_dim_size_to_factor=2)])
def test_moments_lie_as_their_parameters(rule):
    params = {"mlp": {"wi": jnp.ones((4, 8)), "bias": jnp.ones((8,))}}
    axes = {"mlp": {"wi": ("embed", "mlp"), "bias": ("mlp",)}}
    partitioner = PjitPartitioner(num_partitions=2)
    state = partitioner.place_state({"params": params, "opt": rule.init(params)}, axes)
    wi, bias = PartitionSpec(None, "model"), PartitionSpec("model")
    sharded = [leaf.sharding.spec for leaf in jax.tree.leaves(state) if leaf.shape == (4, 8)]
    assert sharded and all(spec == wi for spec in sharded)
    # Adafactor also keeps a column factor of shape (8,) for `wi`: that one is replicated.
    vectors = [leaf.sharding.spec for leaf in jax.tree.leaves(state) if leaf.shape == (8,)]
    assert set(vectors) <= {bias, PartitionSpec()} and vectors.count(bias) >= 2
    scalars = [leaf for leaf in jax.tree.leaves(state) if leaf.size == 1]
    assert scalars and all(leaf.is_fully_replicated for leaf in scalars)


def test_batch_is_split_over_data():
    batch = {"tokens": np.arange(8 * 3, dtype=np.int32).reshape(8, 3), "ids": np.arange(8)}
    partitioner = PjitPartitioner(num_partitions=2)
    sharded = partitioner.shard_batch(batch)
    jax.tree.map(np.testing.assert_array_equal, sharded, batch)
    rows = sorted(shard.index[0].start for shard in sharded["tokens"].addressable_shards)
    assert rows == [0, 0, 4, 4]
    assert partitioner.data_shard == (0, 1)


def test_batch_size_that_does_not_divide_names_the_numbers():
    partitioner = PjitPartitioner()
    partitioner.check_batch_size(16, 2)
    with pytest.raises(UserError, match="Batch size 6 .*1 microbatches × 4 data.*multiple of 4"):
        partitioner.check_batch_size(6)
    with pytest.raises(UserError, match="Batch size 12 .*2 microbatches.*multiple of 8"):
        partitioner.check_batch_size(12, 2)


@pytest.mark.parametrize(
    ("processes", "expected"),
    [
        ([[0, 0], [0, 0]], [(0, 1)]),
        ([[0, 0], [1, 1]], [(0, 2), (1, 2)]),
        ([[0, 1], [0, 1]], [(0, 1), (0, 1)]),  # the model axis spans two hosts
        ([[0, 1], [2, 3]], [(0, 2), (0, 2), (1, 2), (1, 2)]),
    ],
)
def test_data_shard_of_each_process(processes, expected):
    processes = np.asarray(processes)
    assert [data_shard(processes, p) for p in range(len(expected))] == expected
