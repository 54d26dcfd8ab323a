"""Prompts are told from backbones by their files, and go from each format into each other."""

import dataclasses
import json

import foreign_prompts
import numpy as np
import pytest
import safetensors.numpy
import toy
import toy_start

from mpt_jax.convert.convert_prompts import convert, format_of
from mpt_jax.errors import UserError
from mpt_jax.product import product_file
from mpt_jax.product.formats import peft

LEAVES = foreign_prompts.leaves()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    foreign_prompts.answer_at_once(monkeypatch)


@pytest.fixture(name="ours")
def _ours(tmp_path):
    """A prompt file of two tasks on the toy backbone."""
    info = product_file.load(toy_start.write(tmp_path / "any", toy_start.factors()))[1]
    info = dataclasses.replace(
        info,
        tasks=("rte", "wic"),
        length=3,
        width=16,
        vocabulary_size=384,
        backbone=foreign_prompts.FINGERPRINT,
        label_words={"rte": ["yes"], "wic": ["true"]},
        metrics={"rte": {"accuracy": 1.0}, "mean": {"key_metric": 1.0}},
    )
    product_file.save(str(tmp_path / "run"), LEAVES, info)
    return str(tmp_path / "run")


def test_prompts_are_told_from_backbones(ours, tmp_path):
    np.save(tmp_path / "p.npy", LEAVES["shared"])
    (tmp_path / "p.npy").rename(tmp_path / "encoder.prompt.prompt.prompt")
    (tmp_path / "prompt.pt").touch()
    adapter = foreign_prompts.adapter(tmp_path / "adapter")
    for path, found in (
        (ours, "mpt_jax"),
        (f"{ours}/prompts.safetensors", "mpt_jax"),
        (adapter, "peft"),
        (f"{adapter}/{peft.WEIGHTS}", "peft"),
        (f"{tmp_path}/encoder.prompt.prompt.prompt", "npy"),
        (f"{tmp_path}/prompt.pt", "npy"),
        ("gs://bucket/run/prompts.safetensors", "mpt_jax"),
    ):
        assert format_of(path) == found
    full = dataclasses.replace(product_file.load(ours)[1], method="full")
    product_file.save(str(tmp_path / "full/backbone"), LEAVES, full, "model.safetensors")
    safetensors.numpy.save_file(LEAVES, tmp_path / "weights.safetensors")
    for name in ("model.safetensors.index.json", "pytorch_model.bin", "checkpoint"):
        (tmp_path / name).write_text("{}")
    backbones = ("full", "full/backbone", "full/backbone/model.safetensors", "weights.safetensors")
    others = ("model.safetensors.index.json", "pytorch_model.bin", "checkpoint", "nowhere", ".")
    for name in (*backbones, *others):
        assert format_of(str(tmp_path / name)) is None, name
    assert format_of("gs://t5-data/pretrained_models/t5x/t5_base/checkpoint_999900") is None


def test_each_format_into_each(ours, tmp_path):
    convert(ours, f"{tmp_path}/adapter", "peft")
    convert(f"{tmp_path}/adapter", f"{tmp_path}/back", "mpt_jax", backbone="b")
    one, other = (product_file.load(path) for path in (ours, f"{tmp_path}/back"))
    assert dataclasses.replace(one[1], arithmetic=toy.CONFIG.arithmetic) == other[1]
    for name, leaf in LEAVES.items():
        assert other[0][name].tobytes() == leaf.tobytes()

    convert(ours, f"{tmp_path}/wic.npy", "npy", ["wic"])
    convert(f"{tmp_path}/wic.npy", f"{tmp_path}/wic.safetensors", "mpt_jax", ["wic"], "b")
    bank, info = product_file.load(f"{tmp_path}/wic.safetensors")
    wanted = LEAVES["shared"] * (LEAVES["task_u"][1] @ LEAVES["task_v"][1])
    np.testing.assert_array_equal(bank["task_prompts"][0], wanted)
    assert info.tasks == ("wic",) and (tmp_path / "wic.json").exists()
    convert(f"{tmp_path}/wic.npy", f"{tmp_path}/wic", "peft", backbone="b")
    convert(f"{tmp_path}/wic", f"{tmp_path}/again.npy", "npy", backbone="b")
    assert (tmp_path / "again.npy").read_bytes() == (tmp_path / "wic.npy").read_bytes()


def test_tasks_choose_among_ours_with_what_is_told_of_them(ours, tmp_path):
    convert(ours, f"{tmp_path}/wic", "mpt_jax", ["wic"], backbone="b")
    bank, info = product_file.load(f"{tmp_path}/wic")
    np.testing.assert_array_equal(bank["task_u"], LEAVES["task_u"][1:])
    assert (info.tasks, info.label_words, info.metrics) == (("wic",), {"wic": ["true"]}, {})
    assert json.loads((tmp_path / "wic/prompts.json").read_text())["tasks"] == ["wic"]
    with pytest.raises(UserError, match="'wik' is not in.*rte, wic.*'wic'"):
        convert(ours, f"{tmp_path}/x", "peft", ["wik"])
    with pytest.raises(UserError, match="named twice"):
        convert(ours, f"{tmp_path}/x", "peft", ["wic", "wic"])


def test_what_is_missing_or_does_not_fit_is_said(ours, tmp_path, monkeypatch):
    (tmp_path / "prompt.ckpt").touch()
    adapter = foreign_prompts.adapter(tmp_path / "adapter")
    for arguments, message in (
        ((adapter, "x", "mpt_jax"), "--backbone=PATH"),
        ((ours, "x", "huggingface"), "--to=mpt_jax, peft, npy"),
        ((ours, "x", "npy", ["rte"]), "call it x.npy"),
        ((ours, "x.npy", "npy"), "--tasks=NAME"),
        ((f"{tmp_path}/nowhere", "x", "peft"), "holds no prompts"),
        ((f"{tmp_path}/prompt.ckpt", "x", "mpt_jax", ["a"], "b"), "pickle.*save_file.*numpy.save"),
    ):
        with pytest.raises(UserError, match=message):
            convert(*arguments)
    monkeypatch.setattr("mpt_jax.backbone.formats.backbones.identify", lambda path: ("f" * 16, ""))
    with pytest.raises(UserError, match="fingerprint"):
        convert(ours, "x", "peft", backbone="b")


def test_the_product_of_another_method_is_refused(tmp_path):
    info = product_file.load(toy_start.write(tmp_path / "any", toy_start.factors()))[1]
    info = dataclasses.replace(info, method="adapter", length=0, rank=0)
    weights = {"adapter/encoder/down/kernel": LEAVES["shared"]}
    product_file.save(str(tmp_path), weights, info, product_file.ADAPTER)
    with pytest.raises(UserError, match="'adapter', which tunes no prompts"):
        convert(str(tmp_path), "x", "peft")


def test_a_place_that_cannot_be_written_is_said(ours, tmp_path):
    (tmp_path / "file").touch()
    for name, to in (("file/x", "mpt_jax"), ("file/x", "peft"), ("file/x.npy", "npy")):
        with pytest.raises(UserError, match="cannot write.*(choose|name) another place.$"):
            convert(ours, f"{tmp_path}/{name}", to, ["rte"])
