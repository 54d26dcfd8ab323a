"""What a benchmark has measured, as CSV: `--csv=benchmarks/measured/NAME.csv`.

Each row has the command, the date and the machine. The numbers of `results.md` are in these files,
which `tests/test_numbers.py` checks.
"""

import argparse
import csv
import datetime
import os
import pathlib
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence

ROOT = pathlib.Path(__file__).resolve().parents[1]


def add_flag(parser: argparse.ArgumentParser) -> None:
    """Adds `--csv`."""
    parser.add_argument("--csv", type=pathlib.Path, help="a file for what is measured")


def write(path: pathlib.Path | None, rows: Sequence[Mapping[str, object]], **notes: str) -> None:
    """Writes rows, numbers with six digits; nothing without a path.

    Args:
        path: of the file, which is replaced.
        rows: column -> text or number; a row may lack columns that others have.
        **notes: columns of all rows, in place of `command`, `date` or `machine`.
    """
    if path is None:
        return
    made = {"command": _command(), "date": str(datetime.date.today()), "machine": machine()}
    full = [{**row, **made, **notes} for row in rows]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*columns, *made], lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _shown(value) for name, value in row.items()} for row in full)


def markdown(rows: Sequence[Mapping[str, object]]) -> str:
    """A table of rows with the same columns."""
    lines = [f"| {' | '.join(rows[0])} |", "|---" * len(rows[0]) + "|"]
    lines += [f"| {' | '.join(map(str, row.values()))} |" for row in rows]
    return "\n".join(lines)


def machine() -> str:
    """Its cores, processor and system."""
    return f"{os.cpu_count()} cores ({processor()}), {platform.system()}"


def processor() -> str:
    """Its name, where Linux says it."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _command() -> str:
    program = pathlib.Path(sys.argv[0]).resolve()
    name = program.relative_to(ROOT) if program.is_relative_to(ROOT) else program.name
    return shlex.join(["python", str(name), *sys.argv[1:]])


def _shown(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value
