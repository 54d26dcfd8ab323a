"""Every shipped gin file parses, its names resolve, and the command in its header is right."""

import copy
import pathlib
import re
import shlex

import gin
import pytest

from mpt_jax import cli
from mpt_jax.configuration import config, gin_files, gin_source
from mpt_jax.errors import UserError

FILES = gin_files.shipped()
RUNS = {
    "gin/mpt_source.gin": "train",
    "gin/mpt_target.gin": "train",
    "gin/mpt_eval.gin": "eval",
    "gin/mpt_infer.gin": "infer",
    "gin/runs/pretrain_mini.gin": "train",
}
# The run that a file is an overlay or a part of.
RUN_OF = {
    "gin/runs/restored.gin": "gin/mpt_eval.gin",
    "gin/methods/no_distillation.gin": "gin/mpt_source.gin",
    "gin/suites/mini_sources.gin": "gin/mpt_source.gin",
    "gin/suites/mini_teachers.gin": "gin/mpt_source.gin",
    "gin/suites/paper_sources.gin": "gin/mpt_source.gin",
}


def files_of(name):
    """The files of a command line that uses the gin file `name`."""
    return [name] if name in RUNS else [RUN_OF.get(name, "gin/mpt_target.gin"), name]


def left_to_the_user(source):
    """Macros whose last value is %gin.REQUIRED."""
    return [
        macro
        for macro, binding in source.values().items()
        if any(r.name in gin_source.REQUIRED for r in gin_source.references(binding.value))
    ]


def header(name):
    """The comment at the top of a file, its lines joined where one ends in a backslash."""
    lines = gin_files.find(name).read_text(encoding="utf-8").splitlines()
    end = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    text = "\n".join(line.removeprefix("#").strip() for line in lines[:end])
    return re.sub(r"\s*\\\n\s*", " ", text)


def given(macros):
    """Overrides that set the macros to something of their type."""
    other = dict.fromkeys(("FEW_SHOT", "TRAIN_STEPS", "BATCH_SIZE"), "16")
    other |= {"TASKS": "[]", "TASK_FEATURE_LENGTHS": "{'inputs': 8, 'targets': 8}"}
    return [f"{macro}={other.get(macro, 'text')}" for macro in macros]


@pytest.mark.parametrize("name", FILES)
def test_a_file_parses_and_its_names_resolve(name):
    assert header(name), "say at the top what the file is for"
    required = left_to_the_user(gin_source.read(files_of(name), [], []))
    config.parse(files_of(name), given(required))
    # What a run would write into config.gin gives the same configuration again.
    text = gin.config_str()
    gin.clear_config()
    gin.parse_config(text)
    assert gin.config_str() == text


@pytest.mark.parametrize("name", ["gin/mpt_source.gin", "gin/mpt_target.gin"])
def test_no_macro_of_a_run_is_without_effect(name):
    source = gin_source.read([name], [], [])
    used = {r.name for b in source.bindings for r in gin_source.references(b.value) if r.is_macro}
    assert sorted(source.values().keys() - used) == []


@pytest.mark.parametrize(
    ("run", "suite"),
    [
        ("gin/mpt_source.gin", "gin/suites/mini_sources.gin"),
        ("gin/mpt_target.gin", "gin/suites/mini_target.gin"),
    ],
)
def test_a_run_keeps_what_its_suite_says(run, suite):
    of_run, of_suite = (gin_source.read([name], [], []).values() for name in (run, suite))
    assert len(of_suite) > 9
    assert {name: of_run[name].value for name in of_suite} == {
        name: binding.value for name, binding in of_suite.items()
    }


