"""The paper's suites from source training to evaluation, on a few rows and one layer."""

import json

import first_layers
import pytest

from mpt_jax import assets, cli
from mpt_jax.product import product_file
from mpt_jax.tasks import paper

UNEVALUATED = "--gin.train.train.infer_eval_dataset_cfg=None"  # 1,000 held-out rows take long
TRAINING = (
    "--gin.TRAIN_STEPS=2",
    "--gin.WARMUP_STEPS=1",
    "--gin.EVAL_PERIOD=2",
    "--gin.BATCH_SIZE=8",
    "--gin.PROMPT_LENGTH=4",
    "--gin.LENGTH_BUCKETS=None",
)
FEW = (
    "--gin.EVAL_BATCH_SIZE=32",
    "--gin.TASK_FEATURE_LENGTHS={'inputs': 48, 'targets': 24}",
)


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(name="t5x")
def _t5x(paper_data_dir, tmp_path, monkeypatch):
    """Runs `t5x COMMAND` on gin files and arguments in an empty folder."""
    monkeypatch.chdir(tmp_path)
    first_layers.copy(assets.path("mini"), tmp_path / "backbone")
    backbone = ["INITIAL_CHECKPOINT_PATH=backbone", *first_layers.SETTINGS]
    given = [f"--gin.{setting}" for setting in (f"DATA_DIR={paper_data_dir}", *backbone)]

    def run(command, *arguments):
        files = [f"--gin_file=gin/{a}" if a.endswith(".gin") else a for a in arguments]
        few = (*FEW, *TRAINING) if command == "train" else FEW
        return cli.main([command, *files, *given, *few])

    return run


def test_from_sources_to_glue(t5x, tmp_path):
    untaught = "methods/no_distillation.gin"
    assert t5x("train", "mpt_source.gin", "suites/paper_sources.gin", untaught, UNEVALUATED) == 0
    source = product_file.load(str(tmp_path / "runs/mpt_source"))[1]
    assert sorted(source.tasks) == sorted(paper.SOURCES)

    assert t5x("train", "mpt_target.gin", "suites/glue.gin", UNEVALUATED) == 0
    target = product_file.load(str(tmp_path / "runs/mpt_target"))[1]
    assert sorted(target.tasks) == sorted(paper.SUITES["glue"])
    assert target.label_words["rte"] == ["entailment", "not_entailment"]
    assert "VERBALISER = 'words'" in (tmp_path / "runs/mpt_target/config.gin").read_text()

    prompts = "--gin.PROMPTS=runs/mpt_target"
    assert t5x("eval", "mpt_eval.gin", "suites/glue.gin", prompts) == 0
    rows = {
        task: lines_of(tmp_path / f"runs/mpt_target/test/{task}.jsonl") for task in target.tasks
    }
    assert {task: len(lines) for task, lines in rows.items()} == {
        **dict.fromkeys(("mnli", "qqp", "qnli", "sst2"), 5),
        **dict.fromkeys(("stsb", "mrpc", "rte", "cola"), 3),
    }
    assert all(lines[0]["inputs"].startswith(task) for task, lines in rows.items())

    (tmp_path / "lines.txt").write_text(rows["rte"][0]["inputs"])
    words = "--gin.INPUTS=lines.txt", "--gin.TASK=rte", "--gin.OUTPUT=predicted.jsonl"
    assert t5x("infer", "mpt_infer.gin", "suites/glue.gin", prompts, *words) == 0
    (predicted,) = lines_of(tmp_path / "predicted.jsonl")
    assert predicted["task"] == "rte"
    assert predicted["prediction"] == rows["rte"][0]["predictions"]


def test_data_that_are_not_prepared_end_the_run_with_one_message(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    files = ("mpt_target.gin", "suites/glue.gin", "methods/prompt_tuning.gin")
    arguments = [f"--gin_file=gin/{name}" for name in files]
    assert cli.main(["train", *arguments, f"--gin.DATA_DIR={tmp_path}"]) == 2
    message = capsys.readouterr().err
    assert "are not prepared" in message and "download_and_prepare()" in message
    assert not (tmp_path / "runs").exists()
