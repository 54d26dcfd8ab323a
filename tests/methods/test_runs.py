"""The rivals of MPT by their gin files: a target run, and the evaluation of its product."""

import csv
import json
import pathlib
import statistics

import numpy as np
import pytest
import toy
import toy_tasks

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
    found = json.loads((work / run / "again/metrics.json").read_text())
    assert found.pop("evaluated")["split"] == "validation" and found == info.metrics


@pytest.fixture(name="overlay")
def _overlay(work, monkeypatch):
    """The toy's gin file without what it says of a training run's tasks and lengths."""
    monkeypatch.chdir(work)
    lines = TOY.read_text().splitlines()
    own = ("MIXTURE_OR_TASK_NAME", "TASK_FEATURE_LENGTHS")
    path = work / "overlay.gin"
    path.write_text("\n".join(line for line in lines if not line.startswith(own)))
    return path


def evaluate(overlay, *files, **macros):
    """`t5x eval` of the run "first"."""
    settings = {"INITIAL_CHECKPOINT_PATH": "backbone", "PROMPTS": "first"} | macros
    return t5x("eval", "gin/mpt_eval.gin", overlay, *files, **settings)


def test_evaluations_land_in_the_runs_folder_by_split_and_in_the_report(work, overlay, capsys):
    assert evaluate(overlay, EVAL_SPLIT="validation") == 0
    assert evaluate(overlay) == 0
    validation, test = (
        json.loads((work / "first" / split / "metrics.json").read_text())
        for split in ("validation", "test")
    )
    assert [x["evaluated"]["split"] for x in (validation, test)] == ["validation", "test"]
    assert test["mean"] != validation["mean"]

    assert cli.main(["report", "first"]) == 0
    with (work / "first/report/runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["task"]: row["split"] for row in rows} == {"toy_a": "test", "toy_b": "test"}
    for row in rows:
        assert float(row["score"]) == pytest.approx(test[row["task"]]["likeness"], abs=1e-3)


def test_tasks_are_evaluated_together_or_one_by_one(work, overlay, capsys):
    assert evaluate(overlay, EVAL_SPLIT="test") == 0
    together = (work / "first/test/metrics.json").read_text()
    (work / "first/test/metrics.json").unlink()
    for task in ("toy_a", "toy_b"):
        capsys.readouterr()
        assert evaluate(overlay, MIXTURE_OR_TASK_NAME=task) == 0
        printed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
        assert printed == [task, "mean"]
    assert json.loads((work / "first/test/metrics.json").read_text()) == json.loads(together)

    assert evaluate(overlay, MIXTURE_OR_TASK_NAME="toy_long") == 2
    assert "PROMPTS was trained on toy_a, toy_b: name some" in capsys.readouterr().err
    assert evaluate(overlay, MIXTURE_OR_TASK_NAME="toy_c") == 2
    assert "Unknown task or mixture 'toy_c'" in capsys.readouterr().err


def test_the_prompt_file_says_how_long_texts_may_be(work, overlay, capsys):
    settings = {"INITIAL_CHECKPOINT_PATH": "backbone", "PROMPTS": "first", "TASK": "toy_a"}
    (work / "lines.txt").write_text("eleven byte\ntwelve bytes\n")  # 12 tokens, and 13
    files = ("gin/mpt_infer.gin", overlay)
    suite = "gin/suites/mini_sources.gin"  # its lengths are those of other runs
    for more in ((), (suite,)):
        assert t5x("infer", *files, *more, INPUTS="lines.txt", OUTPUT=None, **settings) == 0
        err = capsys.readouterr().err
        assert "1 of 2 texts were longer than 12 tokens" in err and "LENGTHS" not in err
    given = {"TASK_FEATURE_LENGTHS": "{'inputs': 16, 'targets': 6}"}
    assert t5x("infer", *files, INPUTS="lines.txt", OUTPUT=None, **settings, **given) == 0
    err = capsys.readouterr().err
    assert "'inputs': 16" in err and "was trained with {'inputs': 12" in err
    assert "longer than" not in err


@pytest.mark.parametrize("ranked", [False, True])
def test_an_evaluation_says_what_its_answers_are(work, overlay, capsys, ranked):
    place = f"answers_{ranked}"
    assert evaluate(overlay, EVAL_OUTPUT_DIR=place, RANK_LABELS=ranked) == 0
    printed = capsys.readouterr().out.splitlines()
    found = json.loads((work / place / "metrics.json").read_text())
    for task, words in (("toy_a", toy_tasks.WORDS), ("toy_b", ("yes", "no"))):
        text = (work / place / f"{task}.jsonl").read_text()
        rows = [json.loads(line) for line in text.splitlines()]
        told = found["evaluated"]["answers"][task]
        invalid = [row["predictions"] not in words for row in rows]
        assert told["invalid_answers"] == pytest.approx(100 * np.mean(invalid))
        targets = [row["targets"] for row in rows]
        most = statistics.mode(targets)
        constant = toy_tasks.likeness(targets, [most] * len(rows))["likeness"]
        assert told["constant_answer"] == pytest.approx(constant)
        assert any(
            f"{task} " in line and f"constant_answer {constant:.2f}" in line for line in printed
        )
        if not ranked:
            continue
        assert not any(invalid)
        (work / "asked.txt").write_text("".join(f"{row['inputs']}\n" for row in rows))
        settings = {"INITIAL_CHECKPOINT_PATH": "backbone", "PROMPTS": "first", "TASK": task}
        settings |= {"INPUTS": "asked.txt", "RANK_LABELS": True}
        assert t5x("infer", "gin/mpt_infer.gin", overlay, **settings) == 0
        answers = [json.loads(line)["prediction"] for line in capsys.readouterr().out.splitlines()]
        assert answers == [row["predictions"] for row in rows]
