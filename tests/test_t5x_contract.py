"""What the real T5X relies on, checked without it (tests_t5x/ has the tests that need it)."""

import importlib.util
import inspect
import sys
import types

import jax
import numpy as np
import pytest
import seqio
import toy
from flax import core, traverse_util

from mpt_jax import cli, distillation
from mpt_jax.engine import initialize
from mpt_jax.engine import step as step_lib
from mpt_jax.engine.partitioning import standard_logical_axis_rules
from mpt_jax.engine.settings import Trainer, Training
from mpt_jax.errors import UserError
from mpt_jax.methods.adapter import Adapter
from mpt_jax.methods.bitfit import BitFit
from mpt_jax.methods.dept import DePT
from mpt_jax.methods.dpt import DPT
from mpt_jax.methods.full import FullTraining
from mpt_jax.methods.ia3 import IA3
from mpt_jax.methods.lora import LoRA
from mpt_jax.methods.mpt import MPT
from mpt_jax.methods.prompt_tuning import PromptTuning
from mpt_jax.methods.residual import ResidualPromptTuning
from mpt_jax.methods.ulpt import ULPT
from mpt_jax.models import EncoderDecoderModel
from mpt_jax.real_t5x import installed
from mpt_jax.real_t5x.model import Model
from mpt_jax.t5x import engines
from mpt_jax.t5x import train as facade

# As T5X calls them (docs/t5x.md): `get_initial_variables` by keyword, the others by position.
SIGNATURES = {
    "get_initial_variables": ["rng", "input_shapes", "input_types"],
    "loss_fn": ["params", "batch", "dropout_rng"],
    "eval_fn": ["params", "batch"],
    "predict_batch": ["params", "batch", "rng"],
    "predict_batch_with_aux": ["params", "batch", "rng"],
    "score_batch": ["params", "batch"],
}


@pytest.mark.parametrize("cls", [EncoderDecoderModel, Model])
def test_signatures_of_the_model_protocol(cls):
    for name, expected in SIGNATURES.items():
        names = list(inspect.signature(getattr(cls, name)).parameters)[1:]
        assert names[: len(expected)] == expected, name


def test_members_that_t5x_reads():
    model = Model(toy.model(), optimizer_def="optimizer")
    assert model.optimizer_def == "optimizer"
    assert model.get_initial_variables.__self__ is model
    assert model.input_vocabulary == model.output_vocabulary == toy.model().input_vocabulary
    assert issubclass(model.FEATURE_CONVERTER_CLS, seqio.EncDecFeatureConverter)
    with pytest.raises(UserError, match="pack = True cannot be used"):
        model.FEATURE_CONVERTER_CLS(pack=True, use_custom_packing_ops=False)


@pytest.mark.parametrize(
    "method",
    [
        MPT(4),
        PromptTuning(4),
        DePT(4, 2),
        DPT(4, 2),
        ULPT(4, 2),
        ResidualPromptTuning(4, 5),
        Adapter(4),
        BitFit(),
        LoRA(),
        IA3(),
        FullTraining(),
    ],
    ids=lambda method: method.name,
)
def test_every_parameter_has_logical_axes_with_rules(method):
    teachers = distillation.Distillation("unread") if method.prompt_length else None
    model = Model(toy.model(method, distillation=teachers))
    shapes = jax.eval_shape(
        lambda key: model.get_initial_variables(
            rng=key, input_shapes={**toy.SHAPES, "task_ids": (2,)}, input_types=None
        ),
        jax.random.PRNGKey(0),
    )
    known = {name for name, _ in standard_logical_axis_rules()}
    axes = traverse_util.flatten_dict(shapes["params_axes"], sep="/")
    for path, leaf in traverse_util.flatten_dict(shapes["params"], sep="/").items():
        names = axes[f"{path}_axes"].names
        assert len(names) == leaf.ndim and {*names} <= known, path


def test_the_gradient_is_that_of_the_plain_loss():
    model = toy.model(config=toy.ONE_LAYER)
    key = jax.random.key(0)
    params = jax.jit(lambda key: model.get_initial_variables(key, toy.SHAPES)["params"])(key)
    params = initialize.start(model, params, key)
    batch = toy.batch([0, 2, 2, 1])
    rng = jax.random.PRNGKey(1)
    (expected, _), gradient = jax.jit(jax.value_and_grad(model.loss_fn, has_aux=True))(
        params, batch, rng
    )
    seen = Model(model, num_microbatches=2)
    value_and_grad = jax.jit(jax.value_and_grad(seen.loss_fn, has_aux=True))
    (loss, metrics), found = value_and_grad(core.freeze(params), batch, rng)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    np.testing.assert_array_equal(metrics["loss"].compute(), loss)
    by_task = {name for name in metrics if "/" in name}
    assert by_task == {f"{m}/{t}" for m in ("task_loss", "task_token_accuracy") for t in toy.TASKS}
    labels = model.param_labels(params)
    trained, rest = step_lib.split(core.unfreeze(found), labels)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7),
        trained,
        step_lib.split(gradient, labels)[0],
    )
    assert all(np.any(leaf) for leaf in jax.tree.leaves(trained))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(rest))


# ------------------------------------------------------------------ choosing the engine


def test_the_facade_has_our_signature_and_runs_our_engine(monkeypatch):
    assert inspect.signature(facade.train) == inspect.signature(Training)
    ran = engines.by_engine(Trainer, lambda settings: settings, "no module")
    assert ran(num_microbatches=3) == Trainer(num_microbatches=3)


def test_without_t5x_the_command_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert cli.main(["train", "--engine=t5x", "--gin_file=gin/mpt_source.gin"]) == 2
    assert (
        "--engine=t5x needs T5X, which is not installed: put the sources of"
        in capsys.readouterr().err
    )


def test_an_unknown_engine_is_refused(capsys):
    assert cli.main(["eval", "--engine=t5", "--gin_file=gin/mpt_eval.gin"]) == 2
    assert "invalid choice: 't5'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("import t5x.airio", r"t5x.train cannot be imported \(No module named 't5x.airio'\)"),
        ("", "lacks t5x.train.train: it is older or newer"),
        ("def train(*, model): ...", "lacks the argument 'train_dataset_cfg' of t5x.train.train"),
    ],
)
def test_a_t5x_of_another_version_says_what_is_missing(content, message, tmp_path, monkeypatch):
    (tmp_path / "t5x").mkdir()
    (tmp_path / "t5x" / "__init__.py").write_text("")
    (tmp_path / "t5x" / "train.py").write_text(content)
    for name in [name for name in sys.modules if name.split(".")[0] == "t5x"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        with pytest.raises(UserError, match=message):
            installed.check.__wrapped__()
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "t5x"]:
            del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "file", "expected"),
    [
        ("t5x.main", "", True),
        (None, "/some/where/t5x/main.py", True),
        ("t5x.train", "", True),
        ("mpt_jax.cli", "", False),
        (None, "/bin/t5x", False),
        (None, None, False),
    ],
)
def test_t5xs_own_programs_are_recognised(name, file, expected, monkeypatch):
    program = types.SimpleNamespace(
        __spec__=name and types.SimpleNamespace(name=name), __file__=file
    )
    monkeypatch.setitem(sys.modules, "__main__", program)
    assert engines.is_t5x_program() is expected
