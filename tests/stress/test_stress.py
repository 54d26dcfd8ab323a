"""The short form of `make stress`, as a program: it forks, which a process with jax must not."""

import os
import pathlib
import subprocess
import sys

import xla


def run(program: str, *arguments: str) -> str:
    """What a program of this folder prints, where it finds nothing wrong."""
    tests = pathlib.Path(__file__).parents[1]
    path = os.pathsep.join(map(str, (tests, tests / "support", tests.parent / "benchmarks")))
    environment = {**os.environ, "PYTHONPATH": path, "XLA_FLAGS": xla.flags(1)}
    command = [sys.executable, "-m", f"stress.{program}", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_a_run_that_is_killed_again_and_again_ends_as_one_that_is_not(tmp_path):
    file = tmp_path / "measured.csv"
    only = "--only=several tasks jointly"
    said = run("kills", "--kills=3", only, f"--folder={tmp_path}", f"--csv={file}")
    assert "several tasks jointly: " in said
    assert said.count("identical") >= 1 and "DIFFERS" not in said
    assert file.read_text().splitlines()[1].startswith("several tasks jointly,")


def test_damaged_files_are_refused_told_apart_or_the_same():
    said = run("damages", "--damages=52")
    assert "| checkpoint | " in said
