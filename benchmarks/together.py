"""A part of a plan both ways: in one program (`t5x sweep --together`) and one run at a time.

    python benchmarks/together.py --tasks=mini_rte --shots=16,32

trains and scores the same cells with each of the given ways, in a new folder each, with nothing
compiled before, and prints wall time, CPU time, cells per minute and the largest process.

    python benchmarks/together.py --at_once=6

times the training step of so many cells, in turn and at once: CPU time for each cell.

    python benchmarks/together.py --topology=v5e:4x4 --runs=1,8,64

has the TPU compiler compile the training step of so many runs at once on T5-Base, and prints for
each what it needs of a chip (needs `pip install 'mpt-jax[tpu_check]'`).
"""

import argparse
import contextlib
import dataclasses
import io
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
import time

import record

STEP_FILES = ["gin/mpt_target.gin", "gin/models/t5_base.gin"]
STEP_SETTINGS = [
    "DTYPE=bfloat16",
    "PROMPT_LENGTH=100",
    "BATCH_SIZE=32",
    "TASK_FEATURE_LENGTHS={'inputs': 256, 'targets': 16}",
]
STEPS = 10  # that are timed
WAYS = ("processes=2", "together", "together+processes=2")


def measure(plan: str, chosen: list[str], way: str) -> tuple[int, float, float, int]:
    """Cells, wall seconds, CPU seconds of all processes, most bytes in the memory of one."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "mpt_jax.cli", "sweep", plan, f"--folder={folder}"]
        began = time.monotonic()
        flags = [f"--{flag}" for flag in way.split("+")]
        process = subprocess.Popen([*command, *chosen, *flags], stdout=subprocess.PIPE, text=True)
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.stdout.close()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{shlex.join(command)} failed:\n{out}")
        cells = sum(line.startswith("[") for line in out.splitlines())
        seconds = time.monotonic() - began
        return cells, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def time_steps(plan: str, chosen: dict[str, str], number: int) -> list[dict[str, object]]:
    """Prints and returns the CPU time of a cell's step where cells take turns, and all at once."""
    from mpt_jax import process

    process.tune()
    from mpt_jax.engine import run as run_lib
    from mpt_jax.engine.group import Group
    from mpt_jax.sweep import cells, plan_file, worker

    selected = plan_file.load(plan).select(**{k: v.split(",") for k, v in chosen.items()})
    rows = []
    for size, name in ((1, "in turn"), (number, "at once")):
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            runs = []
            for cell in cells.target_runs(selected, pathlib.Path(folder))[:number]:
                settings = worker.settings_of(cell.steps[0].arguments)
                run = stack.enter_context(run_lib.Run(settings))
                run.open()
                with contextlib.redirect_stderr(io.StringIO()):
                    run.start(*runs[:1])
                run.begun = lambda: None
                runs.append(run)
            batches = {run: run.fetch() for run in runs}
            group = Group(runs, size)
            group.take_step(batches)
            group.hand_out_metrics()  # waits for the step
            before, began = os.times(), time.monotonic()
            for _ in range(STEPS):
                group.take_step(batches)
            group.hand_out_metrics()
            after, wall = os.times(), time.monotonic() - began
        cpu = after.user + after.system - before.user - before.system
        cpu, wall = (1e3 * seconds / STEPS / len(runs) for seconds in (cpu, wall))
        what = f"{len(runs)} cells {name}, a step of one"
        print(f"{what}: {cpu:.1f} ms of CPU, {wall:.1f} ms")
        rows.append({"what": what, "cpu_ms": cpu, "ms": wall})
    return rows


