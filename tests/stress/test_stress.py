"""The short form of `make stress`, as a program: it forks, which a process with jax must not."""

import os
import pathlib
import subprocess
import sys

import xla


def run(program: str, *arguments: str) -> str:
    """What a program of this folder prints, where it finds nothing wrong."""
    tests = pathlib.Path(__file__).parents[1]
    path = os.pathsep.join((str(tests), str(tests / "support")))
    environment = {**os.environ, "PYTHONPATH": path, "XLA_FLAGS": xla.flags(1)}
    command = [sys.executable, "-m", f"stress.{program}", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_a_run_that_is_killed_again_and_again_ends_as_one_that_is_not(tmp_path):
    said = run("kills", "--kills=3", "--only=several tasks jointly", f"--folder={tmp_path}")
    assert "several tasks jointly: " in said
    assert said.count("identical") >= 1 and "DIFFERS" not in said


def test_damaged_files_are_refused_told_apart_or_the_same():
    said = run("damages", "--damages=52")
    assert "| checkpoint | " in said
