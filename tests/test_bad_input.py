"""Bad input to the whole command: one message that names it, exit status 2, nothing damaged.

The commands run in this process, on the shipped gin files with the toy overlay (toy.gin). What
the arguments alone can get wrong is in test_cli.py.
"""

import dataclasses
import os
import pathlib
import shlex
import shutil
import signal
import subprocess

import numpy as np
import pytest
import toy

from mpt_jax import cli, errors
from mpt_jax.engine.data import pipeline
from mpt_jax.product import product_file

TOY = pathlib.Path(__file__).parent / "support/toy.gin"
SOURCE, TARGET = ("train", "gin/mpt_source.gin"), ("train", "gin/mpt_target.gin")
EVAL, INFER = ("eval", "gin/mpt_eval.gin"), ("infer", "gin/mpt_infer.gin")


def argv(run, **macros):
    """The arguments of a command on the toy; `macros` by name, a dot in it written as two _."""
    overrides = [f"--gin.{name.replace('__', '.')}={value}" for name, value in macros.items()]
    return [run[0], f"--gin_file={run[1]}", f"--gin_file={TOY}", *overrides]


@pytest.fixture(scope="module", name="work")
def _work(tmp_path_factory):
    """A folder with a backbone, a finished source run, and inputs."""
    work = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(work)
        toy.save("backbone")
        finished = argv(
            SOURCE, MODEL_DIR="source", TRAIN_STEPS=2, INITIAL_CHECKPOINT_PATH="backbone"
        )
        assert cli.main(finished) == 0
    (work / "lines.txt").write_text("one\ntwo\n")
    (work / "file").write_text("not a folder")
    return work


@pytest.fixture(name="refused")
def _refused(work, monkeypatch, capfd):
    """Runs a command that must be refused; returns its message. `may_change`: a file's name."""
    monkeypatch.chdir(work)

    def run(which, may_change=None, **macros):
        defaults = {"INITIAL_CHECKPOINT_PATH": "backbone"}
        defaults |= {"PROMPTS": "source"} if which in (EVAL, INFER) else {"MODEL_DIR": "new"}
        defaults |= {"INPUTS": "lines.txt", "TASK": "toy_a"} if which == INFER else {}
        defaults |= {"SOURCE_PROMPTS": "source"} if which == TARGET else {}
        before = contents(work)
        capfd.readouterr()
        assert cli.main(argv(which, **{**defaults, **macros})) == errors.EXIT_BAD_INPUT
        out, err = capfd.readouterr()
        before_error, _, message = err.partition("t5x: error: ")
        assert message and not out
        assert "Traceback" not in err and "WARNING" not in err
        after = contents(work)
        changed = {path.name for path in before if after.get(path) != before[path]}
        assert changed <= {may_change}
        shutil.rmtree(work / "new", ignore_errors=True)
        return message

    return run


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def damaged(work, name, damage):
    """A copy of the source run whose prompt file was changed by `damage(bytes)`."""
    folder = work / name
    folder.mkdir()
    whole = (work / "source" / "prompts.safetensors").read_bytes()
    (folder / "prompts.safetensors").write_bytes(damage(whole))
    return name


def rewritten(work, name, **facts):
    """A whole prompt file that differs from the source run's in some facts."""
    bank, info = product_file.load(str(work / "source"))
    info = dataclasses.replace(info, **facts)
    (work / name).mkdir(exist_ok=True)
    ends = {"shared": info.width, "task_v": info.width}
    cut = {
        leaf: np.ascontiguousarray(x[..., : ends.get(leaf, x.shape[-1])])
        for leaf, x in bank.items()
    }
    product_file.save(str(work / name), cut, info)
    return name


