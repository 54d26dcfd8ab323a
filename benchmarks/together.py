"""A part of a plan both ways: in one program (`t5x sweep --together`) and one run at a time.

    python benchmarks/together.py --tasks=mini_rte --shots=16,32

trains and scores the same cells with each of the given ways, in a new folder each, with nothing
compiled before, and prints wall time, CPU time, cells per minute and the largest process.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time

WAYS = ("processes=2", "processes=1", "together")


def measure(plan: str, chosen: list[str], way: str) -> tuple[int, float, float, int]:
    """Cells, wall seconds, CPU seconds of all processes, most bytes in the memory of one."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "mpt_jax.cli", "sweep", plan, f"--folder={folder}"]
        began = time.monotonic()
        process = subprocess.Popen([*command, *chosen, way], stdout=subprocess.PIPE, text=True)
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.stdout.close()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{shlex.join(command)} failed:\n{out}")
        cells = sum(line.startswith("[") for line in out.splitlines())
        seconds = time.monotonic() - began
        return cells, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def main() -> None:
    """Prints a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plan", default="gin/sweeps/mini.toml")
    parser.add_argument("--methods", default="prompt tuning from scratch")
    parser.add_argument("--tasks", default="mini_rte")
    parser.add_argument("--shots", default="16,32")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--ways", default=",".join(WAYS), help="flags without --, by commas")
    given = vars(parser.parse_args())
    plan, ways = given.pop("plan"), [f"--{way}" for way in given.pop("ways").split(",")]
    chosen = [f"--{name}={value}" for name, value in given.items()]
    print(f"{shlex.join(['t5x', 'sweep', plan, *chosen])} on {os.cpu_count()} cores")
    print(f"{'':15} {'cells':>5} {'seconds':>8} {'cells/min':>9} {'CPU s/cell':>10} {'memory':>8}")
    for way in ways:
        cells, seconds, cpu, memory = measure(plan, chosen, way)
        print(
            f"{way:15} {cells:5} {seconds:8.0f} {60 * cells / seconds:9.2f} {cpu / cells:10.1f} "
            f"{memory / 1e9:5.2f} GB",
            flush=True,
        )


if __name__ == "__main__":
    main()
