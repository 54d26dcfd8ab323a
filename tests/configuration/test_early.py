"""Names that are refused before TensorFlow and jax are imported, and those that must wait."""

import json
import subprocess
import sys

import pytest
import toy_prompts

from mpt_jax.configuration import early, gin_source
from mpt_jax.errors import UserError

HEAVY = ("jax", "tensorflow", "seqio")
RUN = f"""
import json, sys
from mpt_jax import cli
for argv in json.load(sys.stdin):
    print(cli.main(argv), [name for name in {HEAVY} if name in sys.modules])
"""
TRAIN, EVAL, INFER = (
    [command, f"--gin_file=gin/mpt_{file}.gin"]
    for command, file in (("train", "target"), ("eval", "eval"), ("infer", "infer"))
)
LINES = [*INFER, "--gin.INPUTS=lines.txt"]
WRONG = [
    ([*LINES, "--gin.PROMPTS=trained", "--gin.TASK=nlx"], "holds nli, qa, sst. Did you mean 'nli'"),
    ([*LINES, "--gin.PROMPTS=trained/gone"], "no prompt file at 'trained/gone'"),
    ([*EVAL, "--gin.PROMPTS=gone"], "no prompt file at 'gone'"),
    (["tasks", "mnly"], "'mnly'. Did you mean 'mnli'"),
    ([*TRAIN, "--gin.MIXTURE_OR_TASK_NAME=mini_rtee"], "'mini_rtee'. Did you mean 'mini_rte'"),
    ([*TRAIN, "--gin.MIXTURE_OR_TASK_NAME=['mini_rte', 'rte']"], "task or mixture 'rte'"),
    ([*TRAIN, "--gin.INITIAL_CHECKPOINT_PATH=gone"], "INITIAL_CHECKPOINT_PATH 'gone' does not"),
]


def test_wrong_names_are_refused_before_seconds_of_imports(tmp_path):
    (tmp_path / "trained").mkdir()
    toy_prompts.write(tmp_path / "trained")
    argvs = json.dumps([argv for argv, _ in WRONG])
    command = [sys.executable, "-c", RUN]
    result = subprocess.run(
        command, cwd=tmp_path, input=argvs, capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines() == ["2 []"] * len(WRONG)
    for line, (_, message) in zip(result.stderr.splitlines(), WRONG, strict=True):
        assert message in line


@pytest.fixture(name="check")
def _check(tmp_path, monkeypatch):
    """Checks a training run on a misspelt task, with more gin text and overrides."""
    monkeypatch.delitem(sys.modules, "seqio", raising=False)

    def check(text="", *overrides):
        own = tmp_path / "own.gin"
        own.write_text(f"from __gin__ import dynamic_registration\n{text}")
        given = ["MIXTURE_OR_TASK_NAME=mine", *overrides]
        source = gin_source.read(["gin/mpt_target.gin", str(own)], given, [])
        early.check("train", source)

    return check


def test_what_may_register_more_tasks_is_imported_first(check, monkeypatch):
    with pytest.raises(UserError, match="'mine'.* 21 are registered"):
        check()
    with pytest.raises(UserError, match="'mine'.* 53 are registered"):
        check("", "MIXTURE_OR_TASK_MODULE=['mpt_jax.tasks.mini', @paper.register()]")
    check("import my_tasks")
    check("", "MIXTURE_OR_TASK_MODULE=my_tasks")
    check("", "MIXTURE_OR_TASK_MODULE=['mpt_jax.tasks.mini', 'my_tasks']")
    check("", "MIXTURE_OR_TASK_MODULE=@local.register()")
    check("", "MIXTURE_OR_TASK_NAME=@local.names()")
    monkeypatch.setitem(sys.modules, "seqio", None)  # a program that has its own tasks
    check()


def test_a_damaged_product_is_left_to_who_reads_it_whole(tmp_path):
    (tmp_path / "prompts.safetensors").write_bytes(b"damaged")
    given = [f"PROMPTS={tmp_path}", "INPUTS=lines.txt", "TASK=nli"]
    early.check("infer", gin_source.read(["gin/mpt_infer.gin"], given, []))
