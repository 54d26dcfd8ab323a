"""The order of runs and what becomes of failures, with stand-ins for processes or for training."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest
import sweep_plans

from mpt_jax import lock
from mpt_jax.errors import UserError
from mpt_jax.sweep import cells, execution, pool
from mpt_jax.sweep.cells import Run

# As `worker`, but a command is a line of Python.
WORKER = """
import json, sys
for line in sys.stdin:
    job = json.loads(line)
    errors = [eval(run["commands"][-1][0]) for run in job["runs"]]
    print(json.dumps({"errors": errors}), flush=True)
"""


class FakePool:
    """Ends runs in the order in which they start; those named in `bad` fail."""

    bad = ()

    def __init__(self, processes, compiled):
        self.processes = processes
        self.going = []
        self.started = []
        FakePool.last = self

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        assert not self.going

    def is_busy(self):
        return bool(self.going)

    def has_room(self):
        return len(self.going) < self.processes

    def start(self, runs):
        assert self.has_room()
        self.going.append(runs)
        self.started += [run.name for run in runs]

    def wait(self):
        runs = self.going.pop(0)
        return runs, ["a reason" if run.name in self.bad else None for run in runs]


@pytest.fixture(name="fake")
def _fake(monkeypatch):
    monkeypatch.setattr(execution, "Pool", FakePool)
    monkeypatch.setattr(FakePool, "bad", ())
    return FakePool


@pytest.mark.parametrize("processes", [1, 3, 100])
def test_every_run_starts_after_the_one_that_it_needs(fake, processes, tmp_path):
    runs = cells.all_runs(sweep_plans.PLAN, tmp_path)
    outcome = execution.carry_out(runs, processes, tmp_path)
    assert sorted(outcome.finished) == sorted(run.name for run in runs)
    assert outcome.faults == ""
    place = {name: i for i, name in enumerate(fake.last.started)}
    assert all(place[run.name] > place[run.after] for run in runs if run.after)


def test_what_a_failed_run_would_have_fed_is_not_started(fake, monkeypatch, tmp_path, capsys):
    plan = sweep_plans.PLAN.select(tasks=["a"], shots=["16"])
    runs = cells.all_runs(plan, tmp_path)
    monkeypatch.setattr(fake, "bad", ("sources/mpt-3", "targets/scratch/a-16-0"))
    outcome = execution.carry_out(runs, 2, tmp_path)
    assert [(run.name, error) for run, error in outcome.failed] == [
        ("sources/mpt-3", "a reason"),
        ("targets/scratch/a-16-0", "a reason"),
    ]
    lost = ["sources/shared-3"]
    lost += [f"targets/{method}/a-16-3" for method in ("MPT", "no_teachers", "attention")]
    assert sorted(outcome.not_run) == sorted(lost)
    assert set(outcome.not_run.values()) == {"sources/mpt-3"}
    assert len(outcome.finished) + len(outcome.failed) + len(outcome.not_run) == len(runs)
    assert "2 runs failed:\n  sources/mpt-3: a reason\n" in outcome.faults
    assert f"    log: {tmp_path / 'sources' / 'mpt-3' / 'log.txt'}" in outcome.faults
    lost = "4 runs not started, because they need sources/mpt-3:\n  sources/shared-3"
    assert lost in outcome.faults
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1].startswith(f"[{len(runs)}/{len(runs)}] ")
    assert any(line.endswith("sources/mpt-3: FAILED: a reason") for line in printed)


def test_a_need_that_is_finished_already_holds_nothing_up(fake, tmp_path):
    runs = cells.target_runs(sweep_plans.PLAN, tmp_path)
    assert len(execution.carry_out(runs, 1, tmp_path).finished) == len(runs)


def test_nothing_to_do(tmp_path):
    assert execution.carry_out([], 2, tmp_path).faults == ""


def python(name, code):
    return Run(name, pathlib.Path(name), (cells.Step(code, (), ()),))


@pytest.fixture(name="lines")
def _lines(monkeypatch, tmp_path):
    """Commands are lines of Python in real processes."""
    monkeypatch.setattr(pool, "_PROGRAM", [sys.executable, "-c", WORKER])
    monkeypatch.chdir(tmp_path)


def test_a_process_that_dies_fails_its_run_alone(lines, tmp_path):
    runs = [python(str(i), "None") for i in range(4)]
    runs.insert(1, python("dies", "__import__('os').kill(__import__('os').getpid(), 9)"))
    runs.insert(2, python("fails", "'a reason'"))
    outcome = execution.carry_out(runs, 2, tmp_path / "compiled")
    assert sorted(outcome.finished) == ["0", "1", "2", "3"]
    failed = {run.name: error for run, error in outcome.failed}
    assert failed == {"dies": "its process ended with status -9", "fails": "a reason"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_runs_that_are_going_save(number, lines, tmp_path, request):
    """A run that is told to stop has the time to say so."""
    # A shell starts what it sends to the background with Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    code = (
        "[__import__('signal').signal(15, lambda *_: (open('saved', 'w').close(), "
        "__import__('os')._exit(130))), open('ready', 'w').close(), "
        "__import__('time').sleep(60)] and None"
    )

    def send_when_ready():
        while not (tmp_path / "ready").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    threading.Thread(target=send_when_ready).start()
    runs = [python("first", "None"), python("long", code), python("never", "open('late', 'w')")]
    with pytest.raises(KeyboardInterrupt, match="1 of 3 runs finished"):
        execution.carry_out(runs, 1, tmp_path / "compiled")
    assert (tmp_path / "saved").exists() and not (tmp_path / "late").exists()


SAVING = """
import time
from mpt_jax.engine import interrupt
from mpt_jax.sweep import worker

