"""Checkpoints and prompts between the engines: T5X's as a backbone of both, its prompts in use."""

import json
import pathlib

import pytest
import shell
from comparison import assert_equal_numbers

import mpt_jax

HERE = pathlib.Path(__file__).parent
TOY = f"--gin_file={HERE.parent / 'tests/support/toy.gin'}"
ONE_DEVICE = f"--gin_file={HERE / 'one_device.gin'}"
ENGINES = ("mpt_jax", "t5x")
FEW = ("--gin.TRAIN_STEPS=4", "--gin.WARMUP_STEPS=1", ONE_DEVICE)
UNEVALUATED = "--gin.train.train.infer_eval_dataset_cfg=None"


def prompt_tuning(engine, backbone, model_dir):
    """A run of 4 steps of the toy on the backbone at a path."""
    files = ("--gin_file=gin/mpt_target.gin", "--gin_file=gin/methods/prompt_tuning.gin", TOY)
    places = (f"--gin.INITIAL_CHECKPOINT_PATH={backbone}", f"--gin.MODEL_DIR={model_dir}")
    shell.succeeds("train", f"--engine={engine}", *files, *FEW, UNEVALUATED, *places)
    return model_dir


@pytest.fixture(name="expected", scope="module")
def _expected(backbone, tmp_path_factory):
    """The run of T5X on our own format; its checkpoints hold the backbone too."""
    return prompt_tuning("t5x", backbone, tmp_path_factory.mktemp("expected"))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_checkpoint_that_t5x_has_written_is_a_backbone(engine, expected, tmp_path):
    found = prompt_tuning(engine, expected / "checkpoint_4", tmp_path)
    assert set(assert_equal_numbers(expected, found).values()) <= {0.0, None}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_checkpoint_of_t5xs_first_layout_is_a_backbone(engine, backbone, expected, tmp_path):
    checkpoint = tmp_path / "checkpoint_0"
    shell.succeeds("convert", str(backbone), str(checkpoint), "--to=t5x")
    found = prompt_tuning(engine, checkpoint, tmp_path / "run")
    assert set(assert_equal_numbers(expected, found).values()) <= {0.0, None}


def test_prompts_trained_under_t5x_answer_alike_everywhere(tmp_path):
    run = tmp_path / "run"
    files = ("--gin_file=gin/mpt_target.gin", "--gin_file=gin/methods/prompt_tuning.gin")
    shell.succeeds("train", "--engine=t5x", *files, *FEW, UNEVALUATED, f"--gin.MODEL_DIR={run}")
    texts = [f"premise: anna sold {i} apples . hypothesis: anna sold apples ." for i in range(3)]
    (tmp_path / "lines.txt").write_text("\n".join(texts) + "\n")
    answers = []
    for engine in ENGINES:
        output = tmp_path / f"{engine}.jsonl"
        places = {"PROMPTS": run, "INPUTS": tmp_path / "lines.txt", "OUTPUT": output}
        macros = [f"--gin.{name}={value}" for name, value in places.items()]
        files = ("--gin_file=gin/mpt_infer.gin", ONE_DEVICE)
        shell.succeeds("infer", f"--engine={engine}", *files, *macros)
        lines = map(json.loads, output.read_text().splitlines())
        answers.append([line["prediction"] for line in lines])
    assert answers[0] == answers[1] == mpt_jax.load("mini", str(run)).predict(texts)
