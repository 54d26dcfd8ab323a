"""The suites and runs of the paper: complete commands, the paper's settings, and a run of them."""

import re
import shlex

import gin
import pytest

from mpt_jax import cli
from mpt_jax.configuration import config, gin_files
from mpt_jax.tasks import paper

SUITES = [*paper.SUITES]
RUNS = [name for name in gin_files.shipped() if name.startswith("gin/paper/")]
REQUIRED = ("--gin.INITIAL_CHECKPOINT_PATH=t5_base", "--gin.SPIECE_MODEL=spiece.model")


def commands(name):
    """The `t5x` lines of a file's header."""
    header = re.match(r"(#.*\n)+", gin_files.find(name).read_text(encoding="utf-8"))[0]
    text = re.sub(r"\\\n", " ", header.replace("#", ""))
    return re.findall(r"t5x .+", text)


def macro(name):
    return gin.query_parameter(f"{name}/macro.value")


@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_names_its_mixture(suite):
    run = "gin/mpt_source.gin" if suite == "paper_sources" else "gin/mpt_target.gin"
    config.parse([run, f"gin/suites/{suite}.gin"], [])
    assert macro("MIXTURE_OR_TASK_NAME") == suite
    assert macro("BATCH_SIZE") == 32
    rates = (macro("SHARED_LEARNING_RATE"), macro("TASK_LEARNING_RATE"))
    assert rates == ((0.3, 0.3) if suite == "paper_sources" else (0.3, 0.4))


@pytest.mark.parametrize("name", RUNS)
def test_the_commands_of_a_run_are_complete(name):
    lines = commands(name)
    assert lines or name == "gin/paper/setting.gin"
    for line in lines:
        arguments, overrides = cli.parse_arguments(shlex.split(line)[1:])
        assert arguments.command == "train" and arguments.gin_file[0] == name
        config.parse(arguments.gin_file, overrides)  # every required macro is set
        assert macro("TEXT_FORM") == "attempt" and macro("VERBALISER") == "digits"
        assert macro("PROMPT_LENGTH") == 100


@pytest.mark.parametrize(
    ("name", "rate", "task"),
    [
        ("attempt", 0.3, "mnli"),
        ("spot", 0.3, "mnli"),
        ("adapter", 3e-4, None),
        ("bitfit", 3e-4, None),
    ],
)
def test_rivals_learn_as_their_released_code_does(name, rate, task):
    """One rate for all that a method trains; ATTEMPT and SPoT start from MNLI's prompt."""
    required = [*REQUIRED, "--gin.MIXTURE_OR_TASK_NAME=rte", "--gin.MODEL_DIR=runs/x"]
    config.parse([f"gin/paper/{name}.gin"], [value.removeprefix("--gin.") for value in required])
    assert config.call("mpt_jax.engine.optimizers", "adamw").learning_rates == rate
    if task is not None:
        assert macro("SOURCE_PROMPTS") == "runs/paper/sources/teachers"
        assert macro("SOURCE_TASK") == task


def test_the_paper_trains_sources_for_five_epochs_with_task_sampling():
    config.parse(["gin/paper/sources.gin"], [value.removeprefix("--gin.") for value in REQUIRED])
    assert macro("EPOCHS") == 5 and macro("MIN_TASKS_PER_BATCH") == 2


def test_the_paper_trains_each_teacher_in_batches_of_32(paper_data_dir):
    files = ["gin/mpt_source.gin", "gin/suites/paper_sources.gin"]
    config.parse(files, [f"DATA_DIR={paper_data_dir}"])
    assert config.call("mpt_jax.tasks.mixtures", "equal_batch_size") == 6 * 32
    with gin.config_scope("teachers"):  # 5 epochs of the largest: 8 rows, of record
        assert config.call("mpt_jax.tasks.epochs", "steps") == 2


def test_steps_are_counted_on_the_data_that_are_there(paper_data_dir):
    files = ["gin/mpt_target.gin", "gin/suites/glue.gin"]
    config.parse(files, [f"DATA_DIR={paper_data_dir}"])
    # 37 training rows: mnli 5, three large tasks 4 each, four small ones 5 each; 32 a step.
    assert config.call("mpt_jax.tasks.epochs", "steps") == 12  # 10 epochs
    with gin.config_scope("one_epoch"):
        assert config.call("mpt_jax.tasks.epochs", "steps") == 2
    config.parse(files, [f"DATA_DIR={paper_data_dir}", "MIXTURE_OR_TASK_NAME=rte", "EPOCHS=3"])
    assert config.call("mpt_jax.tasks.epochs", "steps") == 1
    assert config.call("mpt_jax.tasks.paper", "feature_lengths") == {"inputs": 256, "targets": 16}
