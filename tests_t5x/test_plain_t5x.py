"""T5X's own gradient and optimizer wrapper, with as little of ours as can be, against our engine.

With --engine=t5x T5X drives our gradient and our optimizer, so equal numbers there cannot show a
mistake that both share. Here T5X differentiates the plain loss by all parameters, and updates by
its own OptaxWrapper over optax.
"""

import dataclasses

import flax.core
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toy
import toy_run

from mpt_jax.engine import initialize, optimizers
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.methods.prompt_tuning import PromptTuning
from mpt_jax.real_t5x.model import step_mean

STEPS, RATE, DECAY = 20, 0.1, 1e-2


@pytest.mark.parametrize("partitions", [1, 2], ids=["1 device", "data 2 × model 2"])
def test_t5x_alone_moves_the_prompt_as_our_engine_does(partitions, record):
    from t5x import optimizers as t5x_optimizers
    from t5x import train_state as train_state_lib
    from t5x import trainer as trainer_lib

    from mpt_jax.real_t5x.partitioner import Partitioner

    devices = jax.devices()[:1] if partitions == 1 else jax.devices()
    own = PjitPartitioner(num_partitions=partitions, devices=devices)
    model = dataclasses.replace(
        toy.model(PromptTuning(4, per_task=False)),
        optimizer_def=optimizers.adamw(RATE, weight_decay=DECAY),
    )
    key = jax.random.key(0)
    variables = jax.jit(lambda key: model.get_initial_variables(key, toy.SHAPES))(key)
    params = jax.tree.map(np.asarray, initialize.start(model, variables["params"], key))
    batches = [toy.batch([0, 2, 2, 1, 0, 2, 1, 1], seed) for seed in range(STEPS)]

    ours = toy_run.Run(model, params, partitioner=own)
    our_losses = [ours.step(batch)["loss"] for batch in batches]

    class Plain:
        """The protocol's plain loss; its metric is the loss alone."""

        def loss_fn(self, params, batch, dropout_rng):
            loss, _ = model.loss_fn(params, batch, None)
            return loss, {"loss": step_mean(loss)}

    def label(path, _):
        return "train" if path[0].key == "prompt_bank" else "freeze"

    rules = {"train": optax.adamw(RATE, weight_decay=DECAY), "freeze": optax.set_to_zero()}
    optimizer = t5x_optimizers.OptaxWrapper(
        optax.multi_transform(rules, lambda p: jax.tree_util.tree_map_with_path(label, p))
    )
    partitioner = Partitioner(own)
    state = train_state_lib.FlaxOptimTrainState.create(
        optimizer, jax.tree.map(jnp.asarray, flax.core.freeze(variables | {"params": params}))
    )
    trainer = trainer_lib.Trainer(
        model=Plain(),
        train_state=state,
        partitioner=partitioner,
        eval_names=[],
        summary_dir=None,
        train_state_axes=partitioner.get_mesh_axes(state),
        rng=jax.random.PRNGKey(0),
        learning_rate_fn=lambda step: jnp.float32(1.0),
        num_microbatches=None,
    )
    losses = [
        float(trainer.train(iter([own.shard_batch(batch)]), 1).result()["loss"].value)
        for batch in batches
    ]
    found, expected = (
        np.asarray(tree["prompt_bank"]["shared"])
        for tree in (trainer.train_state.params, ours.trainable)
    )
    differences = {
        "losses": float(np.max(np.abs(np.subtract(losses, our_losses)) / np.abs(our_losses))),
        "validation": None,
        "prompts": float(np.max(np.abs(found - expected)) / np.max(np.abs(expected))),
    }
    mesh = "1 device" if partitions == 1 else "data 2 × model 2"
    record("T5X's own gradient and optimizer, toy", mesh, differences)
    assert np.max(np.abs(expected - params["prompt_bank"]["shared"])) > 0.1  # it moved
    assert differences["losses"] <= 1e-5 and differences["prompts"] <= 1e-5, differences
    trained = flax.core.unfreeze(trainer.train_state.params)
    for tree in ("encoder", "decoder", "token_embedder"):
        jax.tree.map(np.testing.assert_array_equal, trained[tree], params[tree])
