"""`t5x sweep` as a user runs it: real processes; on the toy model where runs are carried out."""

import dataclasses
import json
import os
import pathlib
import shlex
import subprocess
import sys

import pytest
import sweep_plans
import toy
import xla

from mpt_jax import cli, lock
from mpt_jax.sweep import cells, data_check, execution, plan_file

TESTS = pathlib.Path(__file__).resolve().parents[1]
MINI = "gin/sweeps/mini.toml"
SECONDS = 900  # for one sweep, on a busy machine

TOY = f"""
tasks = ["toy_a"]
shots = [12, 20]
seeds = [0]
settings = ["INITIAL_CHECKPOINT_PATH=backbone"]
sources = [{{ name = "mpt" }}, {{ name = "lost", settings = ["TEACHER_PROMPTS=nowhere"] }}]
methods = [
    {{ label = "MPT", source = "mpt" }},
    {{ label = "lost", source = "lost" }},
    {{ label = "no source", files = ["gin/methods/prompt_tuning.gin"] }},
]
[source]
files = ["gin/mpt_source.gin", "{TESTS / "support/toy.gin"}"]
settings = ["TRAIN_STEPS=2"]
[target]
files = ["gin/mpt_target.gin", "{TESTS / "support/toy.gin"}"]
[target.by_shots]
12 = ["TRAIN_STEPS=2"]
20 = ["INITIAL_CHECKPOINT_PATH=nowhere"]
[evaluation]
files = ["gin/mpt_eval.gin", "{TESTS / "support/toy.gin"}"]
"""


