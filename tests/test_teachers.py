"""Teachers are trained where no prompt file is given, and only then."""

import os

import pytest
import toy_start

from mpt_jax import teachers
from mpt_jax.errors import UserError


def _no_training(model_dir):
    raise AssertionError("a prompt file was given")


def test_a_given_prompt_file_or_folder_is_used_as_it_is(tmp_path):
    path = toy_start.write(tmp_path, toy_start.factors())
    for given in (path, str(tmp_path)):
        assert teachers.teacher_prompts(given, _no_training, "unused") == path


def test_a_given_path_without_prompts_is_refused_before_any_training(tmp_path):
    with pytest.raises(UserError, match="no prompt file at"):
        teachers.teacher_prompts(str(tmp_path), _no_training, "unused")


def test_without_a_file_they_are_trained_into_the_run_folder(tmp_path):
    asked = []

    def train(model_dir):
        asked.append(model_dir)
        os.makedirs(model_dir)
        toy_start.write(model_dir, toy_start.factors())
        return model_dir

    path = teachers.teacher_prompts(None, train, str(tmp_path / "run"))
    assert asked == [str(tmp_path / "run" / "teachers")]
    assert path == str(tmp_path / "run" / "teachers" / "prompts.safetensors")
