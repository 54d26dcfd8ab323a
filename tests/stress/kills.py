"""Runs of every kind of data, killed again and again, resumed, and compared bit by bit.

    PYTHONPATH=tests:tests/support:benchmarks python -m stress.kills --kills=500

For each kind a run is made without a stop. Others of the same command are killed at random: after a
time, just before one of their writes to the run folder, or by SIGTERM, which lets them save; then
they are started again, to be killed again, and at last left to finish. What they learnt, predicted
and reported must be that of the run without a stop. Ends with status 1 where anything differs.
"""

import argparse
import collections
import multiprocessing
import os
import pathlib
import shlex
import sys
import tempfile
from collections.abc import Sequence

# Read by libraries as they are imported. Compiling is most of a tiny run.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"

import record  # noqa: E402

from stress import chain, kinds, lives  # noqa: E402


def main() -> int:
    arguments = parse_arguments()
    folder = pathlib.Path(arguments.folder or tempfile.mkdtemp(prefix="kills_")).resolve()
    outcomes = run(arguments.kills, folder, arguments.only, arguments.seed, arguments.processes)
    of_kinds, of_phases = by_kind(outcomes), by_phase(outcomes)
    print(f"{record.markdown(of_kinds)}\n\n{record.markdown(of_phases)}")
    command = f"python -m stress.kills {shlex.join(sys.argv[1:])}"
    record.write(arguments.csv, [*of_kinds, *of_phases], command=command)
    return int(any(outcome.failure or outcome.differing for outcome in outcomes))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=500, help="at least so many are tried")
    parser.add_argument("--only", default="", help="kinds of data whose name holds this text")
    parser.add_argument("--seed", type=int, default=0, help="of the kills")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time")
    record.add_flag(parser)
    parser.add_argument("--folder", help="a new one for data and runs; default: a temporary one")
    return parser.parse_args()


def run(
    kills: int, folder: pathlib.Path, only: str = "", seed: int = 0, processes: int = 2
) -> list[chain.Outcome]:
    """Kill runs of each kind in turn until so many kills are reached."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "data"
    os.environ["STRESS_DATA"] = str(data)
    lives.share_programs(folder / "programs")
    if status := lives.wait(lives.fork(lambda: kinds.write_data(data), folder / "data.log"), 1e18):
        raise RuntimeError(f"the data were not written ({status}): see {folder / 'data.log'}")
    chosen = [kind for kind in kinds.KINDS if only in kind.name]
    outcomes = []
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        alone = [(kind, folder) for kind in chosen]
        references = pool.starmap(chain.uninterrupted, alone, chunksize=1)
        number = 0
        while sum(len(outcome.kills) for outcome in outcomes) < kills:
            todo = [
                (kind, reference, folder, (seed, place, number))
                for place, (kind, reference) in enumerate(zip(chosen, references, strict=True))
            ]
            for outcome in pool.starmap(chain.killed, todo, chunksize=1):
                outcomes.append(outcome)
                print(f"{outcome.kind}: {len(outcome.kills)} kills: {said(outcome)}", flush=True)
            number += 1
    return outcomes


def said(outcome: chain.Outcome) -> str:
    """What came of a run, in a few words."""
    if outcome.failure:
        return outcome.failure
    return f"DIFFERS in {', '.join(outcome.differing)}" if outcome.differing else "identical"


def by_kind(outcomes: Sequence[chain.Outcome]) -> list[dict[str, object]]:
    """Kills and runs by kind of data."""
    rows = []
    for kind in dict.fromkeys(outcome.kind for outcome in outcomes):
        of_kind = [outcome for outcome in outcomes if outcome.kind == kind]
        same = sum(not (outcome.failure or outcome.differing) for outcome in of_kind)
        kills = sum(len(outcome.kills) for outcome in of_kind)
        counts = {"kills": kills, "runs": len(of_kind), "identical": same}
        rows.append({"kind of data": kind, **counts})
    return rows


def by_phase(outcomes: Sequence[chain.Outcome]) -> list[dict[str, object]]:
    """Kills by how and in which phase."""
    counts = collections.Counter(kill for outcome in outcomes for kill in outcome.kills)
    ways = (lives.TIME, lives.WRITE, lives.SIGNAL)
    return [
        {"killed in": phase, **{way: counts[way, phase] for way in ways}} for phase in lives.PHASES
    ]


if __name__ == "__main__":
    sys.exit(main())
