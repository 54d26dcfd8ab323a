"""A finished prompt file as it is: same bank, nothing trains, foreign backbones refused."""

import jax
import numpy as np
import pytest
import toy
import toy_start

from mpt_jax.engine import initialize, saving
from mpt_jax.errors import UserError
from mpt_jax.methods.adapter import Adapter
from mpt_jax.methods.restored import Restored, by_name, tasks_of
from mpt_jax.product import product_file

KEY = jax.random.key(0)


def backbone(width):
    """As much of a backbone as says its width."""
    return {"token_embedder": {"embedding": np.zeros((1, width), np.float32)}}


@pytest.mark.parametrize(
    "bank",
    [
        toy_start.factors(rank=2),
        {"shared": toy_start.factors()["shared"]},
        {"task_prompts": np.random.default_rng(0).normal(size=(2, 4, 6)).astype(np.float32)},
    ],
    ids=lambda bank: "+".join(bank),
)
def test_the_bank_is_the_files(tmp_path, bank):
    path = toy_start.write(tmp_path, bank)
    for where in (path, str(tmp_path)):
        method = Restored(where)
        found = method.start(toy_start.start(), KEY)["prompt_bank"]
        assert found.keys() == bank.keys()
        jax.tree.map(np.testing.assert_array_equal, found, bank)
        shapes = {name: leaf.shape for name, leaf in bank.items()}
        assert method.added_shapes(5, backbone(toy_start.WIDTH)) == {"prompt_bank": shapes}


def test_tasks_are_the_files_in_its_order(tmp_path):
    path = toy_start.write(tmp_path, toy_start.factors(), tasks=("sst", "boolq", "nli"))
    assert tasks_of(path) == ("sst", "boolq", "nli")


def test_another_backbone_is_refused(tmp_path):
    path = toy_start.write(tmp_path, toy_start.factors())
    with pytest.raises(UserError, match="fingerprint abc, but this backbone has other"):
        Restored(path).start(toy_start.start(backbone="other"), KEY)
    with pytest.raises(UserError, match=r"width \(D\) 6, but this backbone has 8"):
        Restored(path).added_shapes(3, backbone(8))  # before the backbone itself is read


def test_a_missing_file_is_named():
    for use in (tasks_of, lambda path: Restored(path).added_shapes(1, backbone(1))):
        with pytest.raises(UserError, match="no prompt file at 'nowhere'"):
            use("nowhere")


def test_nothing_trains():
    params = {
        "encoder": {"norm": {"scale": 0}},
        "prompt_bank": {"shared": 0, "task_u": 0, "task_v": 0, "task_prompts": 0},
    }
    labels = toy.model(Restored("unused")).param_labels(params)
    assert set(jax.tree.leaves(labels)) == {"frozen"}


def test_a_method_that_nobody_knows(tmp_path):
    path = toy_start.write(tmp_path, toy_start.factors(), method="unheard_of")
    unknown = "method 'unheard_of' that is not known here.*METHOD_MODULE"
    with pytest.raises(UserError, match=unknown):
        by_name(product_file.load(path)[1].method)
    with pytest.raises(UserError, match="Cannot import METHOD_MODULE 'no_such_module'"):
        by_name("unheard_of", "no_such_module")


def test_tuned_weights_of_another_backbone_are_refused(tmp_path):
    model = toy.model(Adapter(reduction=4))
    params = initialize.start(model, toy.backbone(), KEY)
    params["encoder"]["encoder_norm"] = {"scale": np.ones(3, np.float32)}
    saving.save(model, str(tmp_path), params, step=1, results={}, feature_lengths={})
    message = r"holds encoder/encoder_norm/scale of shape \(3,\), which this backbone"
    with pytest.raises(UserError, match=message):
        Restored(str(tmp_path)).added_shapes(3, toy.backbone())
