"""More of training under T5X than equal numbers: resuming, stopping, other methods, bad input."""

import json
import pathlib
import re
import signal

import numpy as np
import pytest
import shell
from comparison import TOLERANCE, assert_equal_numbers, largest_differences, metrics

from mpt_jax import cli
from mpt_jax.engine.reporting.reporter import Reporter
from mpt_jax.errors import UserError
from mpt_jax.product import product_file

HERE = pathlib.Path(__file__).parent
TOY = HERE.parent / "tests/support/toy.gin"


@pytest.fixture(name="command", scope="module")
def _command(backbone):
    """The command line of a run without teachers: (engine, model_dir, *further arguments)."""

    def command(engine, model_dir, *arguments):
        return [
            "train",
            f"--engine={engine}",
            "--gin_file=gin/mpt_source.gin",
            "--gin_file=gin/methods/no_distillation.gin",
            f"--gin_file={TOY}",
            f"--gin_file={HERE / 'one_device.gin'}",
            f"--gin.INITIAL_CHECKPOINT_PATH={backbone}",
            "--gin.TRAIN_STEPS=8",
            f"--gin.MODEL_DIR={model_dir}",
            *arguments,
        ]

    return command


@pytest.fixture(name="whole", scope="module")
def _whole(command, tmp_path_factory):
    """A T5X run of 8 steps that never stopped, evaluated and saved every 2."""
    folder = tmp_path_factory.mktemp("whole")
    shell.succeeds(*command("t5x", folder))
    return folder


def test_a_resumed_run_ends_as_one_that_never_stopped(command, whole, tmp_path):
    schedule = "--gin.SCHEDULE_STEPS=8"  # else it ends with the run as first started
    shell.succeeds(*command("t5x", tmp_path, schedule, "--gin.train.train.total_steps=4"))
    assert sorted(metrics(tmp_path))[-1] == (4, "train")
    status, _, err = shell.t5x(*command("t5x", tmp_path, schedule))
    assert status == 0, err[-3000:]
    assert set(assert_equal_numbers(whole, tmp_path).values()) == {0.0}

    told = [line for line in err.splitlines() if line.startswith(("training ", "  ", "finished "))]
    starts = ("training mpt: ", "  backbone  ", "  tasks     toy_a, toy_b: 48 training rows")
    ends = (f"  folder    {tmp_path}: 8 steps, from step 4", f"finished {tmp_path}: step 8, best ")
    assert len(told) == 5, told
    assert all(map(str.startswith, told, (*starts, *ends))), told


def test_a_run_that_stopped_in_its_last_evaluation_makes_up_for_it(
    command, whole, tmp_path, monkeypatch
):
    def is_finished():
        return json.loads((tmp_path / "run.json").read_text())["finished"]

    evaluation = Reporter.evaluation

    def fails_at_8(reporter, step, *found):
        if step == 8:
            raise UserError("no space.")
        evaluation(reporter, step, *found)

    monkeypatch.setattr(Reporter, "evaluation", fails_at_8)
    assert cli.main(command("t5x", tmp_path)) == 2
    assert not is_finished()
    shell.succeeds(*command("t5x", tmp_path))
    assert set(assert_equal_numbers(whole, tmp_path).values()) == {0.0}
    assert is_finished()


def test_the_comparison_sees_a_small_change(command, whole, tmp_path):
    """Equal numbers would mean nothing if they were equal whatever is run."""
    shell.succeeds(*command("t5x", tmp_path, "--gin.SHARED_LEARNING_RATE=0.301"))
    found = largest_differences(whole, tmp_path)
    assert found["prompts"] > TOLERANCE
    with pytest.raises(AssertionError):
        assert_equal_numbers(whole, tmp_path)


def test_a_finished_run_returns_at_once(command, whole, monkeypatch):
    monkeypatch.setattr(Reporter, "__init__", lambda *_: 1 / 0)
    assert cli.main(command("t5x", whole)) == 0


def test_a_signal_saves_and_the_same_command_goes_on(command, whole, tmp_path, monkeypatch, capsys):
    training = Reporter.training

    def stop_at_3(reporter, step, scalars):
        training(reporter, step, scalars)
        if step == 3:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Reporter, "training", stop_at_3)
    assert cli.main(command("t5x", tmp_path, "--gin.SAVE_PERIOD=1000")) == 130
    # A separate thread hears of the signal, perhaps when the next step has begun.
    told = rf"saved step [34] of 8 in {tmp_path}; to resume: t5x train --engine=t5x"
    assert re.search(told, capsys.readouterr().err)
    monkeypatch.undo()
    assert cli.main(command("t5x", tmp_path, "--gin.SAVE_PERIOD=1000")) == 0
    trained = {step: line for (step, kind), line in metrics(tmp_path).items() if kind == "train"}
    expected = {step: line for (step, kind), line in metrics(whole).items() if kind == "train"}
    assert trained == expected


