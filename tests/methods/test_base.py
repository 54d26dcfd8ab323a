"""Labels of parameters: the first pattern counts, each parameter is claimed."""

import os

import numpy as np
import pytest
import toy_start

from mpt_jax.errors import UserError
from mpt_jax.methods.base import BACKBONE, FROZEN, PromptMethod, label_parameters
from mpt_jax.methods.mpt import MPT
from mpt_jax.product import product_file

PARAMS = {
    "encoder": {"layers_0": {"mlp": {"wi": {"kernel": 0}}}},
    "token_embedder": {"embedding": 0},
    "prompt_bank": {"shared": 0, "task_u": 0},
}


def test_the_first_matching_pattern_gives_the_group():
    groups = [("prompt_bank/shared", "slow"), ("prompt_bank/.*", "fast"), (BACKBONE, FROZEN)]
    assert label_parameters(PARAMS, groups) == {
        "encoder": {"layers_0": {"mlp": {"wi": {"kernel": "frozen"}}}},
        "token_embedder": {"embedding": "frozen"},
        "prompt_bank": {"shared": "slow", "task_u": "fast"},
    }


def test_a_pattern_must_match_the_whole_path():
    groups = [("prompt_bank", "task"), ("bank/shared", "task"), (BACKBONE, FROZEN)]
    with pytest.raises(UserError, match="prompt_bank/shared, prompt_bank/task_u.*`groups`"):
        label_parameters(PARAMS, groups)


def test_the_product_of_a_prompt_method_is_its_bank_alone(tmp_path):
    assert isinstance(MPT(), PromptMethod)
    bank = toy_start.factors()
    for name in "ab":
        (tmp_path / name).mkdir()
    _, info = product_file.load(toy_start.write(tmp_path / "a", bank))
    params = {**PARAMS, "prompt_bank": bank, "teacher": {"task_prompts": 0}}
    MPT().save(str(tmp_path / "b"), params, None, info)
    assert sorted(os.listdir(tmp_path / "b")) == ["prompts.json", "prompts.safetensors"]
    loaded, same = product_file.load(str(tmp_path / "b"))
    assert same == info
    assert loaded.keys() == bank.keys()
    for name, leaf in bank.items():
        np.testing.assert_array_equal(loaded[name], leaf)
