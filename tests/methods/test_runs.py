"""The rivals of MPT by their gin files: a target run, and the evaluation of its product."""

import json
import pathlib

import pytest
import toy

from mpt_jax import cli, prompt_file
from mpt_jax.backbone import store

TOY = pathlib.Path(toy.__file__).parent / "toy.gin"
METHODS = {
    "spot": "prompt_tuning",
    "spot_similar": "prompt_tuning",
    "attempt": "attempt",
    "adapter": "adapter",
    "bitfit": "bitfit",
    "full": "full",
}


def t5x(command, *files, **macros):
    """Runs `t5x COMMAND` on the toy in this process; a dot in a name is written as two _."""
    arguments = [f"--gin_file={file}" for file in files]
    arguments += [f"--gin.{name.replace('__', '.')}={value}" for name, value in macros.items()]
    return cli.main([command, *arguments])


@pytest.fixture(scope="module", name="work")
def _work(tmp_path_factory):
    """A folder with a backbone, a source run, and a short run of prompt tuning."""
    work = tmp_path_factory.mktemp("work")
    common = {"INITIAL_CHECKPOINT_PATH": "backbone", "TRAIN_STEPS": 2}
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(work)
        store.save("backbone", toy.backbone(), toy.CONFIG)
        assert t5x("train", "gin/mpt_source.gin", TOY, MODEL_DIR="source", **common) == 0
        first = ("gin/mpt_target.gin", "gin/methods/prompt_tuning.gin", TOY)
        assert t5x("train", *first, MODEL_DIR="first", **common) == 0
    return work


@pytest.mark.parametrize("overlay", METHODS)
def test_train_and_evaluate(work, monkeypatch, overlay):
    monkeypatch.chdir(work)
    settings = {"INITIAL_CHECKPOINT_PATH": "backbone", "SOURCE_PROMPTS": "source"}
    if overlay == "spot_similar":
        settings["TARGET_PROMPTS"] = "first"
    if overlay == "adapter":
        settings["adapter__Adapter__reduction"] = 4
    files = ("gin/mpt_target.gin", f"gin/methods/{overlay}.gin", TOY)
    run = f"run_{overlay}"
    assert t5x("train", *files, MODEL_DIR=run, TRAIN_STEPS=2, **settings) == 0

    record = json.loads((work / run / "run.json").read_text())
    info = prompt_file.load(run)[1]
    assert record["method"] == record["label"] == info.method == METHODS[overlay]
    assert info.tasks == ("toy_a", "toy_b")

    backbone = {"INITIAL_CHECKPOINT_PATH": "backbone"}
    places = {"PROMPTS": run, "EVAL_OUTPUT_DIR": f"{run}/again", "EVAL_SPLIT": "validation"}
    assert t5x("eval", "gin/mpt_eval.gin", TOY, **backbone, **places) == 0
    assert json.loads((work / run / "again/metrics.json").read_text()) == info.metrics