def plan_runs(name: str, numbers: list[int], more: list[str]) -> list[dict[str, object]]:
    """Prints and returns what the step of so many runs at once needs of a chip of a TPU slice."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    from mpt_jax.plan import estimate, program, settings
    from mpt_jax.plan import topology as topologies

    topology = topologies.parse(name)
    given = [*STEP_SETTINGS, *more]
    one = settings.read(STEP_FILES, given, [], topology)
    mesh = one.partitioner.mesh.shape
    print(f"{' '.join(STEP_FILES)} {shlex.join(given)}")
    print(f"{name}, data {mesh['data']} x model {mesh['model']}; of a run, on each chip:")
    print(
        "runs   TFLOP  GB of HBM  MB sent |  arithmetic    memory     links  ms | peak   compiled"
    )
    rows: list[dict] = []
    for runs in numbers:
        built = program.build(dataclasses.replace(one, runs=runs))
        made = estimate.compile_program(built, topology)
        if made.flops is None:
            print(f"{runs:4}   does not fit: {made.peak / 2**30:.1f} GiB", flush=True)
            continue
        times = {f"{part}_ms": 1e3 * each / runs for part, each in made.seconds.items()}
        row = {
            **{"what": "runs", "runs": runs, "tflop": made.flops / runs / 1e12},
            **{"hbm_gb": made.hbm_bytes / runs / 1e9, "sent_mb": made.moved / runs / 1e6},
            **{**times, "peak_gib": made.peak / 2**30, "compile_s": made.compile_seconds},
        }
        shown = "".join(f"{each:10.3f}" for each in times.values())
        print(
            f"{runs:4} {row['tflop']:7.4f} {row['hbm_gb']:10.3f} {row['sent_mb']:8.2f} |  "
            f"{shown}     | {row['peak_gib']:.2f} GiB {row['compile_s']:4.0f} s",
            flush=True,
        )
        first = rows[0] if rows else row  # what one by itself takes, by its longest time
        alone, together = (max(each[name] for name in times) for each in (first, row))
        rows.append({**row, "times_less": alone / together})
    return rows


def main() -> None:
    """Prints a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plan", default="gin/sweeps/mini.toml")
    parser.add_argument("--methods", default="prompt tuning from scratch")
    parser.add_argument("--tasks", default="mini_rte")
    parser.add_argument("--shots", default="16,32")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--ways", default=",".join(WAYS), help="flags without --, as A,B+C")
    parser.add_argument("--at_once", type=int, help="time the step of so many cells instead")
    parser.add_argument("--topology", help="plan the step of a TPU slice instead of running")
    parser.add_argument("--runs", default="1,8,64", help="at once, with --topology")
    record.add_flag(parser)
    parser.add_argument("--gin", action="append", default=[], help="NAME=VALUE, with --topology")
    given = vars(parser.parse_args())
    topology, runs, more = given.pop("topology"), given.pop("runs"), given.pop("gin")
    at_once, path = given.pop("at_once"), given.pop("csv")
    if at_once:
        given.pop("ways")
        record.write(path, time_steps(given.pop("plan"), given, at_once))
        return
    if topology:
        rows = plan_runs(topology, [int(number) for number in runs.split(",")], more)
        record.write(path, rows, machine=f"{topology}, by its compiler")
        return
    plan, ways = given.pop("plan"), given.pop("ways").split(",")
    chosen = [f"--{name}={value}" for name, value in given.items()]
    print(f"{shlex.join(['t5x', 'sweep', plan, *chosen])} on {os.cpu_count()} cores")
    print(f"{'':20} {'cells':>5} {'seconds':>8} {'cells/min':>9} {'CPU s/cell':>10} {'memory':>8}")
    rows = []
    for way in ways:
        cells, seconds, cpu, memory = measure(plan, chosen, way)
        print(
            f"{way:20} {cells:5} {seconds:8.0f} {60 * cells / seconds:9.2f} {cpu / cells:10.1f} "
            f"{memory / 1e9:5.2f} GB",
            flush=True,
        )
        row = {"way": f"--{way.replace('+', ' --')}", "cells": cells, "seconds": seconds}
        speed = {"cells_per_min": 60 * cells / seconds, "cpu_s_per_cell": cpu / cells}
        rows.append({**row, **speed, "memory_gb": memory / 1e9})
    record.write(path, rows)


if __name__ == "__main__":
    main()
