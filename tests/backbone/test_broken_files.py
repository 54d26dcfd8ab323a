"""Readers of backbones on files that were cut, flipped or forged: a message, or the weights."""

import contextlib
import json
import pathlib
import shutil

import golden_folders as golden
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpt_jax import assets
from mpt_jax.backbone.formats import backbones, sizes, vocabularies
from mpt_jax.errors import UserError

FEW = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
VERSION = "t5_v1_0"


def read(path) -> bool:
    """Whether every number of the backbone could be read; otherwise it was refused."""
    try:
        weights = backbones.open_weights(str(path))
        sizes.config_of(weights)
        for tensor in weights.tensors.values():
            tensor.whole()
    except UserError:
        return False
    return True


def _huggingface(folder):
    shutil.copytree(golden.HUGGINGFACE / VERSION, folder / "hf")
    return folder / "hf"


def _shards(folder):
    shutil.copytree(golden.HUGGINGFACE / "mt5", folder / "mt5")
    (folder / "mt5" / "logits.npz").unlink()
    return folder / "mt5"


def _legacy(folder):
    golden.save_legacy(folder / "checkpoint_0", golden.tree_of(VERSION), in_zarr="wo/kernel")
    return folder / "checkpoint_0"


def _orbax(folder):
    golden.save_orbax(folder, {"target": golden.tree_of(VERSION)})
    return folder


READERS = [_huggingface, _shards, _legacy, _orbax]


@pytest.fixture(name="backbone", scope="module", params=READERS)
def _backbone(request, tmp_path_factory):
    """(path of a whole backbone, its files)."""
    path = request.param(tmp_path_factory.mktemp("broken"))
    assert read(path)
    return path, sorted(p for p in path.rglob("*") if p.is_file())


@FEW
@given(data=st.data())
def test_a_cut_or_changed_file_is_refused_or_read(backbone, data):
    path, files = backbone
    file = data.draw(st.sampled_from(files))
    content = file.read_bytes()
    # Headers are at the start of a file, where most that can go wrong does.
    last = max(len(content) - 1, 0)
    at = data.draw(st.one_of(st.integers(0, min(400, last)), st.integers(0, last)))
    change = data.draw(st.sampled_from(["cut", "flip", "write"]))
    if change == "cut":
        broken = content[:at]
    elif change == "flip":
        bit = 1 << data.draw(st.integers(0, 7))
        broken = content[:at] + bytes([(content[at] if content else 0) ^ bit]) + content[at + 1 :]
    else:
        new = data.draw(st.binary(min_size=1, max_size=9))
        broken = content[:at] + new + content[at + len(new) :]
    try:
        file.write_bytes(broken)
        read(path)
    finally:
        file.write_bytes(content)


@FEW
@given(
    header=st.one_of(
        st.binary(max_size=40),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=4),
            lambda inner: st.dictionaries(st.text(max_size=5), inner, max_size=3),
            max_leaves=6,
        ).map(lambda value: json.dumps(value).encode()),
    ),
    length=st.one_of(st.none(), st.integers(0, 2**64 - 1)),
)
def test_a_forged_safetensors_header(tmp_path, header, length):
    size = len(header) if length is None else length
    (tmp_path / "model.safetensors").write_bytes(size.to_bytes(8, "little") + header)
    assert not read(tmp_path)


@FEW
@given(
    values=st.dictionaries(
        st.sampled_from(
            sorted(json.loads((golden.HUGGINGFACE / VERSION / "config.json").read_text()))
        ),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=9)
        | st.lists(st.integers(), max_size=2)
        | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
        min_size=1,
        max_size=4,
    )
)
def test_any_config_json(tmp_path, values):
    golden_folder = golden.HUGGINGFACE / VERSION
    shutil.copy(golden_folder / "model.safetensors", tmp_path)
    content = {**json.loads((golden_folder / "config.json").read_text()), **values}
    (tmp_path / "config.json").write_text(json.dumps(content))
    read(tmp_path)


@FEW
@given(
    shard=st.one_of(
        st.text(max_size=30), st.sampled_from(["..", "a\0.safetensors", "é.safetensors"])
    )
)
def test_any_name_of_a_shard(tmp_path, shard):
    index = {"weight_map": {"shared.weight": shard}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    config = golden.HUGGINGFACE / VERSION / "config.json"
    (tmp_path / "config.json").write_text(config.read_text())
    assert not read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe{}", b"7"])
def test_a_config_json_that_is_none(tmp_path, content):
    shutil.copy(golden.HUGGINGFACE / VERSION / "model.safetensors", tmp_path)
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=r"config\.json"):
        backbones.config_of(str(tmp_path))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80",  # an empty map
        b"\x81" * 100_000,  # nested for ever
        b"\xdf\xff\xff\xff\xff",  # a map of 2**32 - 1 entries
        b"\x81\xa6target\xc9\xff\xff\xff\xff\x01",  # an array of 4 GB
        b"\x81\xdb\xff\xff\xff\xff",  # a key of 4 GB
        b"\x81\xa6target\x91" + b"\x91" * 100_000,
    ],
)
def test_a_tree_that_is_none(tmp_path, content):
    (tmp_path / "checkpoint").write_bytes(content)
    with pytest.raises(UserError, match="checkpoint"):
        backbones.open_weights(str(tmp_path))


@FEW
@given(at=st.integers(0, 3000), new=st.binary(max_size=30))
def test_a_changed_vocabulary(tmp_path, at, new):
    content = pathlib.Path(assets.path("mini/spiece.model")).read_bytes()
    file = tmp_path / "spiece.model"
    file.write_bytes(content[:at] + new + content[at + len(new) : 5000])
    with contextlib.suppress(UserError):
        vocabularies.extra_ids_of(str(file))
