"""Every kind of file that is read, damaged at random, and what its reader then says.

    PYTHONPATH=tests:tests/support:benchmarks python -m stress.damages --damages=2000

A reader must refuse a damaged file with one message, or give the very same values. Files of other
programs carry no checksums: of a backbone or a vocabulary prompts keep what tells a damaged one
apart, and other data are what they say. Ends with status 1 where a file that this package wrote
gives other values, or where anything but a message came: a traceback, a crash, a hang.
"""

import argparse
import collections
import dataclasses
import json
import os
import pathlib
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence

import numpy as np

os.environ["JAX_PLATFORMS"] = "cpu"  # read as jax is imported
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import record  # noqa: E402

from mpt_jax.errors import UserError  # noqa: E402
from stress import lives  # noqa: E402
from stress.readers import READERS, Reader  # noqa: E402

REFUSED, SAME, TOLD, OTHER, TRACEBACK, CRASH, HANG = OUTCOMES = (
    "refused",
    "the same",
    "other values, told apart",
    "other values",
    "traceback",
    "crash",
    "hang",
)
_LIMIT = 60  # seconds for one reading


@dataclasses.dataclass(frozen=True)
class Damage:
    """One damage to a copy of a reader's files, and what came of it."""

    reader: str
    number: int
    what: str
    outcome: str
    said: str


def main() -> int:
    arguments = parse_arguments()
    chosen = [reader for reader in READERS if arguments.only in reader.name]
    with tempfile.TemporaryDirectory(prefix="damages_") as folder:
        found = run(arguments.damages, pathlib.Path(folder), chosen, arguments.seed)
    readers = {reader.name: reader for reader in chosen}
    bad = [damage for damage in found if is_bad(damage, readers[damage.reader])]
    for each in bad:
        print(f"{each.reader}, {each.number}: {each.what}: {each.outcome} {each.said}")
    rows = by_reader(found)
    print(record.markdown(rows))
    command = f"python -m stress.damages {shlex.join(sys.argv[1:])}"
    record.write(arguments.csv, rows, command=command)
    return int(bool(bad))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--damages", type=int, default=2000, help="over all readers")
    parser.add_argument("--only", default="", help="readers whose name holds this text")
    parser.add_argument("--seed", type=int, default=0)
    record.add_flag(parser)
    return parser.parse_args()


def run(
    damages: int, folder: pathlib.Path, readers: Sequence[Reader], seed: int = 0
) -> list[Damage]:
    """So many damages, shared evenly among the readers."""
    return [
        damage
        for place, reader in enumerate(readers)
        for damage in _of_reader(
            reader,
            folder / str(place),
            seed=(seed, place),
            count=damages // len(readers) + (place < damages % len(readers)),
        )
    ]


def is_bad(damage: Damage, reader: Reader) -> bool:
    """Whether a reader must not do this."""
    if damage.outcome in (OTHER, TOLD):
        return reader.checked
    return damage.outcome not in (REFUSED, SAME)


def by_reader(found: Sequence[Damage]) -> list[dict[str, object]]:
    """Outcomes by reader."""
    counts = collections.Counter((damage.reader, damage.outcome) for damage in found)
    return [
        {"file": reader, **{outcome: counts[reader, outcome] for outcome in OUTCOMES}}
        for reader in dict.fromkeys(damage.reader for damage in found)
    ]


def _of_reader(
    reader: Reader, folder: pathlib.Path, *, seed: Sequence[int], count: int
) -> list[Damage]:
    """Damages of one reader, in a process that is replaced when a reading ends it."""
    folder.mkdir(parents=True)
    log, told = folder / "log", folder / "told.jsonl"
    told.touch()
    while (done := len(told.read_text().splitlines())) < count:

        def work(start: int = done) -> None:
            _damage_and_read(reader, folder, told, seed, range(start, count))

        status = lives.wait(lives.fork(work, log), float("inf"))
        if status > 0:
            raise RuntimeError(f"{reader.name}: the test itself failed:\n{log.read_text()}")
        if status < 0:
            number = len(told.read_text().splitlines())
            outcome = HANG if status == -signal.SIGALRM else CRASH
            _tell(told, Damage(reader.name, number, "", outcome, f"signal {-status}"))
    return [Damage(**json.loads(line)) for line in told.read_text().splitlines()]


def _damage_and_read(
    reader: Reader,
    folder: pathlib.Path,
    told: pathlib.Path,
    seed: Sequence[int],
    numbers: Sequence[int],
) -> None:
    whole, copy = folder / "whole", folder / "copy"
    if not whole.exists():
        whole.mkdir()
        reader.write(whole)
    expected, identity = reader.read(whole), reader.identity(whole)
    for number in numbers:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(whole, copy)
        what = damage(reader, copy, np.random.default_rng([*seed, number]))
        signal.alarm(_LIMIT)
        said = ""
        try:
            outcome = SAME
            if reader.read(copy) != expected:
                outcome = TOLD if reader.identity(copy) != identity else OTHER
        except UserError as error:
            outcome, said = REFUSED, str(error)
        except Exception as error:
            outcome, said = TRACEBACK, repr(error)
        signal.alarm(0)
        _tell(told, Damage(reader.name, number, what, outcome, said[:400]))


def damage(reader: Reader, folder: pathlib.Path, random: np.random.Generator) -> str:
    """Damage one of a reader's files in a folder; says what was done."""
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and path.stat().st_size and reader.damages(path.relative_to(folder))
    )
    path = files[random.integers(len(files))]
    content = bytearray(path.read_bytes())
    size = len(content)
    near = min(size, 2048) if random.random() < 0.4 else size  # headers are small and matter most
    place = int(random.integers(near))
    how = random.choice(["flip", "flip", "flip", "zeros", "cut", "twice", "noise", "gone"])
    match how:
        case "flip":
            content[place] ^= 1 << int(random.integers(8))
        case "zeros":
            content[place : place + 64] = bytes(len(content[place : place + 64]))
        case "cut":
            del content[place:]
        case "twice":
            content[place:place] = content[place : place + 64]
        case "noise":
            content[place : place + 16] = random.bytes(len(content[place : place + 16]))
    path.write_bytes(content)
    if how == "gone":
        path.unlink()
    return f"{how} at {place} of {size} in {path.relative_to(folder)}"


def _tell(told: pathlib.Path, damage: Damage) -> None:
    with told.open("a") as stream:
        stream.write(json.dumps(dataclasses.asdict(damage)) + "\n")


if __name__ == "__main__":
    sys.exit(main())
