"""The loop on a toy model and toy tasks: resuming changes nothing, the best prompt is kept.

An interruption is a real signal, raised while the loop fetches a batch or evaluates.
"""

import functools
import json
import pathlib
import shutil
import signal
import subprocess
import sys

import gin
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
import seqio
import stand_in_bucket
import toy
from test_lock import HOLD

from mpt_jax import lock
from mpt_jax.backbone import store
from mpt_jax.engine import loop
from mpt_jax.engine.checkpoints import CheckpointConfig, SaveCheckpointConfig
from mpt_jax.engine.data import pipeline
from mpt_jax.engine.data.pipeline import DatasetConfig
from mpt_jax.engine.initialize import RestoreCheckpointConfig
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.engine.schedules import create_learning_rate_scheduler
from mpt_jax.errors import UserError
from mpt_jax.methods.mpt import MPT
from mpt_jax.product import prompt_file
from mpt_jax.report import folders as report_folders
from mpt_jax.tasks.mixtures import bind_tasks

TASKS = ("toy_a", "toy_b")
STEPS = 6


@pytest.fixture(autouse=True)
def _no_configuration():
    gin.clear_config()


@pytest.fixture(scope="module", name="backbone")
def _backbone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backbone")
    store.save(str(folder), toy.backbone(), toy.CONFIG)
    return str(folder)


def dataset(split, few_shot=None, **changes):
    sampling = {"min_tasks_per_batch": 1, "batch_size": 8} if split == "train" else {}
    fields = {
        "mixture_or_task_name": bind_tasks(
            list(TASKS), few_shot=few_shot, module="toy_tasks", **sampling
        ),
        "task_feature_lengths": {"inputs": 12, "targets": 6},
        "split": split,
        "batch_size": 8,
        "shuffle": split == "train",
        "seed": 0,
        "length_buckets": {"inputs": (8,)},
    }
    return DatasetConfig(**{**fields, **changes})


def run(model_dir, backbone, *, learning_rate=0.3, num_microbatches=1, period=3, **changes):
    """One run of `loop.train`, which saves every 3 steps and evaluates every 2."""
    schedule = create_learning_rate_scheduler(
        base_learning_rate=learning_rate, warmup_steps=2, total_steps=STEPS
    )
    arguments = {
        "model": toy.model(MPT(prompt_length=4), TASKS),
        "train_dataset_cfg": dataset("train"),
        "infer_eval_dataset_cfg": dataset("validation"),
        "checkpoint_cfg": CheckpointConfig(
            SaveCheckpointConfig(period, keep=None), RestoreCheckpointConfig(backbone)
        ),
        "partitioner": PjitPartitioner(devices=jax.devices()[:1]),
        "trainer_cls": lambda: loop.Trainer(num_microbatches, schedule),
        "model_dir": str(model_dir),
        "total_steps": STEPS,
        "eval_period": 2,
        "stats_period": 1,
    }
    return loop.train(**{**arguments, **changes})


def interrupt():
    signal.raise_signal(signal.SIGINT)


class Fetched(list):
    """The batches that the loop fetches; `at` maps a count of them to what happens then."""

    def __init__(self, monkeypatch):
        self.at = {}
        following = pipeline.DataIterator.__next__

        def fetch(iterator):
            self.append(following(iterator))
            self.at.get(len(self), lambda: None)()
            return self[-1]

        monkeypatch.setattr(pipeline.DataIterator, "__next__", fetch)


@pytest.fixture(name="fetched")
def _fetched(monkeypatch):
    return Fetched(monkeypatch)


@pytest.fixture(name="scores")
def _scores(monkeypatch):
    """{step: mean key metric or what raises}: an evaluation whose outcome the test decides."""
    scores = {}

    class Evaluator:
        key_metrics = dict.fromkeys(TASKS, "likeness")

        def __init__(self, *unused_args):
            pass

        def run(self, predict_fn, score_fn, *, step, output_dir):
            score = scores.get(step, 0.0)
            return {"mean": {"key_metric": score() if callable(score) else score}}

    monkeypatch.setattr(loop, "Evaluator", Evaluator)
    return scores


def contents(folder):
    return {p: p.read_bytes() for p in pathlib.Path(folder).rglob("*") if p.is_file()}


def steps_saved(model_dir):
    folders = pathlib.Path(model_dir, "checkpoints").iterdir()
    return sorted(int(folder.name.removeprefix("checkpoint_")) for folder in folders)


def checkpoint(model_dir, step):
    """{leaf: array} of a checkpoint, as orbax reads it."""
    folder = pathlib.Path(model_dir, "checkpoints", f"checkpoint_{step}").absolute()
    state = ocp.StandardCheckpointer().restore(folder / "state")
    return {name: np.asarray(leaf) for name, leaf in state.items()}


