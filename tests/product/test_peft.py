"""PEFT's adapters: the same prompts, logits and texts as PEFT's own, and exact round trips."""

import dataclasses
import json
import pathlib

import foreign_prompts
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import t5_golden
import toy
import toy_start

from mpt_jax import prompts
from mpt_jax.backbone import decoding, network, store
from mpt_jax.errors import UserError
from mpt_jax.product import product_file
from mpt_jax.product.formats import peft

GOLDEN = pathlib.Path(t5_golden.__file__).parents[1] / "golden" / "peft"
KINDS = ("multitask_rank_1", "multitask_rank_2", "prompt_tuning")
DEFAULT = "multitask_default"  # with a second prompt, for the decoder
NAMES = ("x", "y", "z")
kinds = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(name="at_once")
def _at_once(monkeypatch):
    foreign_prompts.answer_at_once(monkeypatch)


@pytest.fixture(name="t5", scope="module")
def _t5():
    return t5_golden.load("v1_1")


@pytest.fixture(name="expected", scope="module")
def _expected():
    with np.load(GOLDEN / "outputs.npz", allow_pickle=False) as stored:
        return dict(stored)


@pytest.fixture(name="imported", scope="module")
def _imported(t5, tmp_path_factory):
    """Kind -> bank and description."""
    folder = str(tmp_path_factory.mktemp("backbone"))
    store.save(folder, t5.params, t5.module.config)
    return {
        kind: peft.read(str(GOLDEN / kind), NAMES[:1] if kind == KINDS[-1] else NAMES, folder)
        for kind in (*KINDS, DEFAULT)
    }


def _composed(imported, kind, task_ids):
    task_ids = task_ids if kind.startswith("multitask") else np.zeros_like(task_ids)
    return prompts.compose(imported[kind][0], jnp.asarray(task_ids))


@pytest.mark.parametrize("kind", [*KINDS, DEFAULT])
def test_composed_prompts_are_those_of_peft(imported, expected, kind):
    wanted = expected[f"{kind}/prompts"]
    found = _composed(imported, kind, np.arange(len(wanted)))
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


@kinds
def test_logits_are_those_of_peft(imported, expected, t5, kind):
    prompt = _composed(imported, kind, expected["task_ids"])
    tokens, inputs = expected["encoder_input_tokens"], expected["decoder_input_tokens"]
    np.testing.assert_allclose(
        t5.logits(tokens, inputs, prompt), expected[f"{kind}/logits"], rtol=1e-4, atol=1e-4
    )


def test_texts_are_those_of_peft_also_where_it_trained_a_second_prompt(imported, expected, t5):
    tokens = expected["encoder_input_tokens"]
    length = t5_golden.MAX_DECODE_LENGTH

    @jax.jit
    def generate(encoded, valid):
        return decoding.generate(t5.module, t5.params, encoded, valid, max_decode_length=length)[0]

    for kind in imported:
        prompt = _composed(imported, kind, expected["task_ids"])
        found = generate(t5.encode(tokens, prompt), network.encoder_valid(tokens, prompt))
        np.testing.assert_array_equal(found, expected[f"{kind}/greedy"], err_msg=kind)


def test_what_is_left_out_of_a_second_prompt_is_said(at_once, tmp_path, capsys):
    doubled = {"num_virtual_tokens": 1, "num_transformer_submodules": None}
    folder = foreign_prompts.adapter(tmp_path / "adapter", **doubled, drop=("prompt_embeddings",))
    tensors = safetensors.numpy.load_file(tmp_path / "adapter" / peft.WEIGHTS)
    tensors["prompt_embeddings"] = np.ones((2, foreign_prompts.WIDTH), np.float32)
    tensors["prefix_task_cols"] = np.ones((2, 2, 1), np.float32)
    safetensors.numpy.save_file(tensors, tmp_path / "adapter" / peft.WEIGHTS)
    bank, info = peft.read(folder, None, foreign_prompts.BACKBONE)
    assert info.length == 1 and bank["shared"].shape[0] == bank["task_u"].shape[1] == 1
    assert "decoder's prompt" in capsys.readouterr().err


@kinds
def test_the_description_is_of_the_backbone(imported, t5, kind):
    bank, info = imported[kind]
    assert info.backbone == store.identify(t5.params).fingerprint
    assert (info.length, info.width, info.vocabulary_size) == (4, 16, 60)
    assert info.tasks == (NAMES if "task_u" in bank else NAMES[:1])
    assert info.rank == (int(kind[-1]) if "task_u" in bank else 0)
    assert info.method == ("mpt" if "task_u" in bank else "prompt_tuning")


@kinds
def test_an_export_has_the_tensors_and_the_configuration_of_peft(imported, tmp_path, kind):
    peft.write(str(tmp_path), *imported[kind])
    folders = (GOLDEN / kind, tmp_path)
    theirs, ours = (safetensors.numpy.load_file(f / peft.WEIGHTS) for f in folders)
    assert theirs.keys() == ours.keys()
    for name in theirs:
        assert theirs[name].tobytes() == ours[name].tobytes()
    theirs, ours = (json.loads((f / peft.CONFIG).read_text()) for f in folders)
    assert ours.items() <= theirs.items()
    with safetensors.safe_open(tmp_path / peft.WEIGHTS, framework="np") as handle:
        assert handle.metadata()["format"] == "pt"  # without it transformers refuses a file


