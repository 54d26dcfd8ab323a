"""Which cells of a sweep are trained in one program (`engine.loop.train_together`)."""

import re
from collections.abc import Iterator, Sequence

from mpt_jax.sweep.cells import Run

# Settings that only decide where a run starts, what it reads, how fast it learns, where it lies.
_OF_A_RUN = re.compile(
    r"(LABEL|MIXTURE_OR_TASK_NAME|RANDOM_SEED|FEW_SHOT|FEW_SHOT_SEED|MODEL_DIR|SOURCE_PROMPTS"
    r"|([A-Z_]+_)?LEARNING_RATE)="
)


def of(runs: Sequence[Run], most: int, processes: int = 1) -> list[tuple[Run, ...]]:
    """The runs in groups that can be expected to share a program, and each source run by itself.

    Cells of one task are in one group where they can be: their texts are of like length, and the
    batches of those that take a step at once are padded to the longest.

    Args:
        runs: each behind the one that it needs, as the groups are then.
        most: runs of a group; 1: each by itself.
        processes: at work at a time; a group is so small that each has one.
    """
    if most > 1:
        cells = sum(run.scores is not None for run in runs)
        most = max(2, min(most, -(-cells // processes)))
    alike: dict[tuple, list[Run]] = {}
    for run in runs:
        alike.setdefault(_program(run) if run.scores and most > 1 else (run.name,), []).append(run)
    tasks = {run.name: _task(run) for run in runs}
    groups = [
        part
        for members in alike.values()
        for part in _parts(sorted(members, key=lambda run: tasks[run.name]), most)
    ]
    place = {run.name: number for number, run in enumerate(runs)}
    return sorted(groups, key=lambda group: max(place[run.name] for run in group))


def _program(run: Run) -> tuple:
    """The files and settings of the training, without those of a run."""
    step = run.steps[0]
    return (*step.files, *(each for each in step.overrides if not _OF_A_RUN.match(each)))


def _task(run: Run) -> str:
    return next((s for s in run.steps[0].overrides if s.startswith("MIXTURE_OR_TASK_NAME=")), "")


def _parts(members: Sequence[Run], most: int) -> Iterator[tuple[Run, ...]]:
    """As few parts as possible, of like size."""
    count = -(-len(members) // most)
    size = -(-len(members) // count)
    for first in range(0, len(members), size):
        yield tuple(members[first : first + size])
