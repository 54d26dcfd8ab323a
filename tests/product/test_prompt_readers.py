"""Damaged and hostile prompt files: one message or the numbers that were written, nothing else."""

import json
import pathlib
import shutil

import foreign_prompts
import numpy as np
import pytest
import safetensors.numpy
import toy_start
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpt_jax.convert import convert_prompts
from mpt_jax.errors import UserError
from mpt_jax.product import product_file
from mpt_jax.product.formats import npy, peft

QUICK = settings(
    max_examples=60,
    deadline=10_000,  # no hang, also on a busy machine
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
DAMAGE = st.one_of(
    st.tuples(st.just("cut"), st.integers(0, 4000), st.just(0)),
    st.tuples(st.just("flip"), st.integers(0, 4000), st.integers(1, 255)),
    st.tuples(st.just("size"), st.integers(0, 7), st.integers(1, 255)),  # of a giant header
)
LEAVES = foreign_prompts.leaves()


def _damaged(whole: bytes, damage: tuple[str, int, int]) -> bytes:
    kind, at, change = damage
    at %= len(whole)
    if kind == "cut":
        return whole[:at]
    return whole[:at] + bytes([whole[at] ^ change]) + whole[at + 1 :]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    foreign_prompts.answer_at_once(monkeypatch)


@pytest.fixture(name="files", scope="module")
def _files(tmp_path_factory):
    """Format -> (the folder, the file in it that is damaged, how it is read)."""
    folder = tmp_path_factory.mktemp("prompts")
    ours = toy_start.write(folder / "ours", toy_start.factors(), tasks=("a", "b", "c"))
    adapter = pathlib.Path(foreign_prompts.adapter(folder / "adapter"))
    np.save(folder / "p.npy", LEAVES["shared"])
    return {
        "ours": (pathlib.Path(ours), product_file.load),
        "weights": (adapter / peft.WEIGHTS, _read_peft),
        "config": (adapter / peft.CONFIG, _read_peft),
        "npy": (folder / "p.npy", lambda path: npy.read(path, "a", foreign_prompts.BACKBONE)),
    }


def _read_peft(path):
    return peft.read(path, None, foreign_prompts.BACKBONE)


@pytest.mark.parametrize("format_", ["ours", "weights", "config", "npy"])
@QUICK
@given(damage=DAMAGE)
def test_damage_is_a_message_or_numbers_of_the_right_shape(files, format_, damage):
    file, read = files[format_]
    whole = file.read_bytes()
    try:
        file.write_bytes(_damaged(whole, damage))
        convert_prompts.format_of(str(file))
        bank, info = read(str(file))
    except UserError as error:
        assert "\n" not in str(error) and str(file.parent) in str(error)
    else:
        assert all(leaf.dtype == np.float32 for leaf in bank.values())
        assert len(info.tasks) <= 3 and all("/" not in task for task in info.tasks)
    finally:
        file.write_bytes(whole)


VALUES = st.sampled_from(
    [None, True, -1, 2.5, float("nan"), 10**30, "", "x", "\ud800", [], [1], ["a", "a", "b"]]
    + [["../a", "b", "c"], ["x", "y", "z"], [["a", {}]], {}, {"a": 1}, {"a": "b"}, {"a": ["b"]}]
    + [{"a": [None]}, {"a": {"b": 1}}, {"a": None}]
)


@QUICK
@given(data=st.data())
def test_any_value_of_any_field_is_a_message_or_fits(files, data):
    file, read = files["ours"]
    whole = file.read_bytes()
    tensors = safetensors.numpy.load(whole)
    with safetensors.safe_open(file, framework="np") as handle:
        description = json.loads(handle.metadata()["mpt_jax"])
    field = data.draw(st.sampled_from(sorted(description)))
    description[field] = data.draw(VALUES)
    text = data.draw(
        st.sampled_from([json.dumps(description), "[" * 5000, '{"tasks": 1' + "0" * 5000])
    )
    try:
        file.write_bytes(safetensors.numpy.save(tensors, metadata={"mpt_jax": text}))
        _, info = read(str(file))
    except UserError as error:
        assert str(file) in str(error)
    else:
        assert len(info.tasks) == 3 and type(info.step) is int
        dict(info.metrics), dict(info.label_words), dict(info.input_forms)
    finally:
        file.write_bytes(whole)


@QUICK
@given(
    field=st.sampled_from(
        ["peft_type", "task_type", "num_virtual_tokens", "num_tasks", "num_ranks", "token_dim"]
        + ["num_transformer_submodules", "base_model_name_or_path"]
    ),
    value=VALUES,
)
def test_any_configuration_of_an_adapter_is_a_message_or_fits(files, field, value):
    file, read = files["config"]
    whole = file.read_bytes()
    try:
        file.write_text(json.dumps({**json.loads(whole), field: value}))
        bank, _ = read(str(file))
    except UserError as error:
        assert str(file.parent) in str(error)
    else:
        np.testing.assert_array_equal(bank["shared"], LEAVES["shared"])
    finally:
        file.write_bytes(whole)


@QUICK
@given(
    shape=st.tuples(*[st.integers(1, 4)] * 3),
    rank=st.integers(0, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_round_trips_are_exact(tmp_path, monkeypatch, shape, rank, seed):
    """Our file -> PEFT -> our file, of any sizes and any finite bits."""
    tasks, length, width = shape
    tasks = tasks if rank else 1
    bits = np.random.default_rng(seed)

    def leaf(*sizes):
        numbers = bits.integers(0, 2**32, size=sizes, dtype=np.uint32).view(np.float32)
        return np.where(np.isfinite(numbers), numbers, np.float32(-0.0))

    bank = {"task_prompts": leaf(1, length, width)}
    if rank:
        bank = {
            "shared": leaf(length, width),
            "task_u": leaf(tasks, length, rank),
            "task_v": leaf(tasks, rank, width),
        }
    sizes = {"emb_dim": width, "vocab_size": toy_start.SIZE + 8, "arithmetic": {}}
    config = type("Config", (), sizes)
    for name in ("adapter", "back"):  # of the last example
        shutil.rmtree(tmp_path / name, ignore_errors=True)
    monkeypatch.setattr("mpt_jax.backbone.formats.backbones.config_of", lambda path: config)
    ours = toy_start.write(
        tmp_path / "ours",
        bank,
        width=width,
        backbone=foreign_prompts.FINGERPRINT,
        method="mpt" if rank else "prompt_tuning",
    )
    convert_prompts.convert(ours, str(tmp_path / "adapter"), "peft")
    convert_prompts.convert(
        str(tmp_path / "adapter"), str(tmp_path / "back"), "mpt_jax", backbone="b"
    )
    assert (tmp_path / "back/prompts.safetensors").read_bytes() == pathlib.Path(ours).read_bytes()
    if not rank:
        convert_prompts.convert(ours, str(tmp_path / "p.npy"), "npy")
        again, _ = npy.read(str(tmp_path / "p.npy"), "a", foreign_prompts.BACKBONE)
        assert again["task_prompts"].tobytes() == bank["task_prompts"].tobytes()


def test_a_file_in_place_of_a_folder_and_back(tmp_path):
    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / peft.CONFIG).mkdir()
    for read in (npy.read, peft.read):
        for name in ("folder.npy", "adapter", "nowhere"):
            with pytest.raises(UserError, match=f"(not a NumPy file|no adapter).*|.*{name}"):
                read(str(tmp_path / name), "a", foreign_prompts.BACKBONE)
