"""The command as a user runs it: real processes, real exit codes, no traceback, and at once."""

import pathlib
import resource
import subprocess
import sys

import pytest

from mpt_jax import cli
from mpt_jax.errors import UserError

# Processor time, since other processes may hold the cores: `t5x --help` takes 0.03 s, importing
# jax or tensorflow more than a second.
SECONDS = 1.0

# A package with the facade's names would need jax; this one records its arguments.
ENTRY = """
from mpt_jax.errors import UserError

def train(model_dir, total_steps=1):
    if total_steps == 13:
        raise UserError("13 brings bad luck.")
    if total_steps == 14:
        raise KeyboardInterrupt("saved step 3")
    print(f"trained {model_dir!r} {total_steps!r}")
"""
RUN_WITH_TOY_ENTRY = """
import sys
from mpt_jax import cli
cli.GIN_COMMANDS["train"] = ("toy_train", "train", "train a toy")
sys.exit(cli.main())
"""
RUN_GIN = """
from __gin__ import dynamic_registration
import toy_train
MODEL_DIR = %gin.REQUIRED
TRAIN_STEPS = 1
toy_train.train:
  model_dir = %MODEL_DIR
  total_steps = %TRAIN_STEPS
"""


def t5x_at_once(*arguments: str, cwd: pathlib.Path) -> subprocess.CompletedProcess:
    """Runs the command; fails if it uses more processor time than the bound."""
    command = [sys.executable, "-m", "mpt_jax.cli", *arguments]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < SECONDS
    return result


def toy_t5x(*arguments: str, cwd: pathlib.Path) -> subprocess.CompletedProcess:
    (cwd / "toy_train.py").write_text(ENTRY)
    (cwd / "toy_run.gin").write_text(RUN_GIN)
    command = [sys.executable, "-c", RUN_WITH_TOY_ENTRY, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--help"], "COMMAND"),
        (["train", "--help"], "--gin.NAME=VALUE"),
        (["eval", "--help"], "shipped gin files:"),
    ],
)
def test_help_answers_at_once(arguments, expected, tmp_path):
    result = t5x_at_once(*arguments, cwd=tmp_path)
    assert result.returncode == 0
    assert expected in result.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "no command: one of train, eval, infer"),
        (["trian"], "unknown command 'trian'. Did you mean 'train'"),
        (["train", "--gin_fil=x.gin"], "unknown flag '--gin_fil'. Did you mean '--gin_file'"),
        (["train", "--MODEL_DIR=/x"], "gin macros are set with --gin.MODEL_DIR=/x"),
        (["train", "x.gin"], "unexpected argument 'x.gin'"),
        (["train", "--gin.STEPS"], "write --gin.STEPS=VALUE"),
        (["train", "--gin_file"], "expected one argument"),
        (["train"], "needs --gin_file=FILE. Shipped gin files:"),
        (["train", "--gin_file=gin/models/t5_bse.gin"], "Did you mean 'gin/models/t5_base.gin'"),
    ],
)
def test_each_wrong_argument_is_one_message_at_once(arguments, expected, tmp_path):
    result = t5x_at_once(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("t5x: error: ")
    assert expected in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_start_up_imports_nothing_heavy(tmp_path):
    script = (
        "import sys; from mpt_jax import cli; cli.main(['trian']);"
        "print(*{'jax', 'tensorflow', 'seqio', 'numpy', 'gin'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == ""


def test_overrides_reach_the_entry_point(tmp_path):
    result = toy_t5x(
        "train",
        "--gin_file=toy_run.gin",
        "--gin.MODEL_DIR=/tmp/run",
        "--gin.train.total_steps=5",
        cwd=tmp_path,
    )
    assert result.stdout == "trained '/tmp/run' 5\n", result.stderr
    assert result.returncode == 0


def test_a_required_macro_left_unset_is_named(tmp_path):
    result = toy_t5x("train", "--gin_file=toy_run.gin", cwd=tmp_path)
    assert result.returncode == 2
    assert "MODEL_DIR (required by " in result.stderr
    assert "--gin.MODEL_DIR=VALUE" in result.stderr


def test_a_user_error_of_the_run_comes_out_clean(tmp_path):
    arguments = ["--gin_file=toy_run.gin", "--gin.MODEL_DIR=x", "--gin.TRAIN_STEPS=13"]
    result = toy_t5x("train", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr == "t5x: error: 13 brings bad luck.\n"


def test_an_interrupt_says_how_to_resume(tmp_path):
    arguments = ["--gin_file=toy_run.gin", "--gin.MODEL_DIR=a b", "--gin.TRAIN_STEPS=14"]
    result = toy_t5x("train", *arguments, cwd=tmp_path)
    assert result.returncode == 130
    assert result.stderr == (
        "t5x: interrupted: saved step 3; to resume: t5x train --gin_file=toy_run.gin "
        "'--gin.MODEL_DIR=a b' --gin.TRAIN_STEPS=14\n"
    )


def test_files_that_do_not_configure_the_command(tmp_path):
    (tmp_path / "model.gin").write_text("# sizes alone\n")
    result = toy_t5x("train", "--gin_file=model.gin", cwd=tmp_path)
    assert result.returncode == 2
    assert "do not configure toy_train.train: give a run file too" in result.stderr


def test_parse_arguments_keeps_the_order_of_files_and_overrides():
    arguments, overrides = cli.parse_arguments(
        ["train", "--gin_file=a.gin", "--gin.A=1", "--gin_file", "b.gin", "--gin.B.c='x=y'"]
    )
    assert arguments.command == "train"
    assert arguments.gin_file == ["a.gin", "b.gin"]
    assert overrides == ["A=1", "B.c='x=y'"]


def test_parse_arguments_refuses_abbreviations():
    with pytest.raises(UserError, match="unknown flag '--gin_search'"):
        cli.parse_arguments(["train", "--gin_search=x"])
