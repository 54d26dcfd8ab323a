"""How commands end: the exit status, and one line of standard error."""

import pathlib
import subprocess
import sys

import pytest

from mpt_jax import errors

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "benchmarks" / "real_data.py"


def test_a_script_that_lacks_its_data_says_so_in_a_line(tmp_path):
    command = [sys.executable, SCRIPT, "--data=nowhere", "--folder=runs", "--out=page.md"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == errors.EXIT_BAD_INPUT
    assert result.stderr.splitlines()[-1].startswith("real_data: error: --data: nowhere lacks")
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "page.md").exists()


def test_names_that_are_too_long_to_be_misspelt_are_not_compared():
    assert errors.did_you_mean("labl", ["label", "label" * 10**5]) == " Did you mean 'label'?"
    assert errors.did_you_mean("label" * 10**5, ["label"]) == ""  # would take minutes
    assert errors.shown("a'b") == repr("a'b")
    assert errors.shown("x" * 10**6) == f"'{'x' * 100}'... (1,000,000 characters)"


def test_what_is_suggested_is_another_name_and_first_one_of_another_case():
    assert errors.did_you_mean("label", ["label", "labels"]) == ""
    assert errors.did_you_mean("CR", ["cr", "mr", "CRR"]) == " Did you mean 'cr'?"


def test_an_interrupted_command_says_how_far_it_is_and_what_to_type(capsys):
    def interrupted():
        raise KeyboardInterrupt("2 of 9 runs finished")

    command = ["t5x", "sweep", "my plan.toml"]
    assert errors.exit_status(interrupted, "t5x", command) == 130
    assert capsys.readouterr().err == (
        "t5x: interrupted: 2 of 9 runs finished; to resume: t5x sweep 'my plan.toml'\n"
    )


def test_a_command_whose_reader_has_stopped_ends_quietly():
    program = (
        "import sys; from mpt_jax.errors import exit_status as run; sys.exit(run({}, 't5x', []))"
    )
    endless = "lambda: [print('line') for _ in range(10**5)] and 0"
    last = "lambda: print('line') or 0"  # is written when the command has ended
    for main in (endless, last):
        command = [sys.executable, "-c", program.format(main)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 0)


def test_another_broken_pipe_is_an_error(monkeypatch, tmp_path):
    def broken():
        raise BrokenPipeError("of a socket")

    with (tmp_path / "out").open("w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        with pytest.raises(BrokenPipeError):
            errors.exit_status(broken, "t5x", [])


def test_a_name_in_another_case_is_suggested():
    assert errors.did_you_mean("CR", ["cb", "cr", "CRX"]) == " Did you mean 'cr'?"
