"""A run of two processes, of two devices each, against one process that reads both their parts.

The processes are real ones that talk through jax.distributed, as the hosts of a pod do.
"""

import itertools
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import safetensors.numpy
import seqio
import toy
import toy_loop
import xla

from mpt_jax import hosts
from mpt_jax.configuration import config
from mpt_jax.engine.data import pipeline
from mpt_jax.errors import UserError

SETTINGS = {
    "TRAIN_STEPS": "4",
    "TEACHER_STEPS": "2",
    "EVAL_PERIOD": "4",
    "FEW_SHOT": "16",
    "utils.SaveCheckpointConfig.keep": "None",
}
FILES = ["gin/mpt_source.gin", str(pathlib.Path(toy.__file__).with_name("toy.gin"))]


def settings_of(folder: pathlib.Path, backbone: str) -> list[str]:
    """The overrides of a run."""
    own = {"MODEL_DIR": str(folder), "INITIAL_CHECKPOINT_PATH": backbone}
    return [f"{name}={value}" for name, value in {**SETTINGS, **own}.items()]


def start(folder: pathlib.Path, backbone: str, **changes: str) -> list[subprocess.Popen]:
    """Two processes of `t5x train`; their output goes to `<folder>.<index>.log`."""
    settings = settings_of(folder, backbone) + [f"{n}={value}" for n, value in changes.items()]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "mpt_jax.cli", "train"]
    command += [f"--gin_file={file}" for file in FILES]
    command += [f"--gin.{setting}" for setting in settings]
    command += [f"--coordinator_address={address}", "--process_count=2"]
    environment = {
        **os.environ,
        "XLA_FLAGS": xla.flags(2),
        "PYTHONPATH": str(pathlib.Path(toy.__file__).parent),
    }
    return [
        subprocess.Popen(
            [*command, f"--process_index={index}"],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        for index in range(2)
        for log in [open(f"{folder}.{index}.log", "w")]  # noqa: SIM115
    ]


def finish(processes: list[subprocess.Popen], folder: pathlib.Path) -> list[int]:
    """Their exit statuses; the logs are shown when a test fails."""
    statuses = [process.wait(timeout=400) for process in processes]
    for index in range(2):
        print(pathlib.Path(f"{folder}.{index}.log").read_text())
    return statuses


def product(folder: pathlib.Path) -> dict[str, np.ndarray]:
    return safetensors.numpy.load_file(folder / "prompts.safetensors")


@pytest.fixture(name="backbone", scope="module")
def _backbone(tmp_path_factory) -> str:
    folder = str(tmp_path_factory.mktemp("backbone"))
    toy.save(folder)
    return folder


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory, backbone) -> pathlib.Path:
    """The run folder of two processes that took all steps."""
    folder = tmp_path_factory.mktemp("hosts") / "run"
    assert finish(start(folder, backbone), folder) == [0, 0]
    return folder


class BothParts:
    """The batches of two processes, one below the other, as one process's."""

    def __init__(self, *args, shard, **kwargs):
        assert shard == seqio.ShardInfo(0, 1)
        parts = [seqio.ShardInfo(index, 2) for index in range(2)]
        self._parts = [TRAIN_BATCHES(*args, shard=part, **kwargs) for part in parts]
        self.tf_iterator = self._parts[0].tf_iterator

    def __next__(self):
        first, second = (next(part) for part in self._parts)
        return {name: np.concatenate([first[name], second[name]]) for name in first}


TRAIN_BATCHES = pipeline.train_batches


def test_two_processes_train_what_one_does(folder, backbone, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "train_batches", BothParts)
    config.parse(FILES, settings_of(tmp_path, backbone))
    config.call("mpt_jax.t5x.train", "train")
    for part in (".", "teachers"):
        one, two = product(tmp_path / part), product(folder / part)
        assert one.keys() == two.keys()
        for name in one:
            np.testing.assert_allclose(two[name], one[name], rtol=1e-3, atol=1e-4)
    for task in ("toy_a", "toy_b"):
        name = f"eval/{task}.jsonl"
        assert (folder / name).read_text() == (tmp_path / name).read_text()


def test_the_first_process_alone_reports(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["kind"]) for line in lines] == [
        *((step, "train") for step in (1, 2, 3, 4)),
        (4, "eval"),
    ]
    logs = [pathlib.Path(f"{folder}.{index}.log").read_text() for index in range(2)]
    assert ["4/4" in log for log in logs] == [True, False]


