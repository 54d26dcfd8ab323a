"""Evaluation and prediction agree with each other and with the texts they were given."""

import json

import jax
import numpy as np
import pytest
import toy

from mpt_jax.backbone import store
from mpt_jax.engine import inference
from mpt_jax.engine.checkpoints import RestoreCheckpointConfig
from mpt_jax.engine.data import DatasetConfig
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.errors import UserError
from mpt_jax.methods.mpt import MPT
from mpt_jax.methods.restored import Restored
from mpt_jax.tasks.mixtures import bind_tasks

TASKS = ("toy_a", "toy_b")
LENGTHS = {"inputs": 12, "targets": 6}


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory):
    """A backbone, and prompts whose tasks differ."""
    folder = str(tmp_path_factory.mktemp("run"))
    store.save(folder, toy.backbone(), toy.CONFIG)
    model = toy.model(MPT(prompt_length=4), TASKS)
    params = model.start(toy.backbone(), jax.random.key(3))
    for leaf in ("task_u", "task_v"):
        shape = params["prompt_bank"][leaf].shape
        params["prompt_bank"][leaf] = 3 * jax.random.normal(jax.random.key(4), shape)
    model.save(folder, params, step=0, results={}, feature_lengths=LENGTHS)
    return folder


@pytest.fixture(name="infer")
def _infer(folder, tmp_path):
    """`inference.infer` of given lines, as a function that returns the records."""
    model = toy.model(Restored(folder), TASKS)

    def run(text, output="out.jsonl", batch_size=4, model=model, **changes):
        (tmp_path / "lines.txt").write_text(text, encoding="utf-8")
        arguments = {
            "model": model,
            "restore_checkpoint_cfg": RestoreCheckpointConfig(folder),
            "partitioner": PjitPartitioner(),
            "inputs": str(tmp_path / "lines.txt"),
            "task_feature_lengths": LENGTHS,
            "batch_size": batch_size,
            "task": "toy_a",
            "output": output and str(tmp_path / output),
        }
        inference.infer(**{**arguments, **changes})
        return records(tmp_path / output) if output else None

    return run


def records(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_infer_predicts_what_evaluation_did(folder, infer, tmp_path, capsys):
    results = inference.evaluate(
        model=toy.model(Restored(folder), TASKS),
        dataset_cfg=DatasetConfig(
            mixture_or_task_name=bind_tasks(list(TASKS), module="toy_tasks"),
            task_feature_lengths=LENGTHS,
            split="test",
            batch_size=8,
            shuffle=False,
            seed=0,
        ),
        restore_checkpoint_cfg=RestoreCheckpointConfig(folder),
        partitioner=PjitPartitioner(),
        output_dir=str(tmp_path / "eval"),
    )
    assert results["mean"]["key_metric"] == np.mean([results[t]["likeness"] for t in TASKS])
    assert json.loads((tmp_path / "eval" / "metrics.json").read_text()) == results
    assert f"toy_a likeness {results['toy_a']['likeness']:.2f}\n" in capsys.readouterr().out
    assert not list((tmp_path / "eval").glob("*.partial"))

    predictions = {}
    for task in TASKS:
        evaluated = records(tmp_path / "eval" / f"{task}.jsonl")
        text = "".join(f"{record['inputs']}\n" for record in evaluated)
        predicted = infer(text, task=task)
        assert [r["input"] for r in predicted] == [r["inputs"] for r in evaluated]
        assert [r["prediction"] for r in predicted] == [r["predictions"] for r in evaluated]
        assert {r["task"] for r in predicted} == {task}
        predictions[task] = [r["prediction"] for r in infer("same\n", task=task)]
    assert predictions["toy_a"] != predictions["toy_b"]


def test_a_row_does_not_depend_on_its_batch(infer):
    lines = ["a", "grün", "three words here", "x" * 40, "e"]
    together = infer("\n".join(lines), batch_size=8)
    for line, record in zip(lines, together, strict=True):
        (alone,) = infer(line + "\n")
        assert (alone["input"], alone["prediction"]) == (line, record["prediction"])
        np.testing.assert_allclose(alone["score"], record["score"], atol=1e-4)


def test_predictions_go_to_standard_output_without_a_file(infer, capsys):
    infer("one\ntwo\n", output=None)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["input"] for line in lines] == ["one", "two"]


def test_the_task_may_be_left_out_where_there_is_one(infer, folder):
    with pytest.raises(UserError, match="no TASK was given; it holds toy_a, toy_b"):
        infer("one\n", task=None)
    with pytest.raises(UserError, match="'toy_aa' is not .* toy_b. Did you mean 'toy_a'"):
        infer("one\n", task="toy_aa")


def test_a_failed_run_leaves_the_old_output_and_no_half_file(infer, tmp_path, monkeypatch):
    (before,) = infer("one\n")
    monkeypatch.setattr(inference, "text_batch", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        infer("two\n")
    assert records(tmp_path / "out.jsonl") == [before]
    assert not list(tmp_path.glob("*.partial"))


def test_an_output_that_cannot_be_written_is_known_before_the_work(infer, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(inference, "initial_params", pytest.fail)
    with pytest.raises(UserError, match="cannot write .*file/out: .*--gin.OUTPUT=PATH"):
        infer("one\n", output="file/out")