@pytest.fixture(name="sweep")
def _sweep(tmp_path):
    """Runs `t5x sweep ...` in a folder: (exit status, standard output, standard error)."""
    changes = {
        "XLA_FLAGS": xla.flags(1),
        "PYTHONPATH": str(TESTS / "support"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }

    def run(*arguments):
        result = subprocess.run(
            [sys.executable, "-m", "mpt_jax.cli", "sweep", *arguments],
            cwd=tmp_path,
            env={**os.environ, **changes},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return result.returncode, result.stdout, result.stderr

    return run


@pytest.fixture(name="half_done")
def _half_done(tmp_path):
    """The folder of a sweep of the mini plan that was interrupted."""
    folder = tmp_path / "runs" / "half"
    runs = cells.all_runs(plan_file.load(MINI), folder)
    for run in runs[:20]:
        sweep_plans.finish(run)
    for run in runs[20:50]:  # two tasks, of all 15 methods
        sweep_plans.finish(run, score=50.0)
    sweep_plans.begin(runs[50])
    return folder


def test_dry_run_shows_what_is_done_and_left_and_changes_nothing(sweep, half_done):
    before = sweep_plans.files(half_done)
    status, out, err = sweep(MINI, f"--folder={half_done}", "--dry_run")
    assert (status, err) == (0, "")
    assert out.startswith(
        f"{MINI}: 15 methods × 8 tasks × shots 4, 16, 32, full × seeds 0, 1, 2, 3, 4\n"
    )
    rows = {line[:37].strip(): line[37:].split() for line in out.splitlines()[2:]}
    assert rows[""] == ["runs", "done", "begun", "to", "do"]
    assert rows["source no_decomposition"] == ["5", "5", "0", "0"]
    assert rows["MPT"] == ["160", "2", "1", "157"]
    assert rows["prompt tuning from scratch"] == ["160", "2", "0", "158"]
    assert rows["all"] == ["2420", "50", "1", "2369"]
    assert sweep_plans.files(half_done) == before


def test_a_second_sweep_in_the_same_folder_is_refused_and_starts_nothing(sweep, half_done):
    with lock.held(half_done / "sweep.lock", ""):
        before = sweep_plans.files(half_done)
        status, _, err = sweep(MINI, f"--folder={half_done}")
        assert status == 2
        assert f"another sweep is carrying out runs in {half_done}" in err
        assert "Traceback" not in err
        assert sweep_plans.files(half_done) == before
        assert sweep(MINI, f"--folder={half_done}", "--dry_run")[0] == 0
    with lock.held(half_done / "sweep.lock", ""):  # it is let go of at the end
        pass


@pytest.fixture(name="emitted")
def _emitted(capsys, monkeypatch):
    """The output of `t5x sweep ... --emit`, in this process and without a look at the data."""

    def run(*arguments):
        monkeypatch.setattr(data_check, "check", lambda plan, folder: None)
        assert cli.main(["sweep", *arguments, "--emit"]) == 0
        return capsys.readouterr().out

    return run


def test_emitted_commands_are_those_of_a_user_in_an_order_in_which_they_run(emitted, tmp_path):
    out = emitted(MINI, "--folder=my runs", "--seeds=0")
    seen = []
    for line in out.splitlines():
        commands, _, comment = line.rpartition("  # ")
        name, _, after = comment.partition(" after ")
        assert not after or after in seen
        seen.append(name)
        folders = set()
        for command in commands.split(" && "):
            program, *arguments = shlex.split(command)
            assert program == "t5x"
            parsed, overrides = cli.parse_arguments(arguments)
            values = dict(override.split("=", 1) for override in overrides)
            folders.add(values["MODEL_DIR" if parsed.command == "train" else "PROMPTS"])
            assert all(cli.gin_files.find(file) for file in parsed.gin_file)
        assert folders == {f"my runs/{name}"}
    plan = dataclasses.replace(plan_file.load(MINI), seeds=(0,))
    assert seen == [run.name for run in cells.all_runs(plan, tmp_path)]


def test_cells_that_share_a_program_are_one_line_that_carries_them_out(
    emitted, half_done, monkeypatch
):
    chosen = ["--methods=MPT", "--shots=4", "--seeds=0,1"]
    (line,) = emitted(MINI, f"--folder={half_done}", "--together", *chosen).splitlines()
    command, _, comment = line.rpartition("  # ")
    assert comment == "targets/MPT/mini_acceptability-4-0+13"  # of 16 cells two are done
    carried_out = []

    def carry_out(left, processes, compiled, together):
        carried_out.append(([run.name for run in left], together))
        return execution.Outcome()

    monkeypatch.setattr(execution, "carry_out", carry_out)
    monkeypatch.setattr(data_check, "check", lambda *_: pytest.fail("it has been looked at"))
    with lock.held(half_done / "sweep.lock", ""):  # by the job of another line
        assert cli.main(shlex.split(command)[1:]) == 0
    ((names, together),) = carried_out
    assert len(names) == together == 14 and len(set(names)) == 14
    assert all(name.startswith("targets/MPT/") and "-4-" in name for name in names)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("targets/MPT/mini_rt-16-0", "no run 'targets/MPT/mini_rt-16-0'. Did you mean"),
        ("targets/MPT/mini_rte-16-0", "needs sources/mpt-0, which is not finished"),
    ],
)
def test_runs_that_cannot_be_carried_out_are_refused(names, message, tmp_path, capsys):
    assert cli.main(["sweep", MINI, f"--folder={tmp_path}", f"--runs={names}"]) == 2
    assert message in capsys.readouterr().err


