"""The rivals of MPT by their gin files: a target run, and the evaluation of its product."""

import collections
import csv
import json
import pathlib
import statistics

import numpy as np
import pytest
import sklearn.metrics
import toy
import toy_tasks

from mpt_jax import cli, files
from mpt_jax.product import product_file
from mpt_jax.tasks import info

TOY = pathlib.Path(toy.__file__).parent / "toy.gin"
METHODS = {
    "spot": "prompt_tuning",
    "spot_similar": "prompt_tuning",
    "attempt": "attempt",
    "dept": "dept",
    "dpt": "dpt",
    "ulpt": "ulpt",
    "residual": "residual",
    "adapter": "adapter",
    "bitfit": "bitfit",
    "lora": "lora",
    "ia3": "ia3",
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
        toy.save("backbone")
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
    if overlay in ("spot", "attempt"):
        settings["SOURCE_TASK"] = "toy_a"
    if overlay == "adapter":
        settings["adapter__Adapter__reduction"] = 4
    given = ("gin/mpt_target.gin", f"gin/methods/{overlay}.gin", TOY)
    run = f"run_{overlay}"
    assert t5x("train", *given, MODEL_DIR=run, TRAIN_STEPS=2, **settings) == 0

    record = json.loads((work / run / "run.json").read_text())
    info = product_file.load(run)[1]
    assert record["method"] == record["label"] == info.method == METHODS[overlay]
    assert info.tasks == ("toy_a", "toy_b")

    backbone = {"INITIAL_CHECKPOINT_PATH": "backbone"}
    places = {"PROMPTS": run, "EVAL_OUTPUT_DIR": f"{run}/again", "EVAL_SPLIT": "validation"}
    assert t5x("eval", "gin/mpt_eval.gin", TOY, **backbone, **places) == 0
    found = files.read_json(work / run / "again/metrics.json")
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
    asked = {"EVAL_OUTPUT_DIR": place, "RANK_LABELS": ranked, "CONFUSION": True}
    assert evaluate(overlay, **asked) == 0
    printed = capsys.readouterr().out.splitlines()
    found = json.loads((work / place / "metrics.json").read_text())
    for task, words in (("toy_a", toy_tasks.WORDS), ("toy_b", ("yes", "no"))):
        text = (work / place / f"{task}.jsonl").read_text()
        rows = [json.loads(line) for line in text.splitlines()]
        told = found["evaluated"]["answers"][task]
        invalid = [row["predictions"] not in words for row in rows]
        assert told["invalid_answers"] == pytest.approx(100 * np.mean(invalid))
        commonest = collections.Counter(row["predictions"] for row in rows).most_common(1)[0][1]
        assert told["same_answer"] == pytest.approx(100 * commonest / len(rows))
        targets = [row["targets"] for row in rows]
        most = statistics.mode(targets)
        constant = toy_tasks.likeness(targets, [most] * len(rows))["likeness"]
        assert told["constant_answer"] == pytest.approx(constant)
        assert any(
            f"{task} " in line and f"constant_answer {constant:.2f}" in line for line in printed
        )
        predictions = [row["predictions"] for row in rows]
        with (work / place / f"{task}.confusion.csv").open() as file:
            head, *lines = csv.reader(file)
        assert head[1:-4] == [*words, "no label word"] and [line[0] for line in lines] == [*words]
        answers = [answer if answer in words else "none" for answer in predictions]
        counts = sklearn.metrics.confusion_matrix(targets, answers, labels=[*words, "none"])
        np.testing.assert_array_equal([list(map(int, x[1:-4])) for x in lines], counts[:-1])
        scores = sklearn.metrics.classification_report(
            targets, answers, labels=words, output_dict=True, zero_division=0
        )
        for word, line in zip(words, lines, strict=True):
            precision, recall, f1, support = map(float, line[-4:])
            for found_here, name in (
                (precision, "precision"),
                (recall, "recall"),
                (f1, "f1-score"),
            ):
                assert found_here == pytest.approx(100 * scores[word][name], abs=1e-4)
            assert support == scores[word]["support"]
            told = (
                f"  '{word}' precision {precision:.2f}  recall {recall:.2f}  f1 {f1:.2f}  support"
            )
            assert sum(line.startswith(told) for line in printed) == 1
        if not ranked:
            continue
        assert not any(invalid)
        (work / "asked.txt").write_text("".join(f"{row['inputs']}\n" for row in rows))
        settings = {"INITIAL_CHECKPOINT_PATH": "backbone", "PROMPTS": "first", "TASK": task}
        settings |= {"INPUTS": "asked.txt", "RANK_LABELS": True}
        assert t5x("infer", "gin/mpt_infer.gin", overlay, **settings) == 0
        answers = [json.loads(line)["prediction"] for line in capsys.readouterr().out.splitlines()]
        assert answers == predictions


def test_a_report_shows_confusions_and_a_later_evaluation_takes_them_back(work, overlay, capsys):
    assert evaluate(overlay, RANK_LABELS=True, CONFUSION=True) == 0
    (work / "first/test/toy_b.confusion.csv").write_text("not this")
    assert cli.main(["report", "first"]) == 0
    page = (work / "first/report/report.html").read_text()
    assert "Confusion of labels: toy_a, all training examples" in page
    assert "toy_b.confusion.csv is not a confusion matrix" in page
    assert (work / "first/report/confusion_all_examples_toy_a.png").exists()
    with (work / "first/report/confusion.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["task"], row["label"]) for row in rows] == [("toy_a", w) for w in toy_tasks.WORDS]
    assert sum(int(row["support"]) for row in rows) == toy_tasks.ROWS["test"]

    assert evaluate(overlay, MIXTURE_OR_TASK_NAME="toy_a") == 0
    assert not (work / "first/test/toy_a.confusion.csv").exists()
    assert (work / "first/test/toy_b.confusion.csv").exists()  # of an evaluation of its own
    assert "precision" not in capsys.readouterr().out.rpartition("toy_a likeness")[2]


def test_a_confusion_needs_label_words(work, overlay, monkeypatch, capsys):
    monkeypatch.setitem(info._INFO, "toy_a", info.TaskInfo((), "likeness"))
    assert evaluate(overlay, MIXTURE_OR_TASK_NAME="toy_a", CONFUSION=True) == 2
    assert "CONFUSION: of toy_a no task has label words" in capsys.readouterr().err
