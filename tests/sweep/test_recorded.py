"""Runs that were made with other settings than the plan's are refused, and what differs is named.

The configurations are those that `t5x train` and `t5x eval` leave: gin's own text of what it has
read from the files and overrides of the run's commands.
"""

import dataclasses
import pathlib

import gin
import pytest
import sweep_plans

from mpt_jax.configuration import config
from mpt_jax.errors import UserError
from mpt_jax.sweep import cells, command, data_check, execution, plan_file, recorded, table

MINI = plan_file.load("gin/sweeps/mini.toml").select(
    methods=["MPT", "adapters"], tasks=["mini_rte"], shots=["16"], seeds=["0"]
)


@pytest.fixture(scope="module", name="texts")
def _texts():
    """{(run, step): the configuration that it leaves} of the small plan in the folder "runs/x"."""
    texts = {}
    for run in cells.all_runs(MINI, pathlib.Path("runs/x")):
        for number, step in enumerate(run.steps):
            config.parse(step.files, step.overrides)
            texts[run.name, number] = config.operative_config()
    gin.clear_config()
    return texts


@pytest.fixture(name="made")
def _made(texts, tmp_path):
    """The folder of a finished sweep, which was made as "runs/x"."""
    for run in cells.all_runs(MINI, tmp_path):
        sweep_plans.finish(run)
        (run.folder / "config.gin").write_text(texts[run.name, 0])
        if run.scores:
            (run.scores.parent / "config_eval.gin").write_text(texts[run.name, 1])
    return tmp_path


def changed(**fields):
    return dataclasses.replace(MINI, **fields)


def with_method(**fields):
    return changed(methods=(dataclasses.replace(MINI.methods[0], **fields), *MINI.methods[1:]))


def test_the_settings_that_a_finished_sweep_was_made_with_are_the_plans_own(made):
    runs = cells.all_runs(MINI, made)
    recorded.check(runs)
    assert cells.left_of(runs) == [] and len(table.collect(MINI, made)) == 2


@pytest.mark.parametrize(
    ("plan", "where", "what"),
    [
        (changed(by_shots={"16": ("TRAIN_STEPS=7",)}), "targets/MPT/mini_rte-16-0",
         "TRAIN_STEPS: 100 there, 7 in the plan"),
        (with_method(settings=("mpt.MPT.rank=2",)), "targets/MPT/mini_rte-16-0",
         "MPT.rank: 1 there, 2 in the plan"),
        (with_method(files=("gin/methods/bitfit.gin",)), "targets/MPT/mini_rte-16-0",
         "method: @MPT there, @BitFit in the plan"),
        (changed(settings=("PROMPT_LENGTH=5",)), "sources/mpt-0",
         "PROMPT_LENGTH: 20 there, 5 in the plan"),
        (changed(evaluation=dataclasses.replace(MINI.evaluation, settings=("EVAL_BATCH_SIZE=7",))),
         "targets/MPT/mini_rte-16-0", "EVAL_BATCH_SIZE: 112 there, 7 in the plan"),
    ],
)  # fmt: skip
def test_an_edited_plan_does_not_take_the_cells_of_the_old_one(plan, where, what, made):
    runs = cells.all_runs(plan, made)
    with pytest.raises(UserError, match="made with other settings") as caught:
        recorded.check(runs)
    assert f"{where}: " in str(caught.value) and what in str(caught.value)
    assert "another --folder" in str(caught.value)
    with pytest.raises(UserError, match="made with other settings"):
        table.collect(plan, made)


def test_what_has_no_effect_on_results_may_change(made):
    recorded.check(cells.all_runs(changed(settings=("SAVE_PERIOD=5",)), made))
    recorded.check(cells.all_runs(changed(settings=("train.train.stats_period=5",)), made))


@pytest.mark.parametrize("result", ["checkpoints/checkpoint_3", "prompts.safetensors"])
def test_a_run_without_results_is_not_looked_at(result, texts, tmp_path):
    """A run that was killed may have its first evaluation's product, and no checkpoint yet."""
    run = cells.target_runs(MINI, tmp_path)[0]
    run.folder.mkdir(parents=True)
    text = texts[run.name, 0].replace("TRAIN_STEPS = 100", "TRAIN_STEPS = 3")
    (run.folder / "config.gin").write_text(text)
    recorded.check([run])
    (run.folder / result).mkdir(parents=True)
    with pytest.raises(UserError, match="TRAIN_STEPS: 3 there, 100 in the plan"):
        recorded.check([run])


def test_the_command_refuses_before_anything_starts(made, monkeypatch):
    edited = changed(by_shots={"16": ("TRAIN_STEPS=7",)})
    monkeypatch.setattr(plan_file, "load", lambda name: edited)
    arguments = command.argparse.ArgumentParser()
    command.add_arguments(arguments)
    for extra in ([], ["--dry_run"], ["--emit"]):
        parsed = arguments.parse_args(["plan.toml", f"--folder={made}", *extra])
        with pytest.raises(UserError, match="TRAIN_STEPS: 100 there, 7 in the plan"):
            command.run(parsed)


@pytest.fixture(name="redone")
def _redone(made, monkeypatch):
    """Runs `t5x sweep --redo` of an edited plan; the names of the runs that it carries out."""
    carried_out = []

    def carry_out(left, *_):
        carried_out.extend(run.name for run in left)
        return execution.Outcome()

    monkeypatch.setattr(execution, "carry_out", carry_out)
    monkeypatch.setattr(data_check, "check", lambda plan, folder: None)
    arguments = command.argparse.ArgumentParser()
    command.add_arguments(arguments)

    def run(plan, *extra):
        monkeypatch.setattr(plan_file, "load", lambda name: plan)
        flags = ["plan.toml", f"--folder={made}", "--redo", *extra]
        assert command.run(arguments.parse_args(flags)) == 0
        return carried_out

    return run


def test_redo_deletes_what_differs_and_carries_it_out_again(made, redone, capsys):
    edited = with_method(settings=("mpt.MPT.rank=2",))
    before = sweep_plans.files(made)
    assert redone(edited, "--dry_run") == [] and sweep_plans.files(made) == before
    assert "MPT.rank: 1 there, 2 in the plan" in capsys.readouterr().out
    assert redone(edited) == ["targets/MPT/mini_rte-16-0"]
    assert not (made / "targets/MPT/mini_rte-16-0").exists()
    assert (made / "sources/mpt-0").exists() and (made / "targets/adapters").exists()


def test_redo_of_a_source_takes_all_cells_that_start_from_it(made, redone):
    edited = changed(source=dataclasses.replace(MINI.source, settings=("TRAIN_STEPS=7",)))
    assert redone(edited) == ["sources/mpt-0", "targets/MPT/mini_rte-16-0"]
    assert not (made / "targets/MPT/mini_rte-16-0").exists()


def test_redo_of_an_evaluation_keeps_the_training(made, redone):
    stage = dataclasses.replace(MINI.evaluation, settings=("EVAL_BATCH_SIZE=7",))
    assert len(redone(changed(evaluation=stage))) == 2
    cell = made / "targets/MPT/mini_rte-16-0"
    assert (cell / "run.json").exists() and not (cell / "test").exists()


def test_redo_without_anything_that_differs_redoes_nothing(made, redone):
    assert redone(MINI) == []