@pytest.mark.parametrize(
    ("which", "macros", "expected"),
    [
        # gin
        (SOURCE, {"mpt__MPT__rnk": 2}, "'rnk'. Did you mean 'rank'"),
        (SOURCE, {"MTP__rank": 2}, "'MTP'. Did you mean 'MPT'"),
        (
            SOURCE,
            {"TRIAN_STEPS": 2},
            "a macro 'TRIAN_STEPS', so that this would have no effect. Did you mean 'TRAIN_STEPS'",
        ),
        (SOURCE, {"INITIAL_CHECKPOINT_PATH": "%gin.REQUIRED"}, "INITIAL_CHECKPOINT_PATH (required"),
        (SOURCE, {"TRAIN_STEPS": "ten"}, "TRAIN_STEPS = 'ten' must be a whole number"),
        (SOURCE, {"EVAL_PERIOD": 0}, "eval_period must be a whole number of at least 1, got 0"),
        # tasks and data
        (SOURCE, {"MIXTURE_OR_TASK_NAME": "toy_c"}, "'toy_c'. Did you mean 'toy_"),
        (SOURCE, {"MIXTURE_OR_TASK_MODULE": "toy_taks"}, "MIXTURE_OR_TASK_MODULE 'toy_taks'"),
        (TARGET, {"MIXTURE_OR_TASK_NAME": "toy_long"}, "raise that length"),
        (TARGET, {"MIXTURE_OR_TASK_NAME": "toy_empty"}, "task 'toy_empty' has 0 rows"),
        (TARGET, {"train/utils__DatasetConfig__split": "dev"}, "'toy_a' has no split 'dev'"),
        (
            EVAL,
            {"EVAL_SPLIT": "tset"},
            "no split 'tset', nor has any other task; it has train, validation, test",
        ),
        (TARGET, {"FEW_SHOT": 25}, "25"),
        (
            TARGET,
            {"TASK_FEATURE_LENGTHS": "{'inputs': 12}"},
            "the limit of targets",
        ),
        # mesh and batch (four devices)
        (TARGET, {"BATCH_SIZE": 6}, "Batch size 6 does not divide over 1 microbatches × 4 data"),
        (SOURCE, {"TEACHER_BATCH_SIZE": 1}, "multiple of 4. Change TEACHER_BATCH_SIZE"),
        (TARGET, {"trainer__Trainer__num_microbatches": 4}, "must be a multiple of 16"),
        (TARGET, {"EVAL_BATCH_SIZE": 6}, "multiple of 4. Change EVAL_BATCH_SIZE"),
        (EVAL, {"EVAL_BATCH_SIZE": 6}, "multiple of 4. Change EVAL_BATCH_SIZE"),
        (INFER, {"EVAL_BATCH_SIZE": 6}, "multiple of 4. Change EVAL_BATCH_SIZE"),
        (TARGET, {"PjitPartitioner__num_partitions": 8}, "more than the 4 device(s)"),
        (TARGET, {"PjitPartitioner__num_partitions": 3}, "not a divisor of the 4 device(s)"),
        # backbone
        (SOURCE, {"INITIAL_CHECKPOINT_PATH": "nowhere"}, "'nowhere' does not exist"),
        (EVAL, {"INITIAL_CHECKPOINT_PATH": "nowhere"}, "'nowhere' does not exist"),
        (INFER, {"INITIAL_CHECKPOINT_PATH": "source"}, "'source' is not a backbone folder"),
        (TARGET, {"T5Config__emb_dim": 32}, "the sizes of the model gin or of config.json ask for"),
        # prompts
        (TARGET, {"SOURCE_PROMPTS": "nowhere"}, "no prompt file at 'nowhere'"),
        (SOURCE, {"TEACHER_PROMPTS": "nowhere"}, "no prompt file at 'nowhere'"),
        (EVAL, {"PROMPTS": "file"}, "file is truncated or corrupted"),
        (TARGET, {"PROMPT_LENGTH": 5}, "of length 4; this run adapts a shared prompt of length 5"),
        (TARGET, {"mpt__MPT__rank": 2}, "set MPT.rank = 1"),
        (TARGET, {"mpt__MPT__source_factors": "toy_c"}, "toy_c"),
        # inference
        (INFER, {"INPUTS": "nowhere.txt"}, "cannot read INPUTS 'nowhere.txt'"),
        (INFER, {"TASK": "toy_c"}, "'toy_c' is not in the bank; it holds toy_a, toy_b"),
        (INFER, {"TASK": None}, "no task was given; it holds toy_a, toy_b"),
        (INFER, {"OUTPUT": "file/out"}, "cannot write file/out: "),
        (INFER, {"INPUT_FORMAT": "xml"}, "INPUT_FORMAT must be None or one of text, jsonl"),
        (INFER, {"INPUT_FORMAT": "jsonl"}, "'lines.txt', line 1 is not a JSON object"),
        (INFER, {"TOO_LONG": "cut"}, "too_long must be 'truncate' or 'refuse', got 'cut'"),
        (EVAL, {"EVAL_OUTPUT_DIR": "file/out"}, "another place with --gin.EVAL_OUTPUT_DIR=PATH"),
        # run folder
        (TARGET, {"MODEL_DIR": "file/run"}, "cannot write the model directory file/run"),
        (SOURCE, {"MODEL_DIR": "file"}, "cannot write the model directory file"),
        (SOURCE, {"MODEL_DIR": "source", "BATCH_SIZE": 4}, "BATCH_SIZE: 8 there, 4 now"),
        (TARGET, {"MODEL_DIR": "source"}, "source holds a run with another configuration"),
    ],
)
def test_one_message_and_nothing_changed(which, macros, expected, refused):
    assert expected in refused(which, **macros)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"width": 8}, "width (D) 8, but this backbone has 16"),
        ({"vocabulary_size": 512}, "vocabulary size 512, but this backbone has 384"),
        ({"backbone": "0123456789abcdef"}, "backbone fingerprint 0123456789abcdef, but this"),
    ],
)
def test_prompts_of_another_backbone(facts, expected, work, refused):
    other = rewritten(work, "other", **facts)
    for which, macro in ((TARGET, "SOURCE_PROMPTS"), (EVAL, "PROMPTS"), (INFER, "PROMPTS")):
        assert expected in refused(which, **{macro: other})