def run(arguments):
    with interrupt.InterruptFlag() as flag:
        while not flag:
            print("going", flush=True)
            time.sleep(0.05)
    raise KeyboardInterrupt("saved step 3")

worker.cli.run = run
worker.main()
"""
SWEEP = """
import pathlib, sys
from mpt_jax import lock
from mpt_jax.sweep import cells, execution, pool

pool._PROGRAM = [sys.executable, "-c", sys.argv[1]]
run = cells.Run("run", pathlib.Path("run"), (cells.Step("train", (), ()),))
with lock.held("sweep.lock", ""):
    execution.carry_out([run], 1, pathlib.Path("compiled"))
"""


def test_a_killed_sweep_takes_its_workers_with_it_and_they_save_first(tmp_path):
    """The next one is refused for as long as they are at it."""
    sweep = subprocess.Popen([sys.executable, "-c", SWEEP, SAVING], cwd=tmp_path)
    log = tmp_path / "run" / "log.txt"
    while not (log.exists() and "going" in log.read_text()):
        assert sweep.poll() is None
        time.sleep(0.02)
    sweep.kill()
    sweep.wait()
    deadline = time.monotonic() + 60
    while "saved step 3" not in log.read_text():
        assert time.monotonic() < deadline
        with contextlib.suppress(UserError), lock.held(tmp_path / "sweep.lock", ""):
            time.sleep(0.1)  # for the last line of one that is just ending
            assert "saved step 3" in log.read_text()
    assert log.read_text().endswith("t5x: interrupted: saved step 3\n")


def test_several_workers_take_one_thread_each(tmp_path, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_some=1")
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    alone, many = (pool._environment(n, tmp_path) for n in (1, 2))
    assert alone["XLA_FLAGS"] == "--xla_some=1"
    assert many["XLA_FLAGS"] == "--xla_some=1 --xla_cpu_multi_thread_eigen=false"
    assert many["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path)


def worker(tmp_path, *commands):
    """What the real worker answers to jobs of one command each, and their logs."""
    jobs = [
        {"log": str(tmp_path / str(i) / "log.txt"), "commands": [command]}
        for i, command in enumerate(commands)
    ]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(pool._PROGRAM, **pipes, text=True, cwd=tmp_path) as process:
        lines = [json.dumps({"runs": [job]}) for job in jobs]
        print(*lines, sep="\n", file=process.stdin, flush=True)
        # The end of its input stops what is going on.
        answers = [json.loads(process.stdout.readline())["errors"][0] for _ in jobs]
    assert process.returncode == 0
    return answers, [pathlib.Path(job["log"]).read_text() for job in jobs]


def test_the_worker_answers_with_the_error_and_its_log_has_the_rest(tmp_path):
    (tmp_path / "raises.gin").write_text("import my_error\nMODEL_DIR = 'x'\n")
    (tmp_path / "my_error.py").write_text("raise SystemExit('enough\\nof this')")
    answers, logs = worker(
        tmp_path,
        ["train", "--gin_file=a b.gin"],
        ["sweep", "gin/sweeps/mini.toml", "--dry_run"],
        ["train", "--gin_file=raises.gin"],
    )
    assert answers[0].startswith("there is no gin file 'a b.gin'.")
    assert logs[0].startswith("$ t5x train '--gin_file=a b.gin'\nt5x: error: there is no gin file")
    assert answers[1] is None and "MPT without distillation" in logs[1]
    assert answers[2] == "SystemExit: enough" and "Traceback" in logs[2]
