"""One run, killed several times and resumed, against the same run without a stop."""

import dataclasses
import json
import pathlib
import shutil
import socket
from collections.abc import Sequence

import numpy as np

from stress import lives, results
from stress.kinds import Kind

LIVES = 9  # of a run at most; the last is not killed
INTERRUPTED = 130


@dataclasses.dataclass(frozen=True)
class Reference:
    """A run without a stop: how it ended, and what it left with and without training lines."""

    end: lives.End
    results: dict[bool, dict[str, str]]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Of a run that was killed.

    Attributes:
        kind: name of its kind of data.
        kills: (how, phase) of each.
        differing: names of what differs from the reference.
        failure: why it did not come to its end, or "".
    """

    kind: str
    kills: list[tuple[str, str]]
    differing: list[str]
    failure: str = ""


def uninterrupted(kind: Kind, folder: pathlib.Path) -> Reference:
    """Make the reference of a kind.

    Raises:
        RuntimeError: the run fails.
    """
    run = folder / f"{kind.name} reference"
    end = _live(kind, folder / "data", run, None)[0]
    if end.status:
        raise RuntimeError(f"{kind.name} ends with status {end.status}: see {_log(run)}")
    return Reference(end, {lines: _results(run, lines) for lines in (True, False)})


def killed(kind: Kind, reference: Reference, folder: pathlib.Path, seed: Sequence[int]) -> Outcome:
    """Make a run of the kind that is killed at random; its folder is removed if it is equal."""
    random = np.random.default_rng(seed)
    run = folder / f"{kind.name} {'-'.join(map(str, seed))}"
    kills, ends = [], []
    try:
        for _ in range(LIVES - 1):
            kill = _draw(random, reference.end)
            ends = _live(kind, folder / "data", run, kill, int(random.integers(kind.hosts)))
            if ends[0].status == 0:
                break
            stopped = -9 if kill.how != lives.SIGNAL else INTERRUPTED
            if not any(end.status == stopped for end in ends):
                return Outcome(kind.name, kills, [], f"ends {ends}: see {_log(run)}")
            kills.append((kill.how, ends[0].phase))
        if not ends or ends[0].status:
            ends = _live(kind, folder / "data", run, None)
        if any(end.status for end in ends):
            return Outcome(kind.name, kills, [], f"ends {ends}: see {_log(run)}")
        lines = all(how != lives.SIGNAL for how, _ in kills)
        differing = results.differences(_results(run, lines), reference.results[lines])
    except TimeoutError as error:
        return Outcome(kind.name, kills, [], f"{error}: see {_log(run)}")
    if not differing:
        shutil.rmtree(run)
    return Outcome(kind.name, kills, differing)


def _draw(random: np.random.Generator, whole: lives.End) -> lives.Kill:
    how = random.choice([lives.TIME, lives.WRITE, lives.SIGNAL], p=[0.45, 0.45, 0.1])
    if how == lives.WRITE:
        return lives.Kill(how, int(random.integers(1, whole.writes + 1)))
    return lives.Kill(how, float(random.uniform(0, whole.seconds)))


def _live(
    kind: Kind, data: pathlib.Path, run: pathlib.Path, kill: lives.Kill | None, victim: int = 0
) -> list[lives.End]:
    """One life of each of the run's processes; the one that was killed comes first."""
    arguments = kind.arguments(data, run)
    if kind.hosts == 1:
        return [lives.Life(arguments, run, _log(run), kill).wait()]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    arguments += [f"--coordinator_address={address}", f"--process_count={kind.hosts}"]
    started = [
        lives.Life(
            [*arguments, f"--process_index={index}"],
            run,
            _log(run),
            kill if index == victim else None,
        )
        for index in range(kind.hosts)
    ]
    started.insert(0, started.pop(victim))
    return [life.wait() for life in started]


def _log(run: pathlib.Path) -> pathlib.Path:
    return run.with_name(f"{run.name}.log")


def _results(run: pathlib.Path, lines: bool) -> dict[str, str]:
    """In a separate process: reading checkpoints takes jax's devices."""
    out = run.with_name(f"{run.name}.results")

    def write() -> None:
        out.write_text(json.dumps(results.of(run, lines=lines)))

    status = lives.wait(lives.fork(write, _log(run)), float("inf"))
    if status:
        return {f"unreadable, see {_log(run)}": str(status)}
    found = json.loads(out.read_text())
    out.unlink()
    return found