def is_finished(model_dir):
    return json.loads(pathlib.Path(model_dir, "run.json").read_text())["finished"]


def assert_product_is_of(model_dir, step):
    """The prompt file is whole, and the bank of a checkpoint."""
    bank, info = prompt_file.load(str(model_dir))
    assert info.step == step
    leaves = checkpoint(model_dir, step)
    for name, leaf in bank.items():
        assert np.isfinite(leaf).all()
        np.testing.assert_array_equal(leaf, leaves[f"trainable/prompt_bank/{name}"])


@pytest.fixture(scope="module", name="whole")
def _whole(tmp_path_factory, backbone):
    """(folder, batches) of a run that nothing stopped."""
    gin.clear_config()
    with pytest.MonkeyPatch.context() as monkeypatch:
        fetched = Fetched(monkeypatch)
        return run(tmp_path_factory.mktemp("whole"), backbone), fetched


def test_a_run_stopped_twice_ends_bit_identical_to_one_that_never_was(
    whole, backbone, fetched, tmp_path
):
    whole, expected = whole
    for stop in (3, 4):  # where checkpoints are due, and where an evaluation is
        fetched.at = {stop: interrupt}
        with pytest.raises(KeyboardInterrupt, match=f"saved step {stop} of {STEPS} in {tmp_path}"):
            run(tmp_path, backbone)
        assert len(fetched) == stop == steps_saved(tmp_path)[-1]
    fetched.at = {}
    run(tmp_path, backbone)

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
    bank, _ = prompt_file.load("gs://bucket/run")
    np.testing.assert_array_equal(bank["shared"], prompt_file.load(whole[0])[0]["shared"])
    assert [str(found) for found in report_folders.find(["gs://bucket"])] == ["gs://bucket/run"]


def test_a_folder_on_unknown_storage_is_refused(backbone, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="'ftp://host/run' is on no kind of storage"):
        run("ftp://host/run", backbone)
    assert not list(tmp_path.iterdir())


def test_a_run_says_what_it_trains_and_what_came_of_it(backbone, scores, tmp_path, capfd):
    scores.update({2: 40.0, 4: 60.0, 6: 50.0})
    run(tmp_path, backbone)
    lines = capfd.readouterr().err.splitlines()
    # A shared prompt of 4 x 16 numbers, and for each of two tasks 4 and 16.
    assert lines[0].startswith("training mpt: 104 numbers train, ")
    assert lines[1].split() == ["backbone", backbone]
    assert lines[2].split() == ["tasks", "toy_a,", "toy_b:", "48", "training", "rows"]
    assert lines[3].split() == ["folder", f"{tmp_path}:", "6", "steps"]
    assert " 1/6 " in lines[4]
    best = "best validation score 60.00 at step 4"
    assert lines[-1] == (
        f"finished {tmp_path}: step 6, {best}; product {tmp_path}/prompts.safetensors"
    )


@pytest.mark.parametrize("period", [None, 3])  # 3: a checkpoint is being written meanwhile
def test_a_run_whose_folder_is_deleted_ends_with_that(backbone, fetched, scores, tmp_path, period):
    folder = tmp_path / "run"
    fetched.at = {4: lambda: shutil.rmtree(folder, ignore_errors=True)}
    with pytest.raises(UserError) as stopped:
        run(folder, backbone, period=period)
    assert str(stopped.value) == (
        f"the run folder {folder} was deleted while the run was going, and its checkpoints with "
        "it: delete what is left of it, and start again."
    )
    assert len(fetched) == 4


def test_a_finished_run_returns_at_once_and_changes_nothing(
    whole, backbone, fetched, monkeypatch, capfd
):
    def reads_data(*unused_args, **unused_kwargs):
        raise AssertionError

    monkeypatch.setattr(pipeline, "train_batches", reads_data)
    before = contents(whole[0])
    assert run(whole[0], backbone) == whole[0]
    assert contents(whole[0]) == before
    assert f"note: the run in {whole[0]} is finished, so nothing is trained: step 6, best" in (
        capfd.readouterr().err
    )


def test_microbatches_learn_the_same(whole, backbone, tmp_path, scores):
    run(tmp_path, backbone, num_microbatches=2)
    leaves, others = (checkpoint(f, STEPS) for f in (whole[0], tmp_path))
    for name in leaves:
        if name.startswith("trainable/"):
            np.testing.assert_allclose(leaves[name], others[name], atol=1e-4)