def test_they_resume_bit_by_bit_and_a_signal_to_one_stops_both_after_a_checkpoint(
    folder, backbone, tmp_path
):
    """Both in one start: it resumes at step 2, evaluates step 4 again, and trains on."""
    resumed = tmp_path / "resumed"
    shutil.copytree(folder, resumed)
    shutil.rmtree(resumed / "checkpoints" / "checkpoint_4")
    (resumed / "prompts.safetensors").unlink()
    text = (resumed / "config.gin").read_text()
    (resumed / "config.gin").write_text(text.replace(str(folder), str(resumed)))
    longer = {"TRAIN_STEPS": "100000", "SAVE_PERIOD": "100000", "train.train.stats_period": "2"}
    processes = start(resumed, backbone, **longer)
    while not (resumed / "prompts.safetensors").exists():
        assert all(process.poll() is None for process in processes), finish(processes, resumed)
        time.sleep(0.2)
    processes[1].send_signal(signal.SIGTERM)
    assert finish(processes, resumed) == [130, 130]
    for name, leaf in product(folder).items():
        np.testing.assert_array_equal(leaf, product(resumed)[name])
    _, stopped = toy_loop.steps_saved(resumed)
    assert stopped >= 4 and stopped % 2 == 0


AGREEING = """
import sys, time
from mpt_jax import errors, hosts

def main():
    with hosts.joined(sys.argv[1], 2, int(sys.argv[2]), resume="t5x train again"):
        hosts.agree_on_any(False)
        print("together", flush=True)
        exec(sys.argv[3])

sys.exit(errors.exit_status(main, "t5x", []))
"""


def agreeing(then: str) -> list[subprocess.Popen]:
    """Two processes that have joined and do `then`."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", AGREEING, address, str(index), then],
            stdout=pipe,
            stderr=pipe,
            text=True,
        )
        for index in range(2)
    ]
    for process in processes:
        while "together" not in (line := process.stdout.readline()):  # gloo may share the line
            assert line, process.communicate()
    return processes


@pytest.mark.parametrize("lost", [0, 1])
def test_when_one_is_killed_the_other_says_so_and_ends(lost):
    processes = agreeing("while True: hosts.agree_on_any(False); time.sleep(0.02)")
    processes[lost].kill()
    out, err = processes[1 - lost].communicate(timeout=30)
    assert err.splitlines()[-1] == (
        f"t5x: process {lost} of 2 was lost: it was killed, or its host is gone. "
        "To resume from the last checkpoint, start all again: t5x train again"
    )
    assert processes[1 - lost].returncode == 1
    assert "Traceback" not in err and "stack trace" not in err


def test_whatever_fails_in_the_first_process_the_other_hears_of_it():
    first, second = agreeing("hosts.on_first(lambda: 1 / 0)")
    err = second.communicate(timeout=60)[1]
    assert second.returncode == 2 and "the first process stopped with an error" in err
    err = first.communicate(timeout=60)[1]
    assert first.returncode == 1 and err.splitlines()[-1].startswith("ZeroDivisionError")


def test_what_fails_in_one_process_alone_ends_the_other_too():
    work = "1 / 0 if hosts.is_first() else time.sleep(100)"
    first, second = agreeing(work)
    err = second.communicate(timeout=60)[1]
    assert second.returncode == 1
    assert "process 0 of 2 ended with an error: see its messages. To resume" in err
    first.communicate(timeout=60)
    assert first.returncode == 1


@pytest.mark.parametrize(
    "given, message",
    [
        (("localhost:1", None, None), "belong together"),
        (("localhost:1", 2, 2), "--process_index=2 must lie between 0 and"),
        ((None, None, None), "cannot join the processes of a run"),
    ],
)
def test_bad_process_flags(given, message, monkeypatch):
    for name in itertools.chain(os.environ):
        if name.startswith(("SLURM", "OMPI")):
            monkeypatch.delenv(name)
    with pytest.raises(UserError, match=message):
        hosts.join(*given)


def test_one_process_agrees_with_itself():
    assert hosts.agree_on_any(True) and not hosts.agree_on_any(False)
    assert hosts.agree_on_longest(np.array([3, 4])).tolist() == [3, 4]
    done = []
    hosts.on_first(lambda: done.append(1))
    assert done == [1]