def test_only_what_is_left_is_emitted_and_waits_for_nothing_that_is_done(emitted, half_done):
    chosen = ["--methods=MPT,prompt tuning from scratch", "--shots=4", "--seeds=0"]
    lines = emitted(MINI, f"--folder={half_done}", *chosen).splitlines()
    assert len(lines) == 6 * 2
    assert not any(" after " in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "the following arguments are required: PLAN.toml"),
        (["gin/sweeps/mni.toml"], "no plan 'gin/sweeps/mni.toml'. Did you mean 'gin/sweeps/mini"),
        ([MINI, "--procceses=2"], "unknown flag '--procceses'. Did you mean '--processes'"),
        ([MINI, "--processes=0"], "--processes=0 is not at least 1"),
        ([MINI, "--together=0"], "--together=0 is not at least 1"),
        ([MINI, "--processes=two"], "invalid int value: 'two'"),
        ([MINI, "--dry_run", "--emit"], "exclude each other"),
        ([MINI, "--shots=17"], "--shots: gin/sweeps/mini.toml has no '17'"),
        ([MINI, "--gin.TRAIN_STEPS=2"], "takes no --gin.TRAIN_STEPS=2"),
        ([MINI, "more.toml"], "unexpected argument 'more.toml'"),
        (["bad.toml"], "bad.toml: train of targets/one/a-16-0: there is no gin file 'mehtod.gin'"),
    ],
)
def test_a_mistake_is_one_message(arguments, expected, sweep, tmp_path):
    (tmp_path / "bad.toml").write_text(
        'tasks = ["a"]\nshots = [16]\nseeds = [0]\n'
        'methods = [{ label = "one", files = ["mehtod.gin"] }]\n'
    )
    status, out, err = sweep(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("t5x: error: ") and expected in err and "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_tasks_splits_and_shots_that_there_are_not_are_named_before_anything_starts(
    sweep, tmp_path
):
    (tmp_path / "bad.toml").write_text(
        'tasks = ["mini_wic", "mini_wiq"]\nshots = [16, 1000000, "full"]\nseeds = [0]\n'
        'methods = [{ label = "one" }, { label = "two", settings = '
        """["infer_eval/utils.DatasetConfig.split=dev"] }]\n"""
        '[evaluation]\nsettings = ["EVAL_SPLIT=tests"]\n'
    )
    status, out, err = sweep("bad.toml")
    assert (status, out) == (2, "")
    assert err.startswith("t5x: error: bad.toml: these runs would fail:\n")
    lines = err.splitlines()[1:]
    assert [line.partition("-")[0].strip() for line in lines] == [
        "train of targets/one/mini_wiq",
        "train of targets/two/mini_wic",
        "train of targets/one/mini_wic",
        "eval of targets/one/mini_wic",
    ]
    assert "Did you mean 'mini_wic'" in lines[0]
    assert "no split 'dev'; it has train, validation, test" in lines[1]
    assert "few_shot = 1000000 must lie between 1 and the 1000 rows" in lines[2]
    assert "no split 'tests'" in lines[3]
    assert not (tmp_path / "runs").exists()