def test_few_shot_sees_exactly_k_examples_of_each_task(backbone, fetched, tmp_path):
    few = dataset("train", few_shot=5)
    run(tmp_path, backbone, train_dataset_cfg=few, infer_eval_dataset_cfg=None)
    decode = seqio.ByteVocabulary().decode
    rows = [
        (int(task), decode(row.tolist()))
        for batch in fetched
        for task, row in zip(batch["task_ids"], batch["encoder_input_tokens"], strict=True)
    ]
    assert len(rows) == 8 * STEPS
    for task in (0, 1):
        assert len({text for owner, text in rows if owner == task}) == 5


def test_the_product_is_of_the_best_evaluation_also_after_a_resume(
    backbone, fetched, scores, tmp_path
):
    scores |= {2: 10.0, 4: 30.0, 6: 20.0}
    fetched.at = {5: interrupt}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, backbone, period=2)
    run(tmp_path, backbone, period=2)
    assert_product_is_of(tmp_path, step=4)
    assert is_finished(tmp_path)


def test_a_mean_that_is_not_finite_is_never_better(backbone, fetched, scores, tmp_path):
    scores |= {2: np.nan, 4: 30.0, 6: np.nan}
    fetched.at = {3: interrupt}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, backbone, period=2)
    run(tmp_path, backbone, period=2)
    assert_product_is_of(tmp_path, step=4)
    assert "NaN" not in (tmp_path / "metrics.jsonl").read_text()


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
            trainer_cls=lambda: loop.Trainer(learning_rate_fn=schedule),
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


def test_a_second_run_in_the_same_folder_is_refused_and_changes_nothing(backbone, tmp_path):
    taken = tmp_path / "run.lock"
    command = [sys.executable, "-c", HOLD, str(taken)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"another run is at work in {tmp_path}.*{process.pid}"):
            run(tmp_path, backbone)
        assert [path.name for path in tmp_path.iterdir()] == ["run.lock"]
        process.kill()
    run(tmp_path, backbone, total_steps=2, infer_eval_dataset_cfg=None)
    with lock.held(taken, "let go of."):
        pass


def test_without_evaluation_the_product_is_of_the_last_step(backbone, tmp_path):
    for _ in range(2):
        run(tmp_path, backbone, infer_eval_dataset_cfg=None)
        assert_product_is_of(tmp_path, step=STEPS)
        (tmp_path / "prompts.safetensors").unlink()


def test_a_lost_product_of_the_last_step_is_made_again(backbone, scores, tmp_path):
    scores |= {2: 1.0, 4: 2.0, 6: 3.0}
    run(tmp_path, backbone)
    before = contents(tmp_path)
    product = tmp_path / "prompts.safetensors"
    product.write_bytes(before[product][:100])
    run(tmp_path, backbone)
    after = contents(tmp_path)
    for path in (product, tmp_path / "prompts.json", tmp_path / "metrics.jsonl"):
        assert after[path] == before[path]


def test_a_lost_product_of_an_earlier_step_is_missed(backbone, fetched, scores, tmp_path, capfd):
    scores |= {2: 9.0, 4: 2.0, 6: 1.0}
    fetched.at = {5: interrupt}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, backbone, period=100)
    (tmp_path / "prompts.safetensors").unlink()
    run(tmp_path, backbone, period=100)
    assert "note: the product of step 2, the best so far, is gone" in capfd.readouterr().err
    assert_product_is_of(tmp_path, step=6)

    run(tmp_path, backbone, period=100, total_steps=7, eval_period=100)  # 7: 0.0
    (tmp_path / "prompts.safetensors").unlink()
    with pytest.raises(UserError, match=f"the run in {tmp_path} is finished, but its product"):
        run(tmp_path, backbone, period=100, total_steps=7, eval_period=100)


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
    params = jax.tree.map(np.array, toy.backbone())
    embedding = params["token_embedder"]["embedding"]
    embedding[7, 3] = np.nextafter(embedding[7, 3], np.inf)
    store.save(str(changed), params, toy.CONFIG)
    with pytest.raises(UserError, match="another backbone.*changed or damaged"):
        run(tmp_path / "run", str(changed))
    store.save(str(changed), toy.backbone(), toy.CONFIG)
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


def test_without_checkpoints_the_product_is_all_that_stays(backbone, fetched, tmp_path):
    unsaved = {
        "checkpoint_cfg": CheckpointConfig(None, RestoreCheckpointConfig(backbone)),
        "infer_eval_dataset_cfg": None,
        "stats_period": None,
        "num_microbatches": None,
    }
    fetched.at = {2: interrupt}
    with pytest.raises(KeyboardInterrupt, match="without checkpoints, at step 2 of"):
        run(tmp_path, backbone, **unsaved)
    run(tmp_path, backbone, **unsaved)  # from the start
    assert len(fetched) == 2 + STEPS
    assert steps_saved(tmp_path) == []
    assert prompt_file.load(str(tmp_path))[1].step == STEPS


