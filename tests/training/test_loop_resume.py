"""What a stopped run goes on with: resuming changes nothing, and nothing good is lost.

An interruption is a real signal, raised while the loop fetches a batch or evaluates.
"""

import json
import pathlib
import shutil
import time

import jax
import numpy as np
import pytest
import stand_in_bucket
import toy
from toy_loop import (
    STEPS,
    TASKS,
    assert_product_is_of,
    checkpoint,
    dataset,
    interrupt,
    is_finished,
    run,
    steps_saved,
)

from mpt_jax.backbone import store
from mpt_jax.engine.evaluation import evaluator
from mpt_jax.engine.schedules import create_learning_rate_scheduler
from mpt_jax.engine.settings import Trainer
from mpt_jax.errors import UserError
from mpt_jax.product import product_file
from mpt_jax.report import folders as report_folders
from mpt_jax.tasks.mixtures import bind_tasks


def test_a_run_stopped_twice_ends_bit_identical_to_one_that_never_was(
    whole, backbone, fetched, tmp_path
):
    whole, expected = whole
    began = time.monotonic()
    for stop in (3, 4):  # where checkpoints are due, and where an evaluation is
        fetched.at = {stop: interrupt}
        with pytest.raises(KeyboardInterrupt, match=f"saved step {stop} of {STEPS} in {tmp_path}"):
            run(tmp_path, backbone)
        assert len(fetched) == stop == steps_saved(tmp_path)[-1]
        told = json.loads((tmp_path / "run.json").read_text())["cost"]
        assert told["steps"] == stop
    fetched.at = {}
    run(tmp_path, backbone)

    cost = json.loads((tmp_path / "run.json").read_text())["cost"]
    assert cost["steps"] == STEPS and told["seconds"] < cost["seconds"] < time.monotonic() - began
    assert cost["step_seconds"] + cost["compile_seconds"] < cost["seconds"]
    for batch, other in zip(expected, fetched, strict=True):
        assert batch.keys() == other.keys()
        for name in batch:
            np.testing.assert_array_equal(batch[name], other[name])
    leaves, others = (checkpoint(f, STEPS) for f in (whole, tmp_path))
    assert leaves.keys() == others.keys() and any("opt_state" in name for name in leaves)
    for name, leaf in leaves.items():
        assert leaf.tobytes() == others[name].tobytes(), name
    for file in ("metrics.jsonl", "prompts.safetensors", "eval/toy_a.jsonl"):
        assert pathlib.Path(whole, file).read_bytes() == (tmp_path / file).read_bytes(), file


def test_a_run_in_a_bucket_is_all_there_also_what_it_resumes_from(
    whole, backbone, fetched, tmp_path, monkeypatch
):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    stand_in_bucket.install(tmp_path, monkeypatch)
    fetched.at = {4: interrupt}
    with pytest.raises(KeyboardInterrupt, match=f"saved step 4 of {STEPS} in gs://bucket/run"):
        run("gs://bucket/run", backbone)
    fetched.at = {}
    run("gs://bucket/run", backbone)
    assert not list(here.iterdir())  # a local folder named "gs:"
    leaves, others = (checkpoint(f, STEPS) for f in (whole[0], tmp_path / "bucket/run"))
    for name, leaf in leaves.items():
        assert leaf.tobytes() == others[name].tobytes(), name
    for file in ("metrics.jsonl", "prompts.safetensors", "eval/toy_a.jsonl"):
        assert (tmp_path / "bucket/run" / file).read_bytes() == (
            pathlib.Path(whole[0], file).read_bytes()
        ), file
    bank, _ = product_file.load("gs://bucket/run")
    np.testing.assert_array_equal(bank["shared"], product_file.load(whole[0])[0]["shared"])
    assert [str(found) for found in report_folders.find(["gs://bucket"])] == ["gs://bucket/run"]


@pytest.mark.parametrize("item", ["state/_METADATA", "data/process_0.index"])
def test_a_damaged_checkpoint_costs_no_more_than_its_steps(
    whole, backbone, fetched, item, tmp_path
):
    """Also where the product is of a step after the checkpoint that is left."""
    fetched.at = {5: interrupt}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, backbone)
    path = tmp_path / "checkpoints/checkpoint_5" / item
    path.write_bytes(path.read_bytes()[:10])
    fetched.at = {}
    run(tmp_path, backbone)
    assert len(fetched) == 5 + (STEPS - 3)
    leaves, others = (checkpoint(f, STEPS) for f in (whole[0], tmp_path))
    for name, leaf in leaves.items():
        assert leaf.tobytes() == others[name].tobytes(), name
    for file in ("metrics.jsonl", "prompts.safetensors"):
        assert pathlib.Path(whole[0], file).read_bytes() == (tmp_path / file).read_bytes(), file


