"""The step on a toy model: what moves, microbatches, non-finite losses, compiled once."""

import clu.metrics
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mpt_jax.engine import optimizers, step
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.errors import UserError

B, S, D, V, K = 8, 3, 4, 6, 2
AXES = {
    "backbone": {"embedding": ("vocab", "embed"), "kernel": ("embed", "mlp")},
    "bank": {"shared": ("embed",), "task": ("tasks", "embed")},
}
LABELS = {
    "backbone": {"embedding": "frozen", "kernel": "frozen"},
    "bank": {"shared": "shared", "task": "task"},
}


@flax.struct.dataclass
class Sum(clu.metrics.Metric):
    """A metric whose merged value is easy to know."""

    total: jax.Array

    def merge(self, other):
        return Sum(self.total + other.total)

    def compute(self):
        return self.total


class ToyModel:
    """Weighted squared error of one target token per position, and a loss per example."""

    def normalizers(self, batch):
        tokens = jnp.maximum(batch["decoder_loss_weights"].sum(), 1)
        return {"tokens": tokens, "task_share": 1.0 + batch["task_ids"] / batch["task_ids"].size}

    def loss_fn(self, params, batch, dropout_rng, normalizers=None):
        normalizers = self.normalizers(batch) if normalizers is None else normalizers
        prompt = params["bank"]["shared"] * params["bank"]["task"][batch["task_ids"]]  # [B, D]
        hidden = params["backbone"]["embedding"][batch["encoder_input_tokens"]] + prompt[:, None]
        output = hidden @ params["backbone"]["kernel"]  # [B, S, V]
        target = jax.nn.one_hot(batch["decoder_target_tokens"], V)
        error = ((output - target) ** 2).sum(-1) * normalizers["task_share"][:, None]
        error = error * batch["decoder_loss_weights"]
        metrics = {"weights": Sum(batch["decoder_loss_weights"].sum())}
        return error.sum() / normalizers["tokens"], metrics


def _params():
    keys = jax.random.split(jax.random.key(0), 4)
    return {
        "backbone": {
            "embedding": jax.random.normal(keys[0], (V, D)),
            "kernel": jax.random.normal(keys[1], (D, V)),
        },
        "bank": {
            "shared": jax.random.normal(keys[2], (D,)),
            "task": 1 + jax.random.normal(keys[3], (K, D)) / 10,
        },
    }


def _batch(seed=0):
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, 2, (B, S), dtype=np.int32)
    weights[0] = 0  # an example without a loss, and rows of unequal weight
    return {
        "encoder_input_tokens": rng.integers(0, V, (B, S), dtype=np.int32),
        "decoder_target_tokens": rng.integers(0, V, (B, S), dtype=np.int32),
        "decoder_loss_weights": weights,
        "task_ids": rng.integers(0, K, (B,), dtype=np.int32),
    }


def _setting(params=None):
    """(model, tx, state, frozen) before the first step."""
    trainable, frozen = step.split(_params() if params is None else params, LABELS)
    definition = optimizers.adamw({"shared": 0.3, "task": 0.4})
    tx = definition.build(LABELS, AXES, lambda count: jnp.ones(()) / (1 + count))
    return ToyModel(), tx, step.init_state(tx, trainable), frozen


def test_split_and_merge_are_inverse():
    trainable, frozen = step.split(_params(), LABELS)
    assert trainable.keys() == {"bank"} and frozen.keys() == {"backbone"}
    jax.tree.map(np.testing.assert_array_equal, step.merge(trainable, frozen), _params())


def test_split_lists_unclaimed_parameters():
    labels = {"backbone": LABELS["backbone"], "bank": {"shared": "shared"}}
    with pytest.raises(UserError, match="claimed.*bank/task"):
        step.split(_params(), labels)


