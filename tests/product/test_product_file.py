"""Prompt files: exact round trips; damaged or foreign files are refused with one message."""

import dataclasses
import json
import os
import pathlib

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpt_jax.errors import UserError
from mpt_jax.product import belonging, description, product_file
from mpt_jax.product.description import ProductInfo

INFO = ProductInfo(
    method="mpt",
    tasks=("nli", "qa"),
    length=3,
    width=4,
    rank=1,
    vocabulary_size=16,
    backbone="0123456789abcdef",
    feature_lengths={"inputs": 8, "targets": 2},
    label_words={"nli": ["yes", "no"]},
    input_forms={"nli": "premise: {premise}"},
    step=7,
    metrics={"nli": {"accuracy": 50.0}},
)


def _bank():
    rng = np.random.default_rng(0)
    return {
        "shared": rng.normal(size=(3, 4)).astype(np.float32),
        "task_u": rng.normal(size=(2, 3, 1)).astype(np.float32),
        "task_v": rng.normal(size=(2, 1, 4)).astype(np.float32),
    }


def test_round_trip_is_exact_by_file_and_by_folder(tmp_path):
    path = product_file.save(str(tmp_path), _bank(), INFO)
    for where in (path, str(tmp_path)):
        bank, info = product_file.load(where)
        assert info == INFO
        assert bank.keys() == _bank().keys()
        for name, leaf in _bank().items():
            np.testing.assert_array_equal(bank[name], leaf)


def test_the_json_next_to_it_says_the_same(tmp_path):
    product_file.save(str(tmp_path), _bank(), INFO)
    description = json.loads((tmp_path / "prompts.json").read_text())
    assert description["tasks"] == ["nli", "qa"] and description["step"] == 7
    assert sorted(os.listdir(tmp_path)) == ["prompts.json", "prompts.safetensors"]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_truncation_or_flipped_header_byte_is_a_user_error_or_the_true_bank(tmp_path, data):
    path = product_file.save(str(tmp_path), _bank(), INFO)
    whole = pathlib.Path(path).read_bytes()
    if data.draw(st.booleans()):
        damaged = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        at = data.draw(st.integers(0, 400))
        damaged = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    pathlib.Path(path).write_bytes(damaged)
    try:
        bank, _ = product_file.load(path)
    except UserError as error:
        assert "prompts.safetensors" in str(error)
    else:
        assert {name: leaf.shape for name, leaf in bank.items()} == {
            name: leaf.shape for name, leaf in _bank().items()
        }


def test_missing_file_names_the_path_and_the_remedy(tmp_path):
    with pytest.raises(UserError, match="nowhere.*folder of a finished run"):
        product_file.load(str(tmp_path / "nowhere"))


def test_the_description_of_a_prompt_file_is_refused(tmp_path):
    (tmp_path / "prompts.json").write_text("{}")
    with pytest.raises(UserError, match="prompts.json is the description of a prompt file"):
        product_file.load(str(tmp_path / "prompts.json"))


def test_a_safetensors_file_of_another_kind_is_refused(tmp_path):
    path = str(tmp_path / "model.safetensors")
    safetensors.numpy.save_file({"w": np.zeros((2, 2), np.float32)}, path)
    with pytest.raises(UserError, match="not a prompt file"):
        product_file.load(path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"width": 5}, "width"),
        ({"vocabulary_size": 17}, "vocabulary"),
        ({"backbone": "f" * 16}, "fingerprint"),
    ],
)
def test_another_backbone_is_refused(change, named):
    with pytest.raises(UserError, match=named):
        belonging.check_backbone("x", dataclasses.replace(INFO, **change), 4, 16, INFO.backbone)


def test_the_own_backbone_is_accepted():
    belonging.check_backbone("x", INFO, 4, 16, INFO.backbone)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feature_lengths": {"inputs": 8, "targets": 0}}, "feature_lengths.targets = 0; a length"),
        ({"feature_lengths": {"targets": 10**9}}, "feature_lengths.targets = 1000000000; a length"),
        ({"label_words": {"nli": ["yes", "x" * 10**5]}}, r"000 characters\) is not a text of at"),
    ],
)
def test_sizes_that_cannot_be_are_refused(change, message, tmp_path):
    path = product_file.save(str(tmp_path), _bank(), dataclasses.replace(INFO, **change))
    with pytest.raises(UserError, match=f"prompts.safetensors.*{message}"):
        product_file.load(path)


def test_metrics_are_numbers(tmp_path):
    info = dataclasses.replace(INFO, metrics={"nli": {"accuracy": "high"}})
    with pytest.raises(UserError, match="not a prompt file"):
        product_file.load(product_file.save(str(tmp_path), _bank(), info))


def test_a_bank_that_does_not_fit_its_description_is_refused(tmp_path):
    wrong = dataclasses.replace(INFO, tasks=("nli",))
    path = product_file.save(str(tmp_path), _bank(), wrong)
    with pytest.raises(UserError, match="task_u.*shape"):
        product_file.load(path)


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_values_that_are_not_finite_are_refused(tmp_path, value):
    bank = _bank()
    bank["task_v"][1, 0, 2] = value
    path = product_file.save(str(tmp_path), bank, INFO)
    with pytest.raises(UserError, match="not finite, in 'task_v'"):
        product_file.load(path)


def test_digits_that_bfloat16_rounds_away_tell_backbones_apart():
    info = dataclasses.replace(INFO, backbone_bits="a" * 16)
    sizes = (4, 16, INFO.backbone)
    for bits in ("", "a" * 16):  # a copy in bfloat16, the same
        belonging.check_backbone("x", info, *sizes, bits)
    belonging.check_backbone("x", INFO, *sizes, "b" * 16)  # trained on a copy in bfloat16
    with pytest.raises(UserError, match="differs from this one in digits"):
        belonging.check_backbone("x", info, *sizes, "b" * 16)


def test_a_file_from_before_checksums_is_read(tmp_path):
    path = tmp_path / "prompts.safetensors"
    safetensors.numpy.save_file(_bank(), path, metadata=description.header(INFO))
    assert product_file.load(str(path))[1] == INFO


def test_another_arithmetic_on_the_same_weights_is_refused_and_named():
    trained = {"layer_norm_epsilon": 1e-6, "mlp_activations": ["gelu", "linear"]}
    info = dataclasses.replace(INFO, arithmetic=trained)
    belonging.check_arithmetic("x", info, {**trained, "another": 1})
    belonging.check_arithmetic("x", INFO, trained)
    with pytest.raises(UserError, match="layer_norm_epsilon = 1e-06, this backbone has 1e-05"):
        belonging.check_arithmetic("x", info, {**trained, "layer_norm_epsilon": 1e-5})
