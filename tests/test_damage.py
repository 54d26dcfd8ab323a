"""Files that we write, with a bit flipped anywhere: refused, or the very same numbers."""

import dataclasses

import jax
import numpy as np
import pytest
import toy
import toy_start

from mpt_jax.backbone import fingerprints, store
from mpt_jax.backbone.formats import backbones, sizes
from mpt_jax.backbone.network import Transformer
from mpt_jax.convert import convert_backbones, convert_prompts
from mpt_jax.errors import UserError
from mpt_jax.product import product_file

FLIPS = 100  # of each kind
CONFIG = dataclasses.replace(toy.ONE_LAYER, vocab_size=64)
PROMPTED = dataclasses.replace(CONFIG, emb_dim=toy_start.WIDTH)
WORDS = {"a": ["good", "bad"], "b": ["true", "false"]}


def _prompts(path):
    bank, info = product_file.load(str(path))
    return {name: leaf.tobytes() for name, leaf in bank.items()}, info


def _foreign(path):
    bank, info = convert_prompts.read(str(path), None, "backbone")
    return {name: leaf.tobytes() for name, leaf in bank.items()}, info


def _backbone(path):
    weights = backbones.open_weights(str(path))
    config = sizes.config_of(weights)
    return {name: tensor.whole().tobytes() for name, tensor in weights.tensors.items()}, config


def _bank_file(folder):
    toy_start.write(folder, toy_start.factors(2), label_words=WORDS)
    return folder


def _adapter_file(folder):
    info = product_file.load(toy_start.write(folder / "any", toy_start.factors(2)))[1]
    tensors = {"adapter/encoder/down/bias": np.arange(6, dtype=np.float32)}
    product_file.save(str(folder / "run"), tensors, info, product_file.ADAPTER)
    return folder / "run"


def _peft(folder):
    convert_prompts.convert(str(_bank_file(folder / "ours")), str(folder / "peft"), "peft")
    return folder / "peft"


def _npy(folder):
    ours, path = str(_bank_file(folder / "ours")), folder / "npy" / "a.npy"
    convert_prompts.convert(ours, str(path), "npy", ["a"])
    return path


def _saved(folder):
    tokens = jax.ShapeDtypeStruct((1, 1), "int32")
    shapes = jax.eval_shape(Transformer(CONFIG).init, jax.random.key(0), tokens, tokens)["params"]
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)
    store.save(str(folder), params, CONFIG)
    return folder


def _converted(to):
    def write(folder):
        path = folder / "checkpoint_0"
        convert_backbones.convert(str(_saved(folder / "ours")), str(path), to)
        return path

    return write


KINDS = {
    "prompts": (_bank_file, _prompts),
    "adapter": (_adapter_file, _prompts),
    "peft": (_peft, _foreign),
    "npy": (_npy, _foreign),
    "backbone": (_saved, _backbone),
    "mpt_jax": (_converted("mpt_jax"), _backbone),
    "huggingface": (_converted("huggingface"), _backbone),
    "t5x": (_converted("t5x"), _backbone),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path, monkeypatch, kind):
    identity = fingerprints.Identity("0" * 16, "")
    monkeypatch.setattr(backbones, "identify", lambda path: identity)
    write, read = KINDS[kind]
    path = write(tmp_path)
    if read is _foreign:
        monkeypatch.setattr(backbones, "config_of", lambda path: PROMPTED)
    whole = read(path)
    folder = path if path.is_dir() else path.parent
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    rng, refused = np.random.default_rng(0), 0
    for number in range(FLIPS):
        file = files[number % len(files)]
        content = file.read_bytes()
        # The header is where most that can go wrong does.
        at = rng.integers(min(len(content), 1500 if number % 3 else len(content)))
        flipped = bytearray(content)
        flipped[at] ^= 1 << rng.integers(8)
        file.write_bytes(flipped)
        try:
            assert read(path) == whole, f"{file}, byte {at}"
        except UserError:
            refused += 1
        file.write_bytes(content)
    assert refused > FLIPS / 4
    assert read(path) == whole
