"""What the worker makes of cells that it has trained together."""

import contextlib
import json
import pathlib
from unittest import mock

import jax
import pytest
import toy

from mpt_jax import cli
from mpt_jax.engine import group_size, initialize, kept, saving
from mpt_jax.engine.evaluation import together
from mpt_jax.methods.mpt import MPT
from mpt_jax.sweep import worker

TESTS = pathlib.Path(__file__).resolve().parents[1]
CELLS = ("toy_a", "lost", "toy_b")  # one has no product


def evaluation(folder, cell, place):
    """The arguments of `t5x eval`."""
    settings = {
        "PROMPTS": folder / cell,
        "INITIAL_CHECKPOINT_PATH": folder / "backbone",
        "EVAL_OUTPUT_DIR": folder / cell / place,
        "MIXTURE_OR_TASK_NAME": None,
        "EVAL_BATCH_SIZE": 4,
    }
    files = [f"--gin_file={name}" for name in ("gin/mpt_eval.gin", TESTS / "support/toy.gin")]
    return ["eval", *files, *(f"--gin.{name}={value}" for name, value in settings.items())]


@pytest.fixture(name="folder")
def _folder(tmp_path, monkeypatch):
    """With the products of trained cells. Logs are not written, and nothing is trained."""
    toy.save(tmp_path / "backbone")
    for seed, task in enumerate(("toy_a", "toy_b")):
        model = toy.model(MPT(prompt_length=4), (task,), toy.ONE_LAYER)
        params = initialize.start(model, toy.one_layer(), jax.random.key(seed))
        results, lengths = {task: {"likeness": 50.0}}, {"inputs": 12, "targets": 6}
        place = str(tmp_path / task)
        saving.save(model, place, params, step=1, results=results, feature_lengths=lengths)
    monkeypatch.setattr(worker, "_output_in", lambda log: contextlib.nullcontext())
    monkeypatch.setattr(worker, "_train_together", lambda commands: {})
    return tmp_path


def test_cells_are_evaluated_at_once_on_accelerators(folder, monkeypatch):
    at_once = mock.Mock(wraps=together.answers)
    monkeypatch.setattr(together, "answers", at_once)
    monkeypatch.setattr(group_size, "take_turns", lambda: False)
    runs = [
        {"log": str(folder / cell), "commands": [["train"], evaluation(folder, cell, "test")]}
        for cell in CELLS
    ]
    with kept.keeping():
        first, lost, last = worker.carry_out(runs)
        assert first is None and last is None and "lost" in lost
        ((prepared,), _) = at_once.call_args
        assert len(prepared) == 2
        for task in ("toy_a", "toy_b"):
            cli.run(evaluation(folder, task, "alone"))
            found, alone = folder / task / "test", folder / task / "alone"
            for name in (f"{task}.jsonl", "metrics.json"):
                assert (found / name).read_text() == (alone / name).read_text(), name
            assert f"{task}/test" in (found / "config_eval.gin").read_text()
        assert json.loads((found / "metrics.json").read_text())["mean"]["key_metric"] > 0
