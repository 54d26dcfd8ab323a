"""A task on a user's own files through training, evaluation and prediction, on the toy model."""

import json
import pathlib
import re

import pytest
import toy

from mpt_jax import cli, errors
from mpt_jax.product import product_file

TESTS = pathlib.Path(__file__).parent
DOCUMENT = (TESTS.parent / "docs" / "local_data.md").read_text(encoding="utf-8")
TRAIN = (
    "train",
    "--gin_file=gin/mpt_target.gin",
    "--gin_file=gin/methods/prompt_tuning.gin",
    "--gin.MODEL_DIR=run",
)
EVAL = ("eval", "--gin_file=gin/mpt_eval.gin", "--gin.PROMPTS=run", "--gin.EVAL_OUTPUT_DIR=out")
INFER = ("infer", "--gin_file=gin/mpt_infer.gin", "--gin.PROMPTS=run")


@pytest.fixture(name="work", scope="module")
def _work(tmp_path_factory):
    """A folder with the files of the document, a toy backbone, and a finished run."""
    work = tmp_path_factory.mktemp("local")
    toy.save(work / "backbone")
    for name, content in re.findall(r"```\w+ (\S+)\n(.+?)```", DOCUMENT, re.S):
        (work / name).write_text(content, encoding="utf-8")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(work)
        assert t5x(*TRAIN) == 0
    return work


def t5x(command, run_file, *arguments):
    """A command on the toy, whose overlay comes before that of the tasks; bytes are its tokens."""
    overlays = [f"--gin_file={TESTS / 'support/toy.gin'}", "--gin_file=reviews.gin"]
    sizes = {"INITIAL_CHECKPOINT_PATH": "backbone", "EVAL_BATCH_SIZE": 12}
    sizes["TASK_FEATURE_LENGTHS"] = "{'inputs': 48, 'targets': 9}"
    if command == "train":
        sizes |= {"TRAIN_STEPS": 2, "WARMUP_STEPS": 1, "BATCH_SIZE": 8, "PROMPT_LENGTH": 4}
    settings = [f"--gin.{name}={value}" for name, value in sizes.items()]
    return cli.main([command, run_file, *overlays, *settings, *arguments])


def test_the_prompt_file_knows_the_task(work):
    info = product_file.load(str(work / "run"))[1]
    assert info.tasks == ("reviews",)
    assert info.label_words == {"reviews": ["negative", "positive"]}
    assert set(info.metrics["reviews"]) == {"accuracy", "macro_f1"}


def test_evaluation_reads_the_test_split(work, monkeypatch, capsys):
    monkeypatch.chdir(work)
    assert t5x(*EVAL) == 0
    assert capsys.readouterr().out.startswith("reviews accuracy ")
    lines = pathlib.Path("out/reviews.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [(row["inputs"], row["targets"]) for row in rows] == [
        ("review: Cheap, and it shows.", "negative"),
        ("review: I bought two more.", "positive"),
    ]


def test_prediction(work, monkeypatch, capsys):
    monkeypatch.chdir(work)
    pathlib.Path("lines.txt").write_text("review: I like it.\n", encoding="utf-8")
    assert t5x(*INFER, "--gin.INPUTS=lines.txt") == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["task"], record["input"]) == ("reviews", "review: I like it.")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            (*TRAIN, "--gin.reviews/local.Task.inputs=text: {text}"),
            "local.Task.inputs: 'review: {text}' there, ",
        ),
        ((*TRAIN, "--gin.reviews/local.Task.inptus=text: {text}"), "Did you mean 'inputs'"),
        ((*TRAIN, "--gin.MIXTURE_OR_TASK_NAME=review"), "'review'. Did you mean 'reviews'"),
        ((*EVAL, "--gin.EVAL_SPLIT=tset"), "no split 'tset'; it has train, validation, test"),
    ],
)
def test_refused(arguments, expected, work, monkeypatch, capsys):
    monkeypatch.chdir(work)
    assert t5x(*arguments) == errors.EXIT_BAD_INPUT
    assert expected in capsys.readouterr().err


def test_the_documented_report_of_bad_rows(work, tmp_path, monkeypatch, capsys):
    for path in [*work.glob("*.gin"), *work.glob("*.csv")]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    lines = (work / "reviews.jsonl").read_text(encoding="utf-8").splitlines()
    lines[2] = lines[2].replace('"stars": 1', '"stars": 2')
    lines[3] = lines[3].replace("stars", "star")
    (tmp_path / "reviews.jsonl").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["tasks", "reviews", "--gin_file=reviews.gin"]) == errors.EXIT_BAD_INPUT
    assert f"```\n{capsys.readouterr().err}```" in DOCUMENT
    skip = "--gin.local.Task.skip_bad_rows=True"
    assert cli.main(["tasks", "reviews", "--gin_file=reviews.gin", skip]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("reviews.jsonl (task 'reviews'): 2 bad of 8 rows skipped:\n  line 3: ")
    assert re.search(r"\ntrain +inputs +5 ", out)
