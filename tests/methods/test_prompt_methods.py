"""What the prompt methods with parts of their own share: tasks, products, banks, scanned layers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy
import toy_run
from flax import traverse_util

from mpt_jax.bank import files as bank_files
from mpt_jax.engine import initialize, optimizers, saving
from mpt_jax.errors import UserError
from mpt_jax.methods.base import FROZEN
from mpt_jax.methods.dept import DePT
from mpt_jax.methods.dpt import DPT
from mpt_jax.methods.residual import ResidualPromptTuning
from mpt_jax.methods.restored import Restored
from mpt_jax.methods.ulpt import ULPT
from mpt_jax.product import product_file

KEY = jax.random.key(0)
METHODS = [DePT(4, 2, 6), DPT(4, 2), ULPT(4, 3), ResidualPromptTuning(4, 5)]
EACH = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)


def _trained(method, task_ids, tasks=toy.TASKS, rows=slice(None)):
    """The bank before and after two steps on the rows of a batch."""
    model = toy.model(method, tasks, toy.ONE_LAYER)
    model = dataclasses.replace(model, optimizer_def=optimizers.adamw(0.1, weight_decay=0.0))
    params = initialize.start(model, toy.one_layer(), KEY)
    batch = {name: leaf[rows] for name, leaf in toy.batch(task_ids).items()}
    before = jax.tree.map(np.array, params["prompt_bank"])
    run = toy_run.Run(model, params)
    for _ in range(2):
        run.step(batch)
    return before, run.trainable["prompt_bank"]


@EACH
def test_a_batch_of_several_tasks_trains_each_as_if_alone(method):
    before, together = _trained(method, [0, 1, 1, 0])
    labels = toy.model(method).param_labels({"prompt_bank": before})["prompt_bank"]
    frozen = {name for name, label in labels.items() if label == FROZEN}
    assert method.independent_tasks
    assert together.keys() == before.keys() - frozen
    for name, leaf in together.items():
        np.testing.assert_array_equal(leaf[2], before[name][2])  # in no row of the batch
        for task in (0, 1):
            assert not np.array_equal(leaf[task], before[name][task]), name
    # The task "qa" by itself, on the same rows.
    alone_before, alone = _trained(method, [0, 0, 0, 0], tasks=("qa",), rows=slice(1, 3))
    for name, leaf in alone.items():
        np.testing.assert_array_equal(alone_before[name][0], before[name][1])
        np.testing.assert_allclose(leaf[0], together[name][1], rtol=1e-3, atol=1e-3)


@EACH
def test_the_product_scores_as_the_run_did_with_scanned_layers_too(method, tmp_path):
    model = toy.model(method)
    params = initialize.start(model, toy.backbone(), KEY)
    bank = params["prompt_bank"]
    noise = {name: jax.random.normal(KEY, leaf.shape) for name, leaf in bank.items()}
    bank = {n: x + noise[n] if n.startswith("task_") else x for n, x in bank.items()}
    params["prompt_bank"] = bank
    saving.save(model, str(tmp_path), params, step=1, results={}, feature_lengths={})

    restored = toy.model(Restored(str(tmp_path)))
    again = initialize.start(restored, toy.backbone(), KEY)
    batch = toy.batch([0, 1, 2, 0])
    found = jax.jit(model.score_batch)(params, batch)
    np.testing.assert_allclose(jax.jit(restored.score_batch)(again, batch), found, rtol=1e-6)

    scanned = dataclasses.replace(
        restored, config=dataclasses.replace(toy.CONFIG, scan_layers=True)
    )
    stacked = {**_stacked(toy.backbone()), "prompt_bank": again["prompt_bank"]}
    np.testing.assert_allclose(jax.jit(scanned.score_batch)(stacked, batch), found, rtol=1e-5)


def _stacked(backbone):
    """The same weights with all layers of a stack in one array."""
    flat = traverse_util.flatten_dict(backbone, sep="/")
    found = {}
    for path, leaf in flat.items():
        if "/layers_0/" in path:
            leaves = [flat[path.replace("/layers_0/", f"/layers_{i}/")] for i in range(2)]
            found[path.replace("/layers_0/", "/layers/")] = jnp.stack(leaves)
        elif "/layers_" not in path:
            found[path] = leaf
    return traverse_util.unflatten_dict(found, sep="/")


def _product(method, folder, tasks):
    model = toy.model(method, tasks)
    params = initialize.start(model, toy.backbone(), KEY)
    saving.save(model, str(folder), params, step=1, results={}, feature_lengths={"inputs": 6})
    return str(folder)


@EACH
def test_tasks_of_several_runs_make_a_bank_and_leave_it(method, tmp_path, capsys):
    parts = [_product(method, tmp_path / name, (name,)) for name in ("nli", "qa", "sst")]
    whole = product_file.load(_product(method, tmp_path / "whole", ("nli", "qa", "sst")))[0]
    bank = str(tmp_path / "bank")
    bank_files.add(bank, parts)
    joined, info = product_file.load(bank)
    assert info.tasks == ("nli", "qa", "sst") and joined.keys() == whole.keys()
    for name, leaf in whole.items():
        np.testing.assert_allclose(joined[name], leaf, rtol=1e-6, atol=1e-7)
    bank_files.show(bank)
    own = sum(leaf[0].size for name, leaf in whole.items() if name.startswith("task_"))
    assert ["qa", f"{own:,}", f"{4 * own:,}"] in map(
        str.split, capsys.readouterr().out.splitlines()
    )
    bank_files.remove(bank, ["qa"])
    left, info = product_file.load(bank)
    assert info.tasks == ("nli", "sst")
    for name, leaf in left.items():
        kept = joined[name][[0, 2]] if name.startswith("task_") else joined[name]
        np.testing.assert_array_equal(leaf, kept)


@pytest.mark.parametrize(
    ("method", "other", "message"),
    [
        (DePT(4, 2, 6), DePT(4, 2, 9), r"'task_a' of shape \(9, 2\) a task, .* \(6, 2\): train"),
        (DPT(4, 2), DPT(4, 3), r"rank \(R\) 3, the bank .* 2: set --gin.dpt.DPT.rank=2"),
        (ULPT(4, 3), ULPT(4, 3, seed=1), "another 'projection_seed' than the bank"),
        (ULPT(4, 3), DPT(4, 3), "method dpt, the bank .* ulpt"),
    ],
)
def test_runs_of_other_sizes_or_seeds_make_no_bank(method, other, message, tmp_path):
    bank = _product(method, tmp_path / "bank", ("nli",))
    with pytest.raises(UserError, match=message):
        bank_files.add(bank, [_product(other, tmp_path / "other", ("qa",))])


@EACH
def test_a_start_does_not_depend_on_the_tasks_beside_it(method):
    bank, alone = (
        initialize.start(toy.model(method, tasks), toy.backbone(), KEY)["prompt_bank"]
        for tasks in (("x", "qa", "y"), ("qa",))
    )
    for name, leaf in alone.items():
        if name.startswith("task_"):
            np.testing.assert_array_equal(bank[name][1], leaf[0])
