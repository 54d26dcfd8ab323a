"""t5x convert: each direction gives the same bits, and nothing half-made stays behind."""

import itertools
import os

import golden_folders as golden
import numpy as np
import pytest
import safetensors.numpy

from mpt_jax import assets, cli
from mpt_jax.backbone import store
from mpt_jax.backbone.formats import backbones, vocabularies
from mpt_jax.byte_vocabulary import Bytes
from mpt_jax.convert import convert_backbones
from mpt_jax.errors import UserError

FORMATS = ("mpt_jax", "huggingface", "t5x")


@pytest.fixture(name="chain", scope="module", params=[*golden.VERSIONS, "byt5", "umt5", "ul2"])
def _chain(request, tmp_path_factory):
    """A golden folder, and what it becomes on the way through all directions."""
    folder, at = tmp_path_factory.mktemp("convert"), str(golden.folder_of(request.param))
    paths = [at]
    for i, to in enumerate(("mpt_jax", "huggingface", "t5x", "huggingface", "mpt_jax", "t5x")):
        target = str(folder / f"checkpoint_{i}")
        convert_backbones.convert(paths[-1], target, to)
        paths.append(target)
    paths.append(str(folder / "last"))
    convert_backbones.convert(paths[-2], paths[-1], "mpt_jax")
    return paths


def test_all_directions_keep_every_bit(chain):
    first, *others = (backbones.open_weights(path).tensors for path in chain)
    for other in others:
        assert other.keys() == first.keys()
        for name, tensor in other.items():
            np.testing.assert_array_equal(tensor.whole(), first[name].whole())


def test_all_directions_keep_the_sizes(chain):
    first, *others = (backbones.config_of(path) for path in chain)
    assert others == [first] * len(others)


def test_a_folder_that_needs_no_vocabulary_s_file_goes_on_saying_so(chain):
    kinds = {type(backbones.tokenizer_of(path)) for path in chain} if "byt5" in chain[0] else set()
    assert kinds <= {Bytes}
    assert not any(os.path.exists(f"{path}/{vocabularies.SETTINGS}") for path in chain) or kinds


def test_what_is_written_for_transformers(chain):
    """As in the golden folder; tests/golden/make_huggingface.py has shown that to load."""
    ours = safetensors.numpy.load_file(f"{chain[2]}/model.safetensors")
    theirs = {}
    for file in sorted(golden.pathlib.Path(chain[0]).glob("*.safetensors")):
        theirs |= safetensors.numpy.load_file(file)
    assert ours.keys() == theirs.keys()
    with safetensors.safe_open(f"{chain[2]}/model.safetensors", framework="np") as handle:
        assert handle.metadata()["format"] == "pt"


def test_bfloat16_and_the_vocabulary_go_along(tmp_path, capsys):
    mini, half = assets.path("mini"), str(tmp_path / "half")
    argv = ["convert", "mini", half, "--to=huggingface", "--dtype=bfloat16"]
    assert cli.main(argv) == 0
    assert capsys.readouterr().out == f"{half} {backbones.identify(mini).fingerprint}\n"
    assert backbones.vocabulary_of(half).sp_model == backbones.vocabulary_of(mini).sp_model
    one, other = (
        os.path.getsize(f"{half}/model.safetensors"),
        os.path.getsize(f"{mini}/{store.WEIGHTS}"),
    )
    assert abs(one - other) < 6000  # except for the names in the header
    os.unlink(f"{half}/{vocabularies.SETTINGS}")
    with pytest.raises(UserError, match="1060 ids"):
        backbones.vocabulary_of(half)


MT5 = str(golden.HUGGINGFACE / "mt5")
MISTAKES = {
    "no source": (["nowhere", "new", "--to=t5x"], "'nowhere' does not exist"),
    "no backbone": ([".", "new", "--to=mpt_jax"], "not a backbone folder"),
    "taken": ([MT5, "taken", "--to=mpt_jax"], "taken exists"),
    "a file": ([MT5, "taken/file", "--to=mpt_jax"], "taken/file exists"),
    "no step": ([MT5, "new", "--to=t5x"], "new/checkpoint_0"),
    "of prompts": ([MT5, "new", "--to=npy"], "is a backbone; --to=npy.*mpt_jax, huggingface, t5x"),
    "tasks": ([MT5, "new", "--to=mpt_jax", "--tasks=a"], "--tasks means nothing"),
    "no format": ([MT5, "new", "--to=onnx"], "onnx"),
    "below a file": ([MT5, "taken/file/new", "--to=mpt_jax"], "cannot write taken/file/new"),
}


@pytest.mark.parametrize(("argv", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_leaves_nothing_behind(tmp_path, monkeypatch, argv, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("mine")
    with pytest.raises(UserError, match=message):
        cli.run(["convert", *argv])
    assert [str(p.relative_to(tmp_path)) for p in sorted(tmp_path.rglob("*"))] == [
        "taken",
        "taken/file",
    ]


@pytest.mark.parametrize("to", FORMATS)
def test_a_source_that_breaks_midway_leaves_nothing_behind(tmp_path, monkeypatch, to):
    found = backbones.open_weights(MT5)
    calls = itertools.count()

    def read(_):
        raise UserError(f"broken at {next(calls)}")

    broken = {"token_embedder/embedding", *sorted(found.tensors)[-3:]}
    tensors = {
        name: golden.weights.Tensor(t.shape, t.dtype, read) if name in broken else t
        for name, t in found.tensors.items()
    }
    weights = golden.weights.Weights(found.place, tensors, found.stated)
    monkeypatch.setattr(backbones, "open_weights", lambda _: weights)
    with pytest.raises(UserError, match="broken at 0"):
        convert_backbones.convert(MT5, str(tmp_path / "checkpoint_0"), to)
    assert list(tmp_path.iterdir()) == []
