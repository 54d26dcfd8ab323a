"""`python -m t5x.main` with our gin files, as T5X users type it."""

import json
import pathlib

import pytest
import shell
from comparison import assert_equal_numbers

from mpt_jax import files

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent


@pytest.fixture(name="settings", scope="module")
def _settings(backbone):
    """Gin files and macros of the toy, in T5X's quoting, which ours understands too."""
    return (
        f"--gin_file={ROOT / 'tests/support/toy.gin'}",
        f"--gin_file={HERE / 'one_device.gin'}",
        f'--gin.INITIAL_CHECKPOINT_PATH="{backbone}"',
    )


def t5x_main(run_mode, gin_file, *arguments):
    """(exit status, standard output, standard error) of T5X's program."""
    files = (f"--gin_file={gin_file}", f"--gin_search_paths={ROOT}")
    return shell.run("-m", "t5x.main", f"--run_mode={run_mode}", *files, *arguments)


@pytest.fixture(name="source", scope="module")
def _source(settings, tmp_path_factory):
    """A source run of `python -m t5x.main`, both phases."""
    folder = tmp_path_factory.mktemp("main") / "run"
    status, _, err = t5x_main(
        "train", "gin/mpt_source.gin", *settings, f'--gin.MODEL_DIR="{folder}"'
    )
    assert status == 0, err[-3000:]
    return folder


def test_source_training_gives_our_numbers(source, settings, tmp_path):
    arguments = (*settings, f"--gin.MODEL_DIR={tmp_path}")
    shell.succeeds("train", "--gin_file=gin/mpt_source.gin", *arguments)
    assert_equal_numbers(tmp_path / "teachers", source / "teachers")
    assert_equal_numbers(tmp_path, source)


def test_evaluation_and_inference(source, settings, tmp_path):
    prompts = f'--gin.PROMPTS="{source}"'
    evaluation = (*settings, prompts, "--gin.CONFUSION=True")
    output = f'--gin.EVAL_OUTPUT_DIR="{tmp_path}"'
    status, out, err = t5x_main("eval", "gin/mpt_eval.gin", *evaluation, output)
    assert status == 0, err[-3000:]
    assert out.splitlines()[0].startswith("toy_a likeness ")
    written = files.read_json(tmp_path / "metrics.json")
    assert {"toy_a", "toy_b", "mean", "evaluated"} == written.keys()
    # SeqIO's own log has the evaluation alone, without what was tried before it.
    logs = [path.read_text() for path in (tmp_path / "inference_eval").glob("*-metrics.jsonl")]
    assert [log.count("\n") for log in logs] == [1, 1]
    ours = f'--gin.EVAL_OUTPUT_DIR="{tmp_path / "ours"}"'
    assert shell.succeeds("eval", "--gin_file=gin/mpt_eval.gin", *evaluation, ours) == out
    found = files.read_json(tmp_path / "ours/metrics.json")
    assert found["evaluated"] == written["evaluated"]
    for task in ("toy_a", "toy_b"):
        ours, theirs = (f / f"{task}.confusion.csv" for f in (tmp_path / "ours", tmp_path))
        assert ours.read_text() == theirs.read_text()

    (tmp_path / "lines.txt").write_text("av0 red\nav1 blue\n")
    inputs, task = f'--gin.INPUTS="{tmp_path / "lines.txt"}"', '--gin.TASK="toy_b"'
    status, out, err = t5x_main("infer", "gin/mpt_infer.gin", *settings, prompts, inputs, task)
    assert status == 0, err[-3000:]
    records = [json.loads(line) for line in out.splitlines()]
    assert [(r["task"], r["input"]) for r in records] == [
        ("toy_b", "av0 red"),
        ("toy_b", "av1 blue"),
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("LABEL_SMOTHING = 0.1", "nothing reads a macro 'LABEL_SMOTHING'"),
        (
            "from mpt_jax.t5x import utils\ntrain_eval/utils.DatasetConfig.split = 'test'",
            "no reference enters the scope 'train_eval'",
        ),
        (
            "from t5x import utils\nutils.SaveCheckpointConfig.dtype = 'bfloat16'",
            "t5x.utils.SaveCheckpointConfig.dtype is T5X's own and would have no effect",
        ),
        (
            "import __main__ as train_script\ntrain_script.train.total_steps = 7",
            "__main__.train.total_steps is T5X's own and would have no effect",
        ),
    ],
)
def test_settings_that_would_have_no_effect_are_refused(lines, message, settings, tmp_path):
    (tmp_path / "own.gin").write_text(f"from __gin__ import dynamic_registration\n{lines}\n")
    own = f"--gin_file={tmp_path / 'own.gin'}"
    arguments = (*settings, own, f'--gin.MODEL_DIR="{tmp_path / "run"}"')
    status, _, err = t5x_main("train", "gin/mpt_source.gin", *arguments)
    assert status == 1
    assert message in err
    assert not (tmp_path / "run").exists()
