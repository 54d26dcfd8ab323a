"""Training under T5X beside equal numbers: resuming, stopping, other methods, bad input."""

import pathlib
import signal

import pytest
import toy
from comparison import TOLERANCE, assert_equal_numbers, largest_differences, metrics

from mpt_jax import cli, prompt_file
from mpt_jax.backbone import store
from mpt_jax.engine.reporter import Reporter

HERE = pathlib.Path(__file__).parent
TOY = HERE.parent / "tests" / "toy.gin"


@pytest.fixture(name="command", scope="module")
def _command(tmp_path_factory):
    """The command line of a run without teachers: (engine, model_dir, *further arguments)."""
    backbone = tmp_path_factory.mktemp("backbone")
    store.save(str(backbone), toy.backbone(), toy.CONFIG)

    def command(engine, model_dir, *arguments):
        return [
            "train",
            f"--engine={engine}",
            "--gin_file=gin/mpt_source.gin",
            "--gin_file=gin/methods/no_distillation.gin",
            f"--gin_file={TOY}",
            f"--gin_file={HERE / 'one_device.gin'}",
            f"--gin.INITIAL_CHECKPOINT_PATH={backbone}",
            "--gin.LENGTH_BUCKETS=None",
            "--gin.TRAIN_STEPS=8",
            f"--gin.MODEL_DIR={model_dir}",
            *arguments,
        ]

    return command


@pytest.fixture(name="whole", scope="module")
def _whole(command, tmp_path_factory):
    """A T5X run of 8 steps that never stopped, evaluated and saved every 2."""
    folder = tmp_path_factory.mktemp("whole")
    assert cli.main(command("t5x", folder)) == 0
    return folder


def test_a_resumed_run_ends_as_one_that_never_stopped(command, whole, tmp_path):
    assert cli.main(command("t5x", tmp_path, "--gin.train.train.total_steps=4")) == 0
    assert sorted(metrics(tmp_path))[-1] == (4, "train")
    assert cli.main(command("t5x", tmp_path)) == 0
    assert set(assert_equal_numbers(whole, tmp_path).values()) == {0.0}


def test_the_comparison_sees_a_small_change(command, whole, tmp_path):
    """Equal numbers would mean nothing if they were equal whatever is run."""
    assert cli.main(command("t5x", tmp_path, "--gin.SHARED_LEARNING_RATE=0.301")) == 0
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
    assert f"saved step 3 of 8 in {tmp_path}; to resume: t5x train --engine=t5x" in (
        capsys.readouterr().err
    )
    monkeypatch.undo()
    assert cli.main(command("t5x", tmp_path, "--gin.SAVE_PERIOD=1000")) == 0
    trained = {step: line for (step, kind), line in metrics(tmp_path).items() if kind == "train"}
    expected = {step: line for (step, kind), line in metrics(whole).items() if kind == "train"}
    assert trained == expected


def test_each_save_exports_until_there_is_an_evaluation(command, tmp_path):
    steps = []
    saved = prompt_file.save

    def noted(directory, bank, info, *name):
        steps.append(info.step)
        return saved(directory, bank, info, *name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prompt_file, "save", noted)
        none = "--gin.train.train.infer_eval_dataset_cfg=None"
        assert cli.main(command("t5x", tmp_path, none)) == 0
    assert steps == [2, 4, 6, 8]


@pytest.mark.parametrize("method", ["adapter", "full"])
def test_methods_that_tune_the_backbones_modules(method, command, tmp_path):
    changes = (
        f"--gin_file=gin/methods/{method}.gin",
        "--gin.TRAIN_STEPS=3",
        "--gin.train.train.infer_eval_dataset_cfg=None",
        "--gin.SAVE_PERIOD=3",
    )
    if method == "adapter":
        changes += ("--gin.adapter.Adapter.reduction=4",)
    for engine in ("mpt_jax", "t5x"):
        assert cli.main(command(engine, tmp_path / engine, *changes)) == 0
    if method == "adapter":
        assert_equal_numbers(tmp_path / "mpt_jax", tmp_path / "t5x")
    else:
        assert metrics(tmp_path / "mpt_jax") == metrics(tmp_path / "t5x")
        ours, real = (
            tmp_path / engine / "backbone" / "model.safetensors" for engine in ("mpt_jax", "t5x")
        )
        assert ours.read_bytes() == real.read_bytes()


# ------------------------------------------------------------------ bad input


def test_an_engine_does_not_resume_the_others_run(command, whole, tmp_path, capsys):
    assert cli.main(command("mpt_jax", whole)) == 2
    assert "holds checkpoints of --engine=t5x" in capsys.readouterr().err
    (tmp_path / "checkpoints" / "checkpoint_2").mkdir(parents=True)
    assert cli.main(command("t5x", tmp_path)) == 2
    assert "holds checkpoints of --engine=mpt_jax" in capsys.readouterr().err


def test_periods_that_t5x_cannot_walk(command, tmp_path, capsys):
    periods = ("--gin.EVAL_PERIOD=2", "--gin.SAVE_PERIOD=3")
    assert cli.main(command("t5x", tmp_path / "run", *periods)) == 2
    assert "EVAL_PERIOD = 2 and SAVE_PERIOD = 3" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite(command, tmp_path, capsys):
    assert cli.main(command("t5x", tmp_path, "--gin.optimizers.adamw.learning_rates=1e30")) == 2
    assert "the loss or its gradient is not finite" in capsys.readouterr().err


def test_length_buckets_are_said_to_have_no_effect(command, tmp_path, capsys):
    buckets = "--gin.LENGTH_BUCKETS={'inputs': (8,)}"
    assert cli.main(command("t5x", tmp_path, buckets, "--gin.train.train.total_steps=2")) == 0
    assert "length_buckets have no effect under T5X" in capsys.readouterr().err
