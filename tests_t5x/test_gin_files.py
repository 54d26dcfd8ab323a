"""The shipped gin files on both engines: source run, target runs, evaluation, inference.

20 steps on one device and on data 2 × model 2; of the toy model, and of the mini backbone.
"""

import json
import pathlib

import pytest
import shell
from comparison import assert_equal_numbers

from mpt_jax import files
from mpt_jax.product import product_file
from mpt_jax.t5x.engines import ENGINES, OWN, T5X

HERE = pathlib.Path(__file__).parent
TOY = f"--gin_file={HERE.parent / 'tests/support/toy.gin'}"
MESHES = {  # overlay, shape
    "1 device": ("one_device.gin", (1, 1)),
    "data 2 × model 2": ("data_2_model_2.gin", (2, 2)),
}
STEPS = (
    "--gin.TRAIN_STEPS=20",
    "--gin.EVAL_PERIOD=10",
    "--gin.SAVE_PERIOD=20",
    "--gin.WARMUP_STEPS=4",
    "--gin.train.train.stats_period=1",
)


@pytest.fixture(name="mesh", scope="module", params=MESHES)
def _mesh(request):
    return request.param


@pytest.fixture(name="t5x", scope="module")
def _t5x(mesh, tmp_path_factory):
    """Runs a command on both engines, each with its own run folder; returns {engine: folder}."""
    root = tmp_path_factory.mktemp("runs")

    def run(command, gin_file, folder, *arguments, macro="MODEL_DIR"):
        folders = {engine: root / engine / folder for engine in ENGINES}
        for engine, path in folders.items():
            shell.succeeds(
                command,
                f"--engine={engine}",
                f"--gin_file={gin_file}",
                *arguments,
                f"--gin_file={HERE / MESHES[mesh][0]}",
                f"--gin.{macro}={path}",
            )
        return folders

    return run


@pytest.fixture(name="toys", scope="module")
def _toys(backbone):
    """The overlay of the toy model, on its backbone."""
    return (TOY, f"--gin.INITIAL_CHECKPOINT_PATH={backbone}")


@pytest.fixture(name="source", scope="module")
def _source(t5x, toys):
    return t5x("train", "gin/mpt_source.gin", "source", *toys, *STEPS)


@pytest.fixture(name="target", scope="module")
def _target(t5x, toys, source):
    return t5x(
        "train",
        "gin/mpt_target.gin",
        "target",
        *toys,
        *STEPS,
        f"--gin.SOURCE_PROMPTS={source[T5X]}",  # both go on from what T5X has trained
        "--gin.MIXTURE_OR_TASK_NAME=toy_b",
        "--gin.FEW_SHOT=16",
    )


def test_both_phases_of_source_training(source, mesh, record):
    teachers = {engine: folder / "teachers" for engine, folder in source.items()}
    record("teachers, toy", mesh, assert_equal_numbers(teachers[OWN], teachers[T5X]))
    record("source, toy", mesh, assert_equal_numbers(source[OWN], source[T5X]))
    layout = json.loads((source[T5X] / "checkpoint_20" / "state" / "_sharding").read_text())
    shapes = {tuple(json.loads(sharding)["shape"]) for sharding in layout.values()}
    assert shapes == {MESHES[mesh][1]}  # as T5X itself has written it
    assert product_file.load(str(source[T5X]))[1].tasks == ("toy_a", "toy_b")


def test_adaptation_to_one_task(target, mesh, record):
    record("target, toy", mesh, assert_equal_numbers(target[OWN], target[T5X]))


def test_joint_adaptation(t5x, toys, source, mesh, record):
    joint = t5x(
        "train",
        "gin/mpt_target.gin",
        "joint",
        *toys,
        *STEPS,
        f"--gin.SOURCE_PROMPTS={source[OWN]}",
        "--gin.trainer.Trainer.num_microbatches=2",
    )
    record("joint target, toy", mesh, assert_equal_numbers(joint[OWN], joint[T5X]))


def test_evaluation_and_inference_of_a_prompt_trained_under_t5x(t5x, toys, target, tmp_path):
    prompts = f"--gin.PROMPTS={target[T5X]}"
    evaluated = t5x("eval", "gin/mpt_eval.gin", "eval", *toys, prompts, macro="EVAL_OUTPUT_DIR")
    metrics = [files.read_json(folder / "metrics.json") for folder in evaluated.values()]
    assert all(found["evaluated"].pop("answers") is not None for found in metrics)  # our engine's
    assert metrics[0] == metrics[1]

    inputs = tmp_path / "lines.txt"
    inputs.write_text("".join(f"text {i} red\n" for i in range(14)))  # more than one batch
    predicted = t5x(
        "infer",
        "gin/mpt_infer.gin",
        "predictions.jsonl",
        *toys,
        prompts,
        f"--gin.INPUTS={inputs}",
        macro="OUTPUT",
    )
    ours, real = (
        [json.loads(line) for line in path.read_text().splitlines()] for path in predicted.values()
    )
    assert [line["input"] for line in real] == inputs.read_text().splitlines()
    for a, b in zip(ours, real, strict=True):
        assert a.pop("score") == pytest.approx(b.pop("score"), rel=1e-4)
        assert a == b


def test_the_mini_backbone(t5x, mesh, record):
    """As shipped, without evaluations, which the toy compares."""
    without_evaluation = "--gin.train.train.infer_eval_dataset_cfg=None"
    source = t5x("train", "gin/mpt_source.gin", "mini", *STEPS, without_evaluation)
    teachers = {engine: folder / "teachers" for engine, folder in source.items()}
    record("teachers, mini", mesh, assert_equal_numbers(teachers[OWN], teachers[T5X]))
    record("source, mini", mesh, assert_equal_numbers(source[OWN], source[T5X]))
    target = t5x(
        "train",
        "gin/mpt_target.gin",
        "mini_target",
        *STEPS,
        without_evaluation,
        f"--gin.SOURCE_PROMPTS={source[OWN]}",
        "--gin.FEW_SHOT=32",
    )
    record("target, mini", mesh, assert_equal_numbers(target[OWN], target[T5X]))