def test_teachers_of_other_tasks(work, refused):
    others = product_file.load(str(work / "source" / "teachers"))
    bank = {"task_prompts": others[0]["task_prompts"][:1]}
    info = dataclasses.replace(others[1], tasks=("toy_a",))
    (work / "one_teacher").mkdir()
    product_file.save(str(work / "one_teacher"), bank, info)
    assert "toy_b" in refused(SOURCE, TEACHER_PROMPTS="one_teacher")


@pytest.mark.parametrize("keep", [0, 20, 0.5, 0.99])
def test_a_truncated_prompt_file(keep, work, refused):
    def cut(whole):
        return whole[: keep if isinstance(keep, int) else int(keep * len(whole))]

    name = damaged(work, f"cut_{keep}", cut)
    for which, macro in ((TARGET, "SOURCE_PROMPTS"), (INFER, "PROMPTS")):
        assert f"{name}/prompts.safetensors is truncated" in refused(which, **{macro: name})


def test_a_truncated_backbone(work, refused):
    whole = (work / "backbone" / "model.safetensors").read_bytes()
    (work / "cut_backbone").mkdir()
    (work / "cut_backbone" / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    message = refused(TARGET, INITIAL_CHECKPOINT_PATH="cut_backbone")
    assert "cut_backbone/model.safetensors is truncated or corrupted" in message


def test_a_corrupt_checkpoint_is_not_resumed_from(work, refused):
    shutil.copytree(work / "source", work / "broken")
    unfinished = work / "broken" / "checkpoints" / "checkpoint_1"
    (work / "broken" / "checkpoints" / "checkpoint_2").rename(unfinished)
    files = (path for path in (unfinished / "state").rglob("*") if path.is_file())
    largest = max(files, key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-20])
    message = refused(SOURCE, may_change="config.gin", MODEL_DIR="broken", TRAIN_STEPS=2)
    assert "checkpoint_1 is truncated or corrupt" in message and "No earlier" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "'bad.txt' is empty"),
        (b"one\n\ntwo\n", "'bad.txt', line 2 is empty"),
        (b"\xff\xfe\xfa", "cannot read INPUTS 'bad.txt' as UTF-8"),
    ],
)
def test_inputs_that_are_no_lines_of_text(text, expected, work, refused):
    (work / "bad.txt").write_bytes(text)
    assert expected in refused(INFER, INPUTS="bad.txt")


def test_a_loss_that_is_not_finite(work, refused):
    (work / "kept").mkdir()
    message = refused(
        TARGET,
        MODEL_DIR="kept",
        SHARED_LEARNING_RATE=1e30,
        SAVE_PERIOD=1,
        TRAIN_STEPS=8,
        train__train__infer_eval_dataset_cfg=None,
    )
    assert "not finite at step" in message and "tasks of its batch: toy_" in message
    assert list((work / "kept" / "checkpoints").glob("checkpoint_*/commit_success.txt"))


@pytest.fixture(name="small_disk")
def _small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("free", [0, 20_000])
def test_a_full_model_directory(free, small_disk, refused):
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * (200 * 1024 - free))
    message = refused(TARGET, MODEL_DIR=small_disk / "run")
    assert "No space left" in message or "RESOURCE_EXHAUSTED" in message
    assert filler.stat().st_size == 200 * 1024 - free


def test_ctrl_c_among_the_teachers_stops_the_whole_run(work, monkeypatch, capfd):
    monkeypatch.chdir(work)
    following = pipeline.DataIterator.__next__

    def fetch_and_interrupt(iterator):
        signal.raise_signal(signal.SIGINT)
        return following(iterator)

    monkeypatch.setattr(pipeline.DataIterator, "__next__", fetch_and_interrupt)
    arguments = argv(SOURCE, MODEL_DIR="stopped", INITIAL_CHECKPOINT_PATH="backbone")
    assert cli.main(arguments) == errors.EXIT_INTERRUPTED
    message = capfd.readouterr().err.splitlines()[-1]
    assert f"interrupted: saved step 1 of 4 in {os.path.join('stopped', 'teachers')}; " in message
    assert shlex.join(["t5x", *arguments]) in message
    assert not (work / "stopped" / "checkpoints").exists()
