"""The commands as a user runs them: real processes, the shipped gin files, another folder.

Few steps; whether training learns anything is for the other tests and the demo.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import first_layers
import pytest
import tensorflow as tf
import toy
import xla

from mpt_jax import assets, cli, files
from mpt_jax.backbone.formats import backbones
from mpt_jax.configuration import config
from mpt_jax.product import product_file

TESTS = pathlib.Path(__file__).parent
TOY = f"--gin_file={TESTS / 'support/toy.gin'}"
SECONDS = 600  # for one command, on a busy machine


@pytest.fixture(name="start")
def _start(tmp_path):
    """Starts `t5x ...` in an empty folder; it is killed at the end of the test if need be.

    It has one CPU device, and can import the toy tasks.
    """
    started = []
    environment = {**os.environ, "XLA_FLAGS": xla.flags(1), "PYTHONPATH": str(TESTS / "support")}

    def start(command, gin_file, *arguments, program=("-m", "mpt_jax.cli")):
        line = [sys.executable, *program, command, f"--gin_file={gin_file}", *arguments]
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            line, cwd=tmp_path, env=environment, stdout=pipe, stderr=pipe, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(name="t5x")
def _t5x(start):
    """Runs `t5x ...` to its end: (exit status, standard output, standard error)."""

    def run(*arguments, **options):
        process = start(*arguments, **options)
        out, err = process.communicate(timeout=SECONDS)
        return process.returncode, out, err

    return run


def test_from_source_training_to_predictions(t5x, tmp_path):
    first_layers.copy(assets.path("mini"), tmp_path / "backbone")
    settings = ["INITIAL_CHECKPOINT_PATH=backbone", *first_layers.SETTINGS]
    backbone = [f"--gin.{setting}" for setting in settings]
    few = ("--gin.TRAIN_STEPS=2", "--gin.EVAL_PERIOD=2", "--gin.WARMUP_STEPS=1", *backbone)
    two_tasks = "--gin.MIXTURE_OR_TASK_NAME=['mini_nli', 'mini_sentiment']"
    status, _, err = t5x("train", "gin/mpt_source.gin", two_tasks, *few)
    assert status == 0, err
    teachers = product_file.load(str(tmp_path / "runs/mpt_source/teachers"))[1]
    source = product_file.load(str(tmp_path / "runs/mpt_source"))[1]
    assert (teachers.method, source.method) == ("prompt_tuning", "mpt")
    assert teachers.tasks == source.tasks == ("mini_nli", "mini_sentiment")
    # Nothing but what is trained, the progress and what comes next reaches the terminal.
    kinds = ("training ", "  ", "prompt_tuning teachers", "mpt mpt_source", "step ", "finished ")
    kinds = (*kinds, "next: t5x train ")
    assert [line for line in err.splitlines() if not line.startswith(kinds)] == []

    status, _, err = t5x("train", "gin/mpt_target.gin", "--gin.FEW_SHOT=16", *few)
    assert status == 0, err
    target = product_file.load(str(tmp_path / "runs/mpt_target"))[1]
    assert target.tasks == ("mini_rte",)
    record = files.read_json(tmp_path / "runs/mpt_target/run.json")
    cost = record.pop("cost")
    product = tmp_path / "runs/mpt_target/prompts.safetensors"
    assert cost["product_bytes"] == product.stat().st_size and cost["steps"] == 2
    assert record == {
        "method": "mpt",
        "label": "mpt",
        "stage": "target",
        "few_shot": 16,
        "seed": 0,
        "total_steps": 2,
        "schedule_steps": 2,
        "batch_size": 16,
        "tasks": ["mini_rte"],
        "independent_tasks": False,
        "key_metrics": {"mini_rte": "accuracy"},
        "tuned_parameters": 20 * 128 + 20 + 128,
        "backbone": backbones.identify(str(tmp_path / "backbone"))._asdict(),
        "data": {
            "mini_rte, split train": {"files": {}, "rows": 16},
            "mini_rte, split validation": {"files": {}, "rows": 200},
        },
        "finished": True,
        "evaluations": 1,
    }

    status, out, err = t5x("eval", "gin/mpt_eval.gin", "--gin.PROMPTS=runs/mpt_target", *backbone)
    assert (status, err) == (0, "")
    assert out.startswith("mini_rte accuracy ")
    lines = (tmp_path / "runs/mpt_target/test/mini_rte.jsonl").read_text().splitlines()
    assert len(lines) == 300

    text = [json.loads(line)["inputs"] for line in lines[:3]]
    (tmp_path / "lines.txt").write_text("\n".join(text))
    given = ("--gin.PROMPTS=runs/mpt_target", "--gin.INPUTS=lines.txt", *backbone)
    console = shutil.which("t5x", path=str(pathlib.Path(sys.executable).parent))
    program = (console,) if console else ("-m", "mpt_jax.cli")
    status, out, err = t5x("infer", "gin/mpt_infer.gin", *given, program=program)
    assert (status, err) == (0, "")
    predicted = [json.loads(line) for line in out.splitlines()]
    assert [record["input"] for record in predicted] == text
    evaluated = [json.loads(line)["predictions"] for line in lines[:3]]
    assert [record["prediction"] for record in predicted] == evaluated


def _wait_for(condition, process):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _last_step(model_dir):
    lines = (model_dir / "metrics.jsonl").read_text().splitlines()
    return json.loads(lines[-1])["step"]


def test_a_signal_while_a_command_starts_ends_it_with_a_line(start, tmp_path):
    """As soon as TensorFlow is being loaded, long before there is anything to save."""
    process = start("train", "gin/mpt_source.gin", "--gin.MODEL_DIR=run")
    maps = pathlib.Path(f"/proc/{process.pid}/maps")
    _wait_for(lambda: "libtensorflow" in maps.read_text(), process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == (
        "t5x: interrupted; to resume: t5x train --gin_file=gin/mpt_source.gin --gin.MODEL_DIR=run\n"
    )


def test_a_signal_saves_and_the_same_command_goes_on(start, t5x, tmp_path):
    """Ctrl-C while it traces its first step; SIGTERM later is in tests/stress."""
    toy.save(tmp_path / "backbone")
    run = tmp_path / "run"

    def arguments(steps):
        return (
            "train",
            "gin/mpt_source.gin",
            "--gin_file=gin/methods/no_distillation.gin",
            TOY,
            "--gin.INITIAL_CHECKPOINT_PATH=backbone",
            "--gin.MODEL_DIR=run",
            f"--gin.TRAIN_STEPS={steps}",
            "--gin.SAVE_PERIOD=1000000",
            "--gin.train.train.infer_eval_dataset_cfg=None",
        )

    process = start(*arguments(1_000_000))
    _wait_for(lambda: (run / "tensorboard").exists(), process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 130, err
    stopped = _last_step(run)
    message = err.splitlines()[-1]
    assert f"interrupted: saved step {stopped} of 1000000 in run; to resume: t5x train" in message
    assert "Traceback" not in err
    (saved,) = (run / "checkpoints").iterdir()
    assert saved.name == f"checkpoint_{stopped}"
    assert not (run / "prompts.safetensors").exists()

    status, _, err = t5x(*arguments(stopped + 2))
    assert status == 0, err
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, stopped + 3))
    assert product_file.load(str(run))[1].step == stopped + 2


def test_bad_input_of_a_real_process(t5x, tmp_path):
    arguments = ("--gin.SOURCE_PROMPTS=nowhere", "--gin.MIXTURE_OR_TASK_NAME=mini_wic")
    status, out, err = t5x("train", "gin/mpt_target.gin", *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("t5x: error: no prompt file at 'nowhere'")
    assert not list(tmp_path.iterdir())


def test_tensorflow_leaves_the_accelerators_to_jax(monkeypatch):
    hidden = []
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda *args: hidden.append(args))
    monkeypatch.setattr(config, "parse", lambda *_: None)
    monkeypatch.setattr(config, "call", lambda *_: None)
    assert cli.main(["train", "--gin_file=gin/mpt_source.gin"]) == 0
    assert hidden == [([], "GPU")]
