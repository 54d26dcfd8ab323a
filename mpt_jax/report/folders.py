"""Finds the run folders among the folders that a report was asked for."""

import os
from collections.abc import Iterator, Sequence

from etils import epath

from mpt_jax import run_layout
from mpt_jax.errors import UserError

# What belongs to a run folder: no other runs are looked for there.
_PARTS = {
    "backbone",
    "test",
    run_layout.CHECKPOINTS,
    run_layout.EVENTS,
    run_layout.TEACHERS,
    run_layout.VALIDATION,
}
# A folder with one of these is a run, if only one that failed at its start.
_MARKS = (run_layout.RECORD, run_layout.CONFIG, run_layout.HISTORY)


def find(paths: Sequence[str]) -> list[epath.Path]:
    """The run folders that `paths` are or contain, at any depth; sorted within each, each once.

    Raises:
        UserError: a path that is missing, is not a folder, or neither is nor contains a run.
    """
    found: dict[str, epath.Path] = {}
    for path in paths:
        folder = epath.Path(path)
        if not folder.exists():
            raise UserError(f"there is no folder {path!r}: give run folders, or what holds them.")
        if not folder.is_dir():
            raise UserError(f"{path!r} is a file: give run folders, or a folder that holds them.")
        runs = list(_below(folder, set()))
        if not runs:
            raise UserError(
                f"{path!r} is not a run folder and contains none: there is no "
                f"{', no '.join(_MARKS)} in it or below. Give the MODEL_DIR of a `t5x train`, or a "
                "folder that holds some."
            )
        for run in runs:
            found.setdefault(os.path.realpath(run), run)
    return list(found.values())


def _below(folder: epath.Path, seen: set[str]) -> Iterator[epath.Path]:
    real = os.path.realpath(folder)
    if real in seen:  # a link that leads back
        return
    seen.add(real)
    try:
        children = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror or error}.") from error
    is_run = any(child.name in _MARKS for child in children)
    if is_run:
        yield folder
    for child in children:
        if child.is_dir() and not (is_run and child.name in _PARTS):
            yield from _below(child, seen)
