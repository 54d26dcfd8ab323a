"""`t5x tasks` as a user runs it: real processes. What it shows is in tasks/test_listing.py."""

import pathlib
import subprocess
import sys

import pytest
from test_cli import t5x_at_once

from mpt_jax import cli
from mpt_jax.errors import UserError


def t5x(*arguments, cwd):
    command = [sys.executable, "-m", "mpt_jax.cli", "tasks", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_help_answers_at_once(tmp_path):
    result = t5x_at_once("tasks", "--help", cwd=tmp_path)
    assert result.returncode == 0
    assert "NAME" in result.stdout and "--process_count" not in result.stdout


def test_without_a_file_all_shipped_tasks_are_listed(tmp_path):
    result = t5x(cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    rows = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert "accuracy    entailment, not_entailment          mini_targets" in rows["mini_rte"]
    assert {"mini_nli", "mnli", "record", "e2e"} < rows.keys()


def test_modules_of_the_user_s_are_listed_without_a_file_too():
    modules = "MIXTURE_OR_TASK_MODULE=['toy_tasks', 'mpt_jax.tasks.mini']"
    result = t5x(f"--gin.{modules}", cwd=pathlib.Path(__file__).parent / "support")
    assert (result.returncode, result.stderr) == (0, "")
    assert {"toy_a", "mini_rte"} <= {line.split()[0] for line in result.stdout.splitlines()}


def test_an_unknown_task_comes_with_the_nearest(tmp_path):
    result = t5x("mini_rtee", "--gin_file=gin/suites/mini_target.gin", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(
        "t5x: error: Unknown task or mixture 'mini_rtee'. Did you mean 'mini_rte'"
    )


def test_the_backbone_s_weights_are_not_asked_for(monkeypatch):
    parsed = []
    monkeypatch.setattr("mpt_jax.configuration.config.parse", lambda *given: parsed.extend(given))
    monkeypatch.setattr("mpt_jax.configuration.config.call", lambda *_: None)
    given = ["tasks", "mini_rte", "--gin_file=gin/models/t5_base.gin", "--gin.SPIECE_MODEL=x"]
    assert cli.main(given) == 0
    assert parsed == [
        ["gin/tasks.gin", "gin/models/t5_base.gin"],
        ["SPIECE_MODEL=x"],
        [],
        [
            "INITIAL_CHECKPOINT_PATH=None",
            "MIXTURE_OR_TASK_NAME='mini_rte'",
            "listing.show.task=%MIXTURE_OR_TASK_NAME",
        ],
    ]


@pytest.mark.parametrize("arguments", [["tasks", "a", "b"], ["tasks", "--process_count=2"]])
def test_arguments_that_are_none_of_its_own(arguments):
    with pytest.raises(UserError):
        cli.parse_arguments(arguments)