@kinds
def test_round_trips_keep_every_bit_and_the_description(imported, at_once, tmp_path, kind):
    bank, info = imported[kind]
    words = {task: ["yes", "no"] for task in info.tasks}
    info = dataclasses.replace(info, label_words=words, step=9, feature_lengths={"inputs": 8})
    peft.write(str(tmp_path), bank, info)
    again, described = peft.read(str(tmp_path), None, foreign_prompts.BACKBONE)
    own = {"backbone": foreign_prompts.FINGERPRINT, "vocabulary_size": 384, "backbone_bits": ""}
    own["arithmetic"] = toy.CONFIG.arithmetic
    assert described == dataclasses.replace(info, **own)
    assert again.keys() == bank.keys()
    for name, leaf in bank.items():
        assert again[name].tobytes() == leaf.tobytes()


def test_tasks_without_names_are_numbered(at_once, tmp_path):
    folder = foreign_prompts.adapter(tmp_path / "adapter")
    assert peft.read(folder, None, foreign_prompts.BACKBONE)[1].tasks == ("task_0", "task_1")


def test_half_precision_is_read_as_it_is(at_once, tmp_path):
    for dtype in (np.float16, ml_dtypes.bfloat16):
        folder = foreign_prompts.adapter(tmp_path / "adapter", dtype=dtype)
        bank, _ = peft.read(f"{folder}/{peft.WEIGHTS}", None, foreign_prompts.BACKBONE)
        for name, leaf in foreign_prompts.leaves().items():
            np.testing.assert_array_equal(bank[name], leaf.astype(dtype).astype(np.float32))


def test_one_prompt_shared_by_all_tasks_is_prompt_tuning_to_peft(at_once, tmp_path):
    info = product_file.load(toy_start.write(tmp_path, toy_start.factors()))[1]
    shared = foreign_prompts.leaves()["shared"]
    info = dataclasses.replace(info, length=len(shared), width=shared.shape[1], rank=0)
    peft.write(str(tmp_path / "adapter"), {"shared": shared}, info)
    bank, _ = peft.read(str(tmp_path / "adapter"), ["all"], foreign_prompts.BACKBONE)
    np.testing.assert_array_equal(bank["task_prompts"], shared[None])


@pytest.mark.parametrize(
    ("bank", "message"),
    [
        ({"task_prompts": np.ones((3, 4, 6), np.float32)}, "holds 3.*--tasks=NAME"),
        ({"task_prompts": np.ones((3, 4, 6)), "attention_up": np.ones(1)}, "more than prompts"),
        ({"adapter/down/kernel": np.ones(1)}, "more than prompts"),
    ],
)
def test_what_peft_cannot_hold_is_refused(tmp_path, bank, message):
    info = product_file.load(toy_start.write(tmp_path, toy_start.factors()))[1]
    with pytest.raises(UserError, match=message):
        peft.write(str(tmp_path / "adapter"), bank, info)
    assert not (tmp_path / "adapter").exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"peft_type": "LOHA"}, "of the kind 'LOHA'"),
        ({"peft_type": ["LOHA"]}, "of the kind"),
        ({"task_type": "CAUSAL_LM"}, "task_type 'CAUSAL_LM'"),
        ({"num_virtual_tokens": 4}, "'prompt_embeddings' has the shape"),
        ({"num_tasks": 3}, "'prefix_task_cols' has the shape"),
        ({"num_ranks": 2}, "'prefix_task_cols' has the shape"),
        ({"token_dim": 17}, "'prompt_embeddings' has the shape"),
        ({"num_virtual_tokens": "3"}, "num_virtual_tokens"),
        ({"num_transformer_submodules": 3}, "num_transformer_submodules"),
        ({"drop": ("num_virtual_tokens",)}, "num_virtual_tokens"),
        ({"drop": ("prefix_task_rows",)}, "lacks the tensor 'prefix_task_rows'"),
        ({"peft_type": "PROMPT_TUNING"}, "extra tensor 'prefix_task_cols'"),
        ({"dtype": np.float64}, "F64.*float32"),
    ],
)
def test_adapters_that_do_not_fit_are_refused(at_once, tmp_path, fields, message):
    folder = foreign_prompts.adapter(tmp_path / "adapter", **fields)
    with pytest.raises(UserError, match=message):
        peft.read(folder, None, foreign_prompts.BACKBONE)


def test_other_names_than_tasks_and_another_width_are_refused(at_once, monkeypatch, tmp_path):
    folder = foreign_prompts.adapter(tmp_path / "adapter")
    with pytest.raises(UserError, match="of 2 tasks, and --tasks names 1"):
        peft.read(folder, ["a"], foreign_prompts.BACKBONE)
    with pytest.raises(UserError, match="'../a' is not a task name"):
        peft.read(folder, ["../a", "b"], foreign_prompts.BACKBONE)
    wide = dataclasses.replace(t5_golden.CONFIGS["v1_1"], emb_dim=32)
    monkeypatch.setattr("mpt_jax.backbone.formats.backbones.config_of", lambda path: wide)
    with pytest.raises(UserError, match="width 16, the backbone backbone has 32"):
        peft.read(folder, None, foreign_prompts.BACKBONE)


def test_a_pickle_is_refused_with_the_way_out(at_once, tmp_path):
    folder = foreign_prompts.adapter(tmp_path / "adapter")
    (tmp_path / "adapter" / peft.WEIGHTS).rename(tmp_path / "adapter" / "adapter_model.bin")
    with pytest.raises(UserError, match="pickle.*weights_only=True.*save_file"):
        peft.read(folder, None, foreign_prompts.BACKBONE)
