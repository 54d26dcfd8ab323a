"""The command that is proposed after a training run: one that the command line takes."""

import json
import shlex

import pytest

from mpt_jax import cli, following
from mpt_jax.configuration import config


@pytest.fixture(name="folder")
def _folder(tmp_path, monkeypatch):
    """The working directory, with a user's file that declares a task."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.gin").write_text("MIXTURE_OR_TASK_MODULE = 'own'\nEVAL_BATCH_SIZE = 5\n")
    return tmp_path


def command(folder, stage, files, *overrides):
    run = folder / "my run"
    run.mkdir(exist_ok=True)
    (run / "run.json").write_text(json.dumps({"stage": stage}))
    return following.command("my run", files, overrides, [])


def checked(line):
    """The command's parts; its flags, files and settings are those that `t5x` takes."""
    program, *argv = shlex.split(line)
    assert program == "t5x"
    arguments, overrides = cli.parse_arguments(argv)
    config.check(arguments.gin_file, overrides)
    return arguments.command, arguments.gin_file, overrides


def test_after_a_target_run_its_product_is_evaluated(folder):
    files = ["gin/mpt_target.gin", "gin/models/t5_base.gin", "gin/methods/bitfit.gin", "own.gin"]
    line = command(
        folder, "target", files, "TRAIN_STEPS=3", "INITIAL_CHECKPOINT_PATH=t5", "SPIECE_MODEL=s"
    )
    assert checked(line) == (
        "eval",
        ["gin/mpt_eval.gin", "gin/models/t5_base.gin", "own.gin"],
        ["INITIAL_CHECKPOINT_PATH=t5", "SPIECE_MODEL=s", "PROMPTS=my run"],
    )


def test_after_a_source_run_a_target_is_adapted(folder):
    files = ["gin/mpt_source.gin", "gin/models/t5_base.gin", "gin/suites/mini_sources.gin"]
    given = ["INITIAL_CHECKPOINT_PATH=t5", "SPIECE_MODEL=s", "MIXTURE_OR_TASK_NAME=mini_nli"]
    line = command(folder, "source", files, *given)
    assert checked(line) == (
        "train",
        ["gin/mpt_target.gin", "gin/models/t5_base.gin"],
        ["INITIAL_CHECKPOINT_PATH=t5", "SPIECE_MODEL=s", "SOURCE_PROMPTS=my run"],
    )


def test_after_pretraining_nothing_is_proposed(folder):
    assert command(folder, "pretraining", ["gin/runs/pretrain_mini.gin"]) is None