def test_gradient_and_metrics_equal_finite_differences():
    model, tx, state, frozen = _setting()
    batch, rng = _batch(), jax.random.key(1)
    new_state, metrics = step.train_step(model, tx, state, frozen, batch, rng)

    @jax.jit
    def loss(trainable):
        return model.loss_fn(step.merge(trainable, frozen), batch, rng)[0]

    np.testing.assert_allclose(metrics["loss"], loss(state.trainable), rtol=1e-6)
    leaves, tree = jax.tree.flatten(state.trainable)
    squares = 0.0
    for index, leaf in enumerate(leaves):
        for entry in np.ndindex(leaf.shape):
            moved = [
                loss(tree.unflatten([*leaves[:index], leaf.at[entry].add(d), *leaves[index + 1 :]]))
                for d in (0.05, -0.05)
            ]
            squares += float((moved[0] - moved[1]) / 0.1) ** 2
    np.testing.assert_allclose(metrics["grad_norm"], np.sqrt(squares), rtol=1e-3)
    assert metrics["finite"] and new_state.step == 1
    np.testing.assert_allclose(metrics["learning_rate/shared"], 0.3, rtol=1e-6)
    np.testing.assert_allclose(metrics["learning_rate/task"], 0.4, rtol=1e-6)


@pytest.mark.parametrize("num_microbatches", [2, 4])
def test_microbatches_equal_one_batch(num_microbatches):
    model, tx, whole, frozen = _setting()
    parts, rng = whole, jax.random.key(1)
    for seed in range(3):
        batch = _batch(seed)
        whole, expected = step.train_step(model, tx, whole, frozen, batch, rng)
        parts, metrics = step.train_step(
            model, tx, parts, frozen, batch, rng, num_microbatches=num_microbatches
        )
        assert metrics.keys() == expected.keys()
        assert metrics["weights"].compute() == batch["decoder_loss_weights"].sum()
        np.testing.assert_allclose(metrics["loss"], expected["loss"], rtol=1e-5)
        np.testing.assert_allclose(metrics["grad_norm"], expected["grad_norm"], rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), parts, whole)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_loss_leaves_the_state_as_it_was(bad):
    params = _params()
    params["backbone"]["kernel"] = params["backbone"]["kernel"].at[0, 0].set(bad)
    model, tx, state, frozen = _setting(params)
    new_state, metrics = step.train_step(model, tx, state, frozen, _batch(), jax.random.key(1))
    assert not metrics["finite"]
    jax.tree.map(np.testing.assert_array_equal, new_state, state)


def _placed(partitioner):
    model, tx, state, frozen = _setting()
    frozen_axes = step.split(AXES, LABELS)[1]
    return model, tx, partitioner.place_state(state, AXES), partitioner.place(frozen, frozen_axes)


def _layouts():
    devices = jax.devices()
    assert len(devices) == 4
    return {
        "1 device": PjitPartitioner(devices=devices[:1]),
        "data 4": PjitPartitioner(),
        "data 2, model 2": PjitPartitioner(num_partitions=2),
    }


@pytest.mark.parametrize("num_microbatches", [1, 2])
def test_every_mesh_gives_the_same_losses_and_prompts(num_microbatches):
    results = {}
    for name, partitioner in _layouts().items():
        model, tx, state, frozen = _placed(partitioner)
        run = step.make_train_step(model, tx, partitioner, num_microbatches=num_microbatches)
        losses = []
        for seed in range(3):
            batch = partitioner.shard_batch(_batch(seed))
            state, metrics = run(state, frozen, batch, jax.random.key(1))
            losses.append(metrics["loss"])
        results[name] = jax.device_get((losses, state.trainable))
    for result in results.values():
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
            result,
            results["1 device"],
        )


def test_the_new_state_lies_as_the_old_one_and_nothing_compiles_twice():
    partitioner = PjitPartitioner(num_partitions=2)
    model, tx, state, frozen = _placed(partitioner)
    layout = jax.tree.map(lambda leaf: leaf.sharding, state)
    run, traces = step.make_train_step(model, tx, partitioner), []
    model.normalizers = lambda batch: traces.append(1) or ToyModel.normalizers(model, batch)
    for seed in range(3):
        batch = partitioner.shard_batch(_batch(seed))
        state, _ = run(state, frozen, batch, jax.random.key(1))
    assert jax.tree.map(lambda leaf: leaf.sharding, state) == layout
    assert len(traces) == 1


def test_eval_step_gives_each_host_the_whole_result():
    partitioner = PjitPartitioner(num_partitions=2)
    model, _, state, frozen = _placed(partitioner)
    evaluate = step.make_eval_step(model.loss_fn, partitioner)
    batch = _batch()
    params = step.merge(state.trainable, frozen)
    loss, _ = evaluate(params, batch, None)
    expected, _ = model.loss_fn(_params(), batch, None)
    assert loss.is_fully_replicated
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