def test_a_run_does_not_go_on_with_another_backbone(backbone, scores, fetched, tmp_path):
    changed = tmp_path / "backbone"
    shutil.copytree(backbone, changed)
    fetched.at = {3: interrupt}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", str(changed))
    params = jax.tree.map(np.array, toy.one_layer())
    embedding = params["token_embedder"]["embedding"]
    embedding[7, 3] = np.nextafter(embedding[7, 3], np.inf)
    store.save(str(changed), params, toy.ONE_LAYER)
    with pytest.raises(UserError, match="another backbone.*changed or damaged"):
        run(tmp_path / "run", str(changed))
    toy.save(changed)
    run(tmp_path / "run", str(changed))


def test_a_signal_during_an_evaluation_stops_after_the_next_step(backbone, scores, tmp_path):
    scores |= {2: lambda: interrupt() or 1.0}
    with pytest.raises(KeyboardInterrupt, match="saved step 3 of 6"):
        run(tmp_path, backbone, period=100)
    assert steps_saved(tmp_path) == [3]
    scores |= {2: 1.0, 6: lambda: interrupt() or 2.0}
    with pytest.raises(KeyboardInterrupt, match="saved step 6 of 6"):  # e.g. of the teachers
        run(tmp_path, backbone, period=100)
    assert_product_is_of(tmp_path, step=6)


def test_a_failing_evaluation_loses_nothing_and_is_made_up_for(
    whole, backbone, fetched, tmp_path, monkeypatch
):
    """In the last evaluation: its step is saved, the run is not finished, and nothing is redone."""
    evaluate, fails = evaluator.Evaluator.run, [True]

    def run_or_fail(of, *arguments, step, **options):
        if step == STEPS and fails.pop():
            raise UserError("no metric.")
        return evaluate(of, *arguments, step=step, **options)

    monkeypatch.setattr(evaluator.Evaluator, "run", run_or_fail)
    with pytest.raises(UserError, match="no metric"):
        run(tmp_path, backbone)
    assert steps_saved(tmp_path)[-1] == STEPS and not is_finished(tmp_path)
    fails.append(False)
    run(tmp_path, backbone)
    assert len(fetched) == STEPS and is_finished(tmp_path)
    for file in ("metrics.jsonl", "prompts.safetensors", "eval/toy_a.jsonl"):
        assert pathlib.Path(whole[0], file).read_bytes() == (tmp_path / file).read_bytes(), file


def rates(model_dir):
    lines = map(json.loads, (model_dir / "metrics.jsonl").read_text().splitlines())
    return [line["learning_rate/shared"] for line in lines if line["kind"] == "train"]


@pytest.mark.parametrize("end", [None, 8])
def test_a_run_with_more_steps_keeps_its_schedule_unless_told(backbone, end, tmp_path, capfd):
    def run_for(steps, end=None):
        schedule = create_learning_rate_scheduler(warmup_steps=2, total_steps=end)
        run(
            tmp_path,
            backbone,
            total_steps=steps,
            infer_eval_dataset_cfg=None,
            trainer_cls=lambda: Trainer(learning_rate_fn=schedule),
        )

    run_for(4)
    capfd.readouterr()
    run_for(6, end)
    end = end or 4
    expected = [max(0, end - step) / (end - 2) for step in (4, 5)]
    np.testing.assert_allclose(np.array(rates(tmp_path)[4:]) / rates(tmp_path)[2], expected)
    note = "this run was started with, which ends at step 4; --gin.SCHEDULE_STEPS=6 has it end"
    assert (note in capfd.readouterr().err) == (end == 4)
    assert json.loads((tmp_path / "run.json").read_text())["schedule_steps"] == end


def test_without_a_seed_one_is_drawn_and_kept(backbone, fetched, scores, tmp_path):
    def unseeded(folder, random_seed):
        sampling = {"min_tasks_per_batch": 1, "batch_size": 8, "seed": None}
        mixture = bind_tasks(list(TASKS), module="toy_tasks", **sampling)
        cfg = dataset("train", mixture_or_task_name=mixture, seed=None)
        run(tmp_path / folder, backbone, train_dataset_cfg=cfg, random_seed=random_seed)
        return json.loads((tmp_path / folder / "run.json").read_text())["seed"]

    fetched.at = {4: interrupt}
    with pytest.raises(KeyboardInterrupt, match="saved step 4"):
        unseeded("drawn", None)
    seed = unseeded("drawn", None)
    assert unseeded("given", seed) == seed
    drawn, given = (checkpoint(tmp_path / folder, STEPS) for folder in ("drawn", "given"))
    for name, leaf in drawn.items():
        np.testing.assert_array_equal(leaf, given[name])
