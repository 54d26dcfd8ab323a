"""PEFT's LoRA and (IA)³: its logits and texts, exact round trips, what is refused."""

import json
import shutil

import jax
import jax.numpy as jnp
import module_golden
import numpy as np
import pytest
import safetensors.numpy
import seqio
import t5_golden

from mpt_jax.errors import UserError
from mpt_jax.methods.restored import Restored
from mpt_jax.models import EncoderDecoderModel
from mpt_jax.product import product_file
from mpt_jax.product import tasks as bank_tasks
from mpt_jax.product.formats import peft

kinds = pytest.mark.parametrize("kind", module_golden.VERSIONS)


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory):
    return tmp_path_factory.mktemp("backbones")


def _read(folder, kind, tasks=("x",)):
    backbone = module_golden.backbone(folder, kind)
    return peft.read(str(module_golden.FOLDER / kind), tasks, backbone)


@kinds
def test_logits_and_texts_are_those_of_peft(folder, tmp_path, kind):
    """In a bank where it is one of two tasks, on a batch that mixes them."""
    bank, info = _read(folder, kind)
    assert (info.tasks, info.method, info.length) == (("x",), kind.split("_")[0], 0)
    other = {name: leaf * 0.5 for name, leaf in bank.items()}
    parts = [("other", other, _read(folder, kind, ("y",))[1]), ("this", bank, info)]
    joined, both = bank_tasks.join(parts)
    product_file.save(str(tmp_path), joined, both, product_file.ADAPTER)

    version, expected = module_golden.VERSIONS[kind], module_golden.outputs()
    vocabulary = seqio.ByteVocabulary()
    method = Restored(str(tmp_path))
    config = t5_golden.CONFIGS[version]
    model = EncoderDecoderModel(config, method, both.tasks, vocabulary, vocabulary)
    tree = {name: jnp.asarray(leaf) for name, leaf in joined.items()}
    params = {**t5_golden.load(version).params, **_nested(tree)}
    rows = len(expected["encoder_input_tokens"])
    twice = {n: np.repeat(expected[n], 2, axis=0) for n in ("encoder_input_tokens",)}
    inputs = np.repeat(expected["decoder_input_tokens"], 2, axis=0)
    batch = {**twice, "decoder_input_tokens": inputs, "task_ids": np.array([1, 0] * rows, np.int32)}
    logits = np.asarray(jax.jit(model.logits_batch)(params, batch))
    module_golden.check_logits(kind, logits[::2])
    assert np.abs(logits[1::2] - expected[f"{kind}/logits"]).max() > 0.1

    longer = np.zeros((2 * rows, t5_golden.MAX_DECODE_LENGTH), np.int32)
    found = jax.jit(model.predict_batch)(params, {**batch, "decoder_input_tokens": longer})
    np.testing.assert_array_equal(found[::2], expected[f"{kind}/greedy"])


def _nested(flat):
    tree = {}
    for name, leaf in flat.items():
        *path, last = name.split("/")
        at = tree
        for part in path:
            at = at.setdefault(part, {})
        at[last] = leaf
    return tree


@kinds
def test_out_and_in_again_bit_by_bit(folder, tmp_path, kind):
    bank, info = _read(folder, kind)
    peft.write(str(tmp_path / "out"), bank, info)
    theirs, ours = (
        safetensors.numpy.load_file(place / peft.WEIGHTS)
        for place in (module_golden.FOLDER / kind, tmp_path / "out")
    )
    assert theirs.keys() == ours.keys()
    for name, tensor in theirs.items():
        np.testing.assert_array_equal(ours[name], tensor, err_msg=name)
    config, wanted = (
        json.loads((place / peft.CONFIG).read_text())
        for place in (tmp_path / "out", module_golden.FOLDER / kind)
    )
    assert sorted(config["target_modules"]) == sorted(wanted["target_modules"])
    same = {"peft_type", "task_type", "bias", "r", "feedforward_modules"} & wanted.keys()
    assert {name: config[name] for name in same} == {name: wanted[name] for name in same}
    if kind == "lora":
        assert (config["r"], config["lora_alpha"]) == (3, 5)
    again, told = peft.read(str(tmp_path / "out"), None, module_golden.backbone(folder, kind))
    assert told == info
    assert all(np.array_equal(again[name], leaf) for name, leaf in bank.items())


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("lora", {"bias": "all"}, "bias = 'all', which is not read: only plain LoRA"),
        ("lora", {"use_dora": True}, "use_dora = True.*merge_and_unload"),
        ("lora", {"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ("lora", {"alpha_pattern": {"q": 3}}, "alpha_pattern"),
        ("lora", {"init_lora_weights": "pissa"}, "init_lora_weights = 'pissa'"),
        ("lora", {"r": 4}, "rank 3 for .*its configuration r = 4"),
        ("lora", {"lora_alpha": None}, "lora_alpha = None: it is damaged"),
        ("lora", {"task_type": "CAUSAL_LM"}, "task_type 'CAUSAL_LM'"),
        ("ia3", {"peft_type": "LOHA"}, "kind 'LOHA'"),
        ("ia3", {"modules_to_save": ["x"]}, "modules_to_save"),
    ],
)
def test_what_cannot_be_carried_is_named(folder, tmp_path, kind, fields, message):
    place = tmp_path / "adapter"
    shutil.copytree(module_golden.FOLDER / kind, place)
    config = json.loads((place / peft.CONFIG).read_text())
    (place / peft.CONFIG).write_text(json.dumps(config | fields))
    with pytest.raises(UserError, match=message):
        peft.read(str(place), ("x",), module_golden.backbone(folder, kind))


def _renamed(tensors, old, new):
    return {name.replace(old, new): tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: _renamed(t, "SelfAttention.q", "SelfAttention.x"), "extra tensor .*x.lora_A"),
        (lambda t: {"base_model.model.lm_head.lora_A.weight": next(iter(t.values()))}, "only the"),
        (lambda t: _renamed(t, "block.1", "block.7"), "block.7.* the backbone .* has not"),
        (lambda t: {n: x for n, x in t.items() if "lora_B" not in n}, "no A and B of one rank"),
        (lambda t: {n: x[:, :5] for n, x in t.items()}, "does not fit a projection from 16 to 16"),
        (lambda t: {}, "adapts nothing"),
    ],
)
def test_tensors_that_do_not_fit_are_named(folder, tmp_path, change, message):
    place = tmp_path / "adapter"
    shutil.copytree(module_golden.FOLDER / "lora", place)
    tensors = change(safetensors.numpy.load_file(place / peft.WEIGHTS))
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    safetensors.numpy.save_file(tensors, place / peft.WEIGHTS)
    with pytest.raises(UserError, match=message):
        peft.read(str(place), ("x",), module_golden.backbone(folder, "lora"))


def test_what_peft_cannot_hold_is_said(folder, tmp_path):
    bank, info = _read(folder, "lora")
    parts = [("one", bank, info), ("two", bank, _read(folder, "lora", ("y",))[1])]
    with pytest.raises(UserError, match="holds 2: choose one with --tasks=NAME"):
        peft.write(str(tmp_path / "out"), *bank_tasks.join(parts))
    name = next(name for name in bank if name.endswith("lora_scale"))
    with pytest.raises(UserError, match="scales or places.*differ.*--to=mpt_jax"):
        peft.write(str(tmp_path / "out"), {**bank, name: np.ones(1, np.float32)}, info)
    assert not (tmp_path / "out").exists()