@pytest.mark.parametrize(
    ("macro", "argument", "value"),
    [
        ("DROPOUT_RATE", "mini: config.T5Config.dropout_rate", 0.25),
        ("DROPOUT_RATE", "t5_base: config.T5Config.dropout_rate", 0.25),
        ("DROPOUT_RATE", "t5_1_1_base: config.T5Config.dropout_rate", 0.25),
        ("DROPOUT_RATE", "checkpoint: backbones.config_of.dropout_rate", 0.25),
        ("LABEL_SMOOTHING", "mini: models.EncoderDecoderModel.label_smoothing", 0.25),
        ("Z_LOSS", "mini: models.EncoderDecoderModel.z_loss", 1e-4),
        ("USE_CACHED_TASKS", "mini: utils.DatasetConfig.use_cached", True),
    ],
)
def test_macros_of_t5x_reach_what_they_set(macro, argument, value):
    model, _, argument = argument.partition(": ")
    files = ["gin/mpt_target.gin", f"gin/models/{model}.gin"]
    required = left_to_the_user(gin_source.read(files, [], []))
    config.parse(files, [*given(required), f"{macro}={value}"])
    assert copy.deepcopy(gin.query_parameter(argument)) == value  # a copy of a macro is its value


TUNE_THE_BACKBONE = {"adapter", "bitfit", "full", "ia3", "lora"}  # and all others, prompts alone


def dropout(*files):
    return gin_source.read(files, [], []).values()["DROPOUT_RATE"].value


@pytest.mark.parametrize("method", [f for f in FILES if f.startswith("gin/methods/")])
def test_dropout_is_t5s_own_but_for_prompts_on_the_mini_backbone(method):
    tunes_the_backbone = pathlib.Path(method).stem in TUNE_THE_BACKBONE
    assert dropout("gin/mpt_target.gin", method) == (0.1 if tunes_the_backbone else 0.0)
    assert dropout("gin/paper/glue_super_glue.gin", method) == 0.1
    for model in ("t5_small", "t5_1_1_base", "checkpoint"):
        model = f"gin/models/{model}.gin"
        assert dropout("gin/mpt_target.gin", model, method) == 0.1
        assert dropout("gin/mpt_target.gin", method, model) == 0.1


def test_dropout_of_every_run_that_ships():
    runs = [f for f in FILES if f.startswith("gin/paper/")]
    assert {dropout(run) for run in runs} == {0.1}
    assert dropout("gin/mpt_source.gin") == dropout("gin/runs/pretrain_mini.gin") == 0.0


@pytest.mark.parametrize(("name", "command"), RUNS.items())
def test_the_header_of_a_run_gives_a_command_that_is_complete(name, command):
    lines = [line for line in header(name).splitlines() if line.startswith("t5x ")]
    assert lines
    for line in lines:
        arguments, overrides = cli.parse_arguments(shlex.split(line)[1:])
        assert arguments.command == command
        assert arguments.gin_file == [name]
        config.parse(arguments.gin_file, overrides)


def test_declared_tasks_that_would_not_be_trained_are_refused(tmp_path):
    own = tmp_path / "own.gin"
    own.write_text(
        "from __gin__ import dynamic_registration\n"
        "from mpt_jax.tasks import local\n"
        "include 'gin/suites/local.gin'\n"
        "reviews/local.Task.name = 'reviews'\n"
        "TASKS = [@reviews/local.Task()]\n"
    )
    config.check(["gin/mpt_target.gin", str(own)])
    config.check(["gin/mpt_target.gin", str(own)], ["MIXTURE_OR_TASK_NAME=reviews"])
    config.check(["gin/mpt_infer.gin", str(own)], ["PROMPTS=run", "INPUTS=lines.txt"])
    for run in ("gin/mpt_target.gin", "gin/mpt_eval.gin"):
        with pytest.raises(UserError, match="own.gin, line 5: the tasks declared here would not"):
            config.check([str(own), run])
    module = "MIXTURE_OR_TASK_MODULE=mpt_jax.tasks.mini"
    with pytest.raises(UserError, match="--gin.MIXTURE_OR_TASK_MODULE, which comes later"):
        config.check(["gin/mpt_target.gin", str(own)], [module])
