"""Folders whose tokenizer files, as transformers writes them, add tokens to the vocabulary."""

import json
import shutil

import pytest

from mpt_jax import assets
from mpt_jax.backbone.formats import backbones
from mpt_jax.convert import convert_backbones
from mpt_jax.errors import UserError

SPECIAL = {0: "<pad>", 1: "</s>", 2: "<unk>"}
SENTINELS = {991 - i: f"<extra_id_{i}>" for i in range(32)}  # the highest id is the first


def as_files(tokens):
    """The three ways in which transformers has written the same tokens."""
    ordered = [{"id": i, "content": text, "special": True} for i, text in tokens.items()]
    settings = {
        "extra_ids": 32,
        "additional_special_tokens": list(tokens.values()),
        "added_tokens_decoder": {str(token["id"]): token for token in ordered},
    }
    return {
        "added_tokens.json": {text: i for i, text in tokens.items()},
        "tokenizer_config.json": settings,
        "tokenizer.json": {"version": "1.0", "added_tokens": ordered, "model": {}},
    }


@pytest.fixture(name="folder")
def _folder(tmp_path):
    shutil.copytree(assets.path("mini"), tmp_path / "backbone")
    return tmp_path / "backbone"


def test_special_tokens_and_sentinels_pass(folder):
    for name, values in as_files({**SPECIAL, **SENTINELS}).items():
        (folder / name).write_text(json.dumps(values))
    assert backbones.tokenizer_of(str(folder)).vocab_size == 992
    newest = {"extra_ids": 32, "extra_special_tokens": list(SENTINELS.values())}
    (folder / "tokenizer_config.json").write_text(json.dumps(newest))
    assert backbones.vocabulary_of(str(folder)).vocab_size == 992


@pytest.mark.parametrize("name", ["added_tokens.json", "tokenizer_config.json", "tokenizer.json"])
@pytest.mark.parametrize(
    ("token", "shown"),
    [
        ({992: "<sep>"}, r"'<sep>' \(992\)\."),  # the next id, as add_tokens gives it
        ({990: "<extra_id_0>"}, r"'<extra_id_0>' \(990\)\."),  # in another order
        ({1 << 70: "x" * 9000}, r"'x+'\.\.\. \(9,000 characters\)"),
    ],
)
def test_other_tokens_are_refused(name, token, shown, folder):
    values = as_files({**SPECIAL, **token})[name]
    values.pop("additional_special_tokens", None)
    (folder / name).write_text(json.dumps(values))
    with pytest.raises(UserError, match=rf"backbone/{name} adds tokens .*: {shown}"):
        backbones.tokenizer_of(str(folder))
    with pytest.raises(UserError, match=f"backbone/{name} adds tokens"):
        convert_backbones.convert(str(folder), str(folder.parent / "new"), "huggingface")
    spiece_model = assets.path("mini/spiece.model")  # elsewhere, and lacks them too
    with pytest.raises(UserError, match=f"backbone/{name} adds tokens"):
        backbones.vocabulary_of(str(folder), spiece_model)


def test_a_token_without_an_id_is_refused(folder):
    settings = {"extra_ids": 32, "extra_special_tokens": [{"content": "<sep>"}, "<extra_id_3>"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match=r"adds tokens that .* lacks: '<sep>'\. They"):
        backbones.tokenizer_of(str(folder))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("added_tokens.json", {"<sep>": "first"}),
        ("added_tokens.json", {"<sep>": [1]}),
        ("tokenizer.json", {"added_tokens": [7]}),
        ("tokenizer.json", {"added_tokens": 7}),
        ("tokenizer.json", {"added_tokens": [{"content": "<sep>"}]}),
        ("tokenizer_config.json", {"extra_ids": 32, "added_tokens_decoder": [1]}),
        ("tokenizer_config.json", {"extra_ids": 32, "added_tokens_decoder": {"1": "a"}}),
    ],
)
def test_broken_files_are_named(name, values, folder):
    (folder / name).write_text(json.dumps(values))
    with pytest.raises(UserError, match=f"{name} is not a Hugging Face tokenizer file"):
        backbones.tokenizer_of(str(folder))