def test_a_loss_that_is_not_finite_keeps_what_was_good(backbone, scores, tmp_path):
    with pytest.raises(UserError, match=r"not finite at step (\d).*tasks of its batch: .*toy_"):
        run(tmp_path, backbone, learning_rate=1e30, period=1, eval_period=1)
    last = steps_saved(tmp_path)[-1]
    assert 1 <= last < STEPS
    assert_product_is_of(tmp_path, step=1)
    losses = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1]["step"] == last


def test_a_failing_evaluation_loses_nothing_and_is_made_up_for(
    whole, backbone, fetched, tmp_path, monkeypatch
):
    """In the last evaluation: its step is saved, the run is not finished, and nothing is redone."""
    evaluate, fails = loop.Evaluator.run, [True]

    def run_or_fail(evaluator, *arguments, step, **options):
        if step == STEPS and fails.pop():
            raise UserError("no metric.")
        return evaluate(evaluator, *arguments, step=step, **options)

    monkeypatch.setattr(loop.Evaluator, "run", run_or_fail)
    with pytest.raises(UserError, match="no metric"):
        run(tmp_path, backbone)
    assert steps_saved(tmp_path)[-1] == STEPS and not is_finished(tmp_path)
    fails.append(False)
    run(tmp_path, backbone)
    assert len(fetched) == STEPS and is_finished(tmp_path)
    for file in ("metrics.jsonl", "prompts.safetensors", "eval/toy_a.jsonl"):
        assert pathlib.Path(whole[0], file).read_bytes() == (tmp_path / file).read_bytes(), file


def test_metrics_of_scores_are_computed(backbone, tmp_path, monkeypatch):
    """The score of a text is the log likelihood of its tokens, by the model that is trained."""

    def mean_score(targets, scores):
        return {"mean_score": np.mean(scores)}

    task = seqio.TaskRegistry.get("toy_a")
    ranked = task.replace(name="toy_ranked", metric_fns=[mean_score])
    monkeypatch.setitem(seqio.TaskRegistry._REGISTRY, "toy_ranked", ranked)
    cfg = functools.partial(
        dataset, mixture_or_task_name=bind_tasks(["toy_ranked"], module="toy_tasks")
    )
    model = toy.model(MPT(prompt_length=4), ("toy_ranked",))
    run(
        tmp_path,
        backbone,
        model=model,
        train_dataset_cfg=cfg("train"),
        infer_eval_dataset_cfg=cfg("validation"),
        learning_rate=1e-9,
        total_steps=1,
    )
    *_, line = (tmp_path / "metrics.jsonl").read_text().splitlines()
    found = json.loads(line)["toy_ranked/mean_score"]
    # Nothing was learnt: each byte of a label, and its end, costs about log(384).
    assert found == pytest.approx(-np.log(384) * 5.1, rel=0.25)
    assert json.loads((tmp_path / "run.json").read_text())["key_metrics"] == {
        "toy_ranked": "mean_score"
    }


def test_a_full_disk_for_the_product_is_one_message(backbone, scores, tmp_path, monkeypatch):
    def full(*unused_args, **unused_kwargs):
        raise UserError("cannot write prompts.safetensors: No space left on device.")

    scores |= {2: 1.0, 4: 2.0}
    run(tmp_path, backbone, period=2, total_steps=2)
    monkeypatch.setattr(prompt_file, "save", full)
    with pytest.raises(UserError, match="No space left on device"):
        run(tmp_path, backbone, period=2)
    assert steps_saved(tmp_path) == [2, 4]
    assert_product_is_of(tmp_path, step=2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"infer_eval_dataset_cfg": functools.partial(dataset, "validation", batch_size=6)},
            "Batch size 6 does not divide",
        ),
        (
            {"checkpoint_cfg": functools.partial(CheckpointConfig, SaveCheckpointConfig(1))},
            "INITIAL_CHECKPOINT_PATH is not set",
        ),
        (
            {
                "checkpoint_cfg": functools.partial(
                    CheckpointConfig, SaveCheckpointConfig(1), RestoreCheckpointConfig("/no/such")
                )
            },
            "INITIAL_CHECKPOINT_PATH '/no/such' does not exist",
        ),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(changes, message, backbone, tmp_path):
    made = {name: make() for name, make in changes.items()}
    with pytest.raises(UserError, match=message):
        run(tmp_path / "run", backbone, partitioner=PjitPartitioner(), **made)
    assert not (tmp_path / "run").exists()