def test_each_save_exports_until_there_is_an_evaluation(command, tmp_path):
    steps = []
    saved = product_file.save

    def noted(directory, bank, info, *name, **options):
        steps.append(info.step)
        return saved(directory, bank, info, *name, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(product_file, "save", noted)
        none = "--gin.train.train.infer_eval_dataset_cfg=None"
        assert cli.main(command("t5x", tmp_path, none)) == 0
    assert steps == [2, 4, 6, 8]


@pytest.mark.parametrize("method", ["adapter", "lora", "ia3", "full"])
def test_methods_that_tune_the_backbones_modules(method, command, tmp_path):
    changes = (
        f"--gin_file=gin/methods/{method}.gin",
        "--gin.DROPOUT_RATE=0",  # the engines draw it differently
        "--gin.TRAIN_STEPS=3",
        "--gin.train.train.infer_eval_dataset_cfg=None",
        "--gin.SAVE_PERIOD=3",
    )
    if method == "adapter":
        changes += ("--gin.adapter.Adapter.reduction=4",)
    for engine in ("mpt_jax", "t5x"):
        shell.succeeds(*command(engine, tmp_path / engine, *changes))
    if method != "full":
        assert_equal_numbers(tmp_path / "mpt_jax", tmp_path / "t5x")
    else:
        assert metrics(tmp_path / "mpt_jax") == metrics(tmp_path / "t5x")
        ours, real = (
            tmp_path / engine / "backbone" / "model.safetensors" for engine in ("mpt_jax", "t5x")
        )
        assert ours.read_bytes() == real.read_bytes()


# ------------------------------------------------------------------ bad input


def refused(*command):
    """What a command that ends with status 2 says."""
    status, _, err = shell.t5x(*command)
    assert status == 2, err[-3000:]
    return err


def test_an_engine_does_not_resume_the_others_run(command, whole, tmp_path):
    assert "holds checkpoints of --engine=t5x" in refused(*command("mpt_jax", whole))
    (tmp_path / "checkpoints" / "checkpoint_2").mkdir(parents=True)
    assert "holds checkpoints of --engine=mpt_jax" in refused(*command("t5x", tmp_path))


def test_periods_that_t5x_cannot_walk(command, tmp_path):
    periods = ("--gin.EVAL_PERIOD=2", "--gin.SAVE_PERIOD=3")
    message = refused(*command("t5x", tmp_path / "run", *periods))
    assert "EVAL_PERIOD = 2 and SAVE_PERIOD = 3" in message
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite(command, tmp_path):
    message = refused(*command("t5x", tmp_path, "--gin.optimizers.adamw.learning_rates=1e30"))
    assert "the loss or its gradient is not finite" in message


def test_without_checkpoints_and_evaluations_the_end_is_exported(command, tmp_path):
    """T5X's None (no checkpoint, a seed by chance, whole batches) and macros, on both engines."""
    unsaved = (
        "--gin.DROPOUT_RATE=0.1",
        "--gin.LABEL_SMOOTHING=0.1",
        "--gin.Z_LOSS=1e-3",
        "--gin.utils.CheckpointConfig.save=None",
        "--gin.train.train.infer_eval_dataset_cfg=None",
        "--gin.train.train.stats_period=None",
        "--gin.trainer.Trainer.num_microbatches=None",
        "--gin.RANDOM_SEED=None",
        "--gin.TRAIN_STEPS=3",
    )
    shell.succeeds(*command("t5x", tmp_path, *unsaved))
    assert product_file.load(str(tmp_path))[1].step == 3
    assert not list(tmp_path.glob("checkpoint*"))
    seed = json.loads((tmp_path / "run.json").read_text())["seed"]
    again = f"--gin.train.train.random_seed={seed}"
    shell.succeeds(*command("mpt_jax", tmp_path / "again", *unsaved, again))
    ours, real = (product_file.load(str(folder))[0] for folder in (tmp_path / "again", tmp_path))
    for leaf in real:
        np.testing.assert_allclose(ours[leaf], real[leaf], rtol=TOLERANCE)
