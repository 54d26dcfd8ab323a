"""The same run on three meshes of virtual devices: the same losses, the same parameters."""

import dataclasses

import jax
import numpy as np
import pytest
import toy
import toy_run

from mpt_jax import distillation
from mpt_jax.backbone import store
from mpt_jax.engine import initialize, optimizers, saving
from mpt_jax.engine.initialize import RestoreCheckpointConfig, initial_params
from mpt_jax.engine.partitioning import PjitPartitioner, standard_logical_axis_rules
from mpt_jax.methods.full import FullTraining
from mpt_jax.methods.lora import LoRA
from mpt_jax.methods.mpt import MPT
from mpt_jax.methods.prompt_tuning import PromptTuning

BATCHES = [toy.batch([0, 2, 2, 1, 0, 2, 1, 1], seed) for seed in range(3)]


def _model(method, learning_rate=0.1, **fields):
    optimizer = optimizers.adamw(learning_rate)
    model = toy.model(method, config=toy.ONE_LAYER, **fields)
    return dataclasses.replace(model, optimizer_def=optimizer)


def _meshes():
    return {
        "one device": PjitPartitioner(devices=jax.devices()[:1]),
        "data 4": PjitPartitioner(),
        "data 2 x model 2": PjitPartitioner(num_partitions=2),
    }


def _train(model, partitioner, restore):
    """(losses of all steps, trained parameters, the run), started on the mesh as `train` does."""
    params = initial_params(model, partitioner, restore, toy.SHAPES, jax.random.key(2))
    run = toy_run.Run(model, params, partitioner=partitioner)
    losses = [run.step(batch)["loss"] for batch in BATCHES]
    return losses, run.trainable, run


def _assert_parity(model, restore=None, **more_meshes):
    meshes = {**_meshes(), **more_meshes}
    runs = {name: _train(model, mesh, restore) for name, mesh in meshes.items()}
    losses, trained, _ = runs["one device"]
    assert abs(losses[0] - losses[-1]) > 0.01
    for name in [name for name in meshes if name != "one device"]:
        np.testing.assert_allclose(runs[name][0], losses, rtol=1e-5, err_msg=name)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), runs[name][1], trained
        )
    return {name: run for name, (_, _, run) in runs.items()}


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory):
    """A folder with a backbone and the prompt file of its teachers."""
    folder = str(tmp_path_factory.mktemp("run"))
    full, teachers = _model(FullTraining(from_scratch=True)), _model(PromptTuning(prompt_length=4))
    backbone = initial_params(full, PjitPartitioner(), None, toy.SHAPES, jax.random.key(7))
    store.save(folder, backbone, toy.ONE_LAYER)
    params = initialize.start(teachers, backbone, jax.random.key(8))
    saving.save(teachers, folder, params, step=0, results={}, feature_lengths={})
    return folder


def test_mpt_with_distillation(folder):
    model = _model(MPT(prompt_length=4), distillation=distillation.Distillation(folder))
    both = PjitPartitioner(
        num_partitions=2,
        logical_axis_rules=standard_logical_axis_rules(parameter_partitioning_dims=2),
    )
    runs = _assert_parity(model, RestoreCheckpointConfig(folder), both=both)
    for name, shape in (("data 2 x model 2", (16, 12)), ("both", (8, 12))):
        kernel = runs[name].frozen["encoder"]["layers_0"]["mlp"]["wi_0"]["kernel"]
        assert kernel.shape == (16, 24)
        assert kernel.addressable_shards[0].data.shape == shape


def test_adapters_of_tasks_are_split_as_what_they_adapt(folder):
    model = _model(LoRA(rank=3, projections=("query", "wo")))
    runs = _assert_parity(model, RestoreCheckpointConfig(folder))
    added = runs["data 2 x model 2"].state.trainable["per_task"]["encoder"]["layers_0"]
    for leaf, shape in (
        (added["attention"]["query"]["lora_a"], (3, 16, 3)),
        (added["attention"]["query"]["lora_b"], (3, 3, 8)),
        (added["mlp"]["wo"]["lora_a"], (3, 12, 3)),
        (added["mlp"]["wo"]["lora_b"], (3, 3, 16)),
    ):
        assert leaf.addressable_shards[0].data.shape == shape


def test_full_training_from_random_weights():
    runs = _assert_parity(_model(FullTraining(from_scratch=True), learning_rate=0.01))
    state = runs["data 2 x model 2"].state
    leaves = jax.tree.leaves((state.trainable, state.opt_state))
    wo = [leaf for leaf in leaves if leaf.shape == (24, 16)]  # 2 mlp/wo, both moments of each
    assert [leaf.addressable_shards[0].data.shape for leaf in wo] == [(12, 16)] * 6
    whole = runs["data 4"].state.trainable["encoder"]["layers_0"]["mlp"]["wo"]["kernel"]
    assert whole.addressable_shards[0].data.shape == (24, 16)


def test_a_bank_of_tasks_may_be_split_over_the_data_axis(folder):
    model = _model(PromptTuning(prompt_length=4, per_task=True), tasks=(*toy.TASKS, "more"))
    restore = RestoreCheckpointConfig(folder)
    by_task = PjitPartitioner(
        logical_axis_rules=standard_logical_axis_rules(additional_rules=[("tasks", "data")])
    )
    losses, trained, _ = _train(model, PjitPartitioner(devices=jax.devices()[:1]), restore)
    split_losses, split_trained, run = _train(model, by_task, restore)
    np.testing.assert_allclose(split_losses, losses, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), split_trained, trained)
    prompts = run.state.trainable["prompt_bank"]["task_prompts"]
    assert prompts.addressable_shards[0].data.shape == (1, 4, 16)