def test_a_mistake_answers_without_jax(tmp_path):
    script = (
        "import sys; from mpt_jax import cli;"
        f"cli.main(['sweep', '{MINI}', '--methods=MTP']);"
        f"cli.main(['sweep', '{MINI}', '--dry_run']);"
        "print(*{'jax', 'tensorflow', 'seqio', 'numpy', 'matplotlib'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == ""


def test_from_the_plan_to_the_scores(sweep, tmp_path):
    """A source run fails, and two cells; the others are finished, and kept by the next call."""
    (tmp_path / "toy.toml").write_text(TOY)
    toy.save(tmp_path / "backbone")
    status, out, err = sweep("toy.toml", "--processes=2")
    assert status == 1, err
    folder = tmp_path / "runs" / "toy"
    for name, label in (("MPT", "MPT"), ("no_source", "no source")):
        run = folder / "targets" / name / "toy_a-12-0"
        assert json.loads((run / "test" / "metrics.json").read_text())["mean"]["key_metric"] > 0
        record = json.loads((run / "run.json").read_text())
        assert (record["label"], record["few_shot"], record["total_steps"]) == (label, 12, 2)
    last = [line for line in out.splitlines() if line.startswith("[")][-1]
    assert last.startswith("[8/8] ")

    assert err.startswith("t5x: 3 runs failed:\n")
    for failed, why in (
        ("sources/lost-0", "no prompt file at 'nowhere'"),
        ("targets/MPT/toy_a-20-0", "nowhere"),
        ("targets/no_source/toy_a-20-0", "nowhere"),
    ):
        (line,) = (line for line in err.splitlines() if line.startswith(f"  {failed}: "))
        assert why in line
        log = pathlib.Path("runs/toy", failed, "log.txt")
        assert f"    log: {log}\n" in err
        assert why in (tmp_path / log).read_text()
    assert "Traceback" not in err
    lost = "2 runs not started, because they need sources/lost-0:\n  targets/lost/toy_a-12-0\n"
    assert lost in err

    before = sweep_plans.files(folder)
    status, out, err = sweep("toy.toml", "--methods=MPT,no source", "--shots=12")
    assert (status, err) == (0, "")
    assert ["all", "3", "3", "0", "0"] in [line.split() for line in out.splitlines()]
    assert sweep_plans.files(folder) == before

    source = folder / "sources" / "mpt-0"
    (folder / "targets" / "MPT" / "toy_a-12-0" / "test" / "metrics.json").unlink()
    before = sweep_plans.files(source)
    status, out, err = sweep("toy.toml", "--methods=MPT", "--shots=12")
    assert (status, err) == (0, "")
    (done,) = (line for line in out.splitlines() if line.startswith("["))
    assert done.startswith("[1/1] targets/MPT/toy_a-12-0: ")
    assert sweep_plans.files(source) == before


TOGETHER = f"""
tasks = ["toy_a", "toy_b"]
shots = [12]
seeds = [0, 1]
settings = ["INITIAL_CHECKPOINT_PATH=backbone"]
methods = [
    {{ label = "one" }},
    {{ label = "wild", settings = ["SHARED_LEARNING_RATE=1e39"] }},
]
[target]
files = ["gin/mpt_target.gin", "gin/methods/prompt_tuning.gin", "{TESTS / "support/toy.gin"}"]
[evaluation]
files = ["gin/mpt_eval.gin", "{TESTS / "support/toy.gin"}"]
"""


def test_cells_together_are_finished_or_fail_each_by_itself(sweep, tmp_path):
    (tmp_path / "toy.toml").write_text(TOGETHER)
    toy.save(tmp_path / "backbone")
    status, out, err = sweep("toy.toml", "--together", "--dry_run")
    assert (status, err) == (0, "")
    assert "Together: 8 cells in 1 programs of up to 8." in out
    status, out, err = sweep("toy.toml", "--together=4", "--tasks=toy_a")
    assert status == 1 and err.startswith("t5x: 2 runs failed:\n"), err
    for seed in (0, 1):
        assert f"  targets/wild/toy_a-12-{seed}: the loss or its gradient is not finite" in err
        folder = tmp_path / f"runs/toy/targets/one/toy_a-12-{seed}"
        record = json.loads((folder / "run.json").read_text())
        assert (record["label"], record["few_shot"], record["seed"]) == ("one", 12, seed)
        assert record["finished"] and record["cost"]["steps"] == 4
        assert json.loads((folder / "test/metrics.json").read_text())["mean"]["key_metric"] > 0
        assert f"RANDOM_SEED = {seed}\n" in (folder / "config.gin").read_text()
    first = (tmp_path / "runs/toy/targets/one/toy_a-12-0/log.txt").read_text()
    assert "trained one by one" not in first

    before = sweep_plans.files(folder)
    status, out, err = sweep("toy.toml", "--together", "--tasks=toy_a", "--methods=one")
    assert (status, err) == (0, "")
    assert sweep_plans.files(folder) == before


def test_a_finished_sweep_prints_its_scores_and_names_the_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(
        'methods = [{ label = "scratch", files = ["gin/methods/prompt_tuning.gin"] }]\n'
        'tasks = ["mini_rte", "mini_wic"]\nshots = [16]\nseeds = [0, 1]\n'
    )
    runs = cells.all_runs(plan_file.load("small.toml"), pathlib.Path("runs/small"))
    for run in runs:
        sweep_plans.finish(run, score=40.0 + 10 * ("wic" in run.name) + 2 * run.name.endswith("-1"))
    assert cli.main(["sweep", "small.toml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (row,) = (line.split() for line in lines if "±" in line and line.startswith("scratch"))
    # Of 40 and 42, 50 and 52, and of their means 45 and 47.
    assert " ".join(row) == "scratch 1,234 41.0 ± 1.4 51.0 ± 1.4 46.0 ± 1.4"
    assert lines[-1] == "report: t5x report runs/small"
