"""LoRA and (IA)³ of several tasks in one run: their start, and that each is as if it were alone."""

import jax
import numpy as np
import pytest
import toy
import toy_run
from flax import traverse_util

from mpt_jax.engine import initialize, step
from mpt_jax.errors import UserError
from mpt_jax.methods.full import FullTraining
from mpt_jax.methods.ia3 import IA3
from mpt_jax.methods.lora import LoRA

KEY = jax.random.key(0)
METHODS = [LoRA(rank=3, alpha=5), IA3()]
BATCHES = [toy.batch(ids, seed) for seed, ids in enumerate(([0, 2, 2, 1], [0, 1, 0, 1]))]
methods = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)


def _model(method, tasks=toy.TASKS):
    return toy.model(method, tasks, toy.ONE_LAYER)


def _leaves(params):
    return traverse_util.flatten_dict(params["per_task"], sep="/")


@methods
def test_it_starts_at_the_backbone(method):
    model = _model(method)
    params = initialize.start(model, toy.one_layer(), KEY)
    scores = jax.jit(model.score_batch)(params, BATCHES[0])
    plain = jax.jit(_model(FullTraining()).score_batch)(toy.one_layer(), BATCHES[0])
    np.testing.assert_array_equal(scores, plain)


def test_how_lora_starts():
    found = _leaves(initialize.start(_model(LoRA(rank=3, alpha=5)), toy.one_layer(), KEY))
    drawn = {n: np.asarray(leaf) for n, leaf in found.items() if n.endswith("lora_a")}
    assert len(drawn) == 2 * 3  # query and value of three attentions
    assert {leaf.shape for leaf in drawn.values()} == {(3, 16, 3)}
    numbers = np.concatenate([leaf.ravel() for leaf in drawn.values()])
    assert np.abs(numbers).max() < 0.25  # 1 / sqrt(16)
    assert np.abs(numbers.std() - 0.25 / np.sqrt(3)) < 0.01  # of a uniform distribution
    assert len(np.unique(numbers)) > 0.99 * len(numbers)
    for name, leaf in found.items():
        if name.endswith("lora_b"):
            assert leaf.shape == (3, 3, 16) and not leaf.any()
        elif name.endswith("lora_scale"):
            np.testing.assert_array_equal(leaf, np.full(3, 5 / 3, np.float32))


@methods
def test_together_equals_alone(method):
    """Two steps on batches that mix three tasks, against a run for each task."""

    def start(model):
        return initialize.start(model, toy.one_layer(), KEY)

    runs, model = {}, _model(method)
    for num_microbatches in (1, 2):
        run = toy_run.Run(model, start(model), num_microbatches=num_microbatches)
        for batch in BATCHES:
            run.step(batch)
        runs[num_microbatches] = _leaves(run.trainable)
    alone = [_model(method, (task,)) for task in toy.TASKS]
    own_run = toy_run.Run(alone[0], start(alone[0]))
    for index, own_model in enumerate(alone):
        params = start(own_model)
        own_run.restart(step.split(params, own_model.param_labels(params))[0])
        for batch in BATCHES:
            rows = batch["task_ids"] == index
            if rows.any():
                own = {name: values[rows] for name, values in batch.items()}
                own_run.step({**own, "task_ids": np.zeros_like(own["task_ids"])})
        moved = _leaves(own_run.trainable)
        for num_microbatches, together in runs.items():
            assert moved.keys() == together.keys()
            for name, leaf in moved.items():
                np.testing.assert_allclose(
                    together[name][index],
                    leaf[0],
                    atol=1e-3,
                    err_msg=f"{name}, {num_microbatches} microbatches",
                )


@methods
def test_only_what_a_task_has_of_its_own_moves(method):
    model = _model(method)
    run = toy_run.Run(model, initialize.start(model, toy.one_layer(), KEY))
    before = _leaves(run.trainable)
    run.step(BATCHES[1])  # without the task sst
    assert run.trainable.keys() == {"per_task"}
    for name, leaf in _leaves(run.trainable).items():
        np.testing.assert_array_equal(leaf[2], before[name][2])
        assert np.any(leaf[:2] != before[name][:2]) or name.endswith("lora_a"), name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "rank >= 1 and alpha > 0, not rank 0"),
        ({"alpha": float("nan")}, "alpha > 0, not rank 8 and alpha nan"),
        ({"projections": ("q",)}, r"projections = \('q',\): name one or more of query, key"),
        ({"projections": ()}, "name one or more"),
    ],
)
def test_settings_of_lora_that_mean_nothing(settings, message):
    with pytest.raises(UserError, match=message):
        LoRA(**settings)


def test_projections_that_the_backbone_lacks():
    with pytest.raises(UserError, match="this backbone has none of them .*wi_0 and wi_1"):
        LoRA(projections=("wi",)).added_shapes(1, toy.one_layer())
