"""The settings that a run of a sweep was made with, compared with those that the plan gives it.

`t5x train` leaves its configuration in config.gin, `t5x eval` in config_eval.gin. Both are gin
text with all bindings, which is read as the gin files of the plan are, without importing anything.
"""

import functools
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from mpt_jax import run_layout
from mpt_jax.configuration import gin_presets, gin_source
from mpt_jax.errors import UserError
from mpt_jax.sweep.cells import Run, Step

_MOST_SHOWN = 5

# Arguments that do not change what comes out, and places, which move with the sweep's folder.
_WITHOUT_EFFECT = frozenset(
    {
        "model_dir",
        "output_dir",
        "stats_period",
        "period",
        "keep",
        "num_partitions",
        "model_parallel_submesh",
    }
)

Bindings = dict[str, Any]  # "scope/function.argument" or a macro's name -> value


class Changed(NamedTuple):
    """Results of other settings than the plan's.

    Attributes:
        run: whose they are.
        folder: that holds them: of the run, or of its evaluation.
        difference: "NAME: old there, new in the plan".
    """

    run: Run
    folder: pathlib.Path
    difference: str


def changed(runs: Sequence[Run]) -> list[Changed]:
    """All that differs in runs that have results."""
    return [
        Changed(run, file.parent, difference)
        for run in runs
        for step, file in zip(run.steps, _files(run), strict=False)
        if (run.is_finished() or run_layout.holds_results(run.folder)) and file.exists()
        for difference in differences(step, file, run)
    ]


def check(runs: Sequence[Run], redo: bool = False) -> list[Changed]:
    """Refuses runs that have results of other settings, which a table would mix with new ones.

    Args:
        runs: of a plan.
        redo: whether such runs are carried out again, and so not refused.

    Returns:
        What differs; nothing without `redo`.

    Raises:
        UserError: names the runs and what differs.
    """
    found = changed(runs)
    if found and not redo:
        raise UserError(
            f"these runs were made with other settings than the plan's:\n{listed(found)}\n"
            "Give the edited plan another --folder; or, to delete these runs and those that start "
            "from them, and carry them out again, add --redo."
        )
    return found


def listed(found: Sequence[Changed]) -> str:
    """A line for each difference, up to a few."""
    lines = [f"  {each.run.name}: {each.difference}" for each in found[:_MOST_SHOWN]]
    more = [f"  and {len(found) - _MOST_SHOWN} more"] if len(found) > _MOST_SHOWN else []
    return "\n".join([*lines, *more])


def outdated(found: Sequence[Changed], runs: Sequence[Run]) -> dict[str, pathlib.Path]:
    """Names of the runs to carry out again, and the folder of each that is to be deleted for it.

    Args:
        found: what differs.
        runs: all runs of the plan, each behind the one that it needs: those that start from one
            with other settings have learnt from something else.
    """
    folders: dict[str, pathlib.Path] = {}
    for each in found:  # that of a run holds that of its evaluation
        known = folders.get(each.run.name, each.folder)
        folders[each.run.name] = min(known, each.folder, key=lambda path: len(path.parts))
    for run in runs:
        if run.after in folders and run.folder.exists():
            folders[run.name] = run.folder
    return folders


def differences(step: Step, file: pathlib.Path, run: Run) -> Iterator[str]:
    """What `step` would set otherwise than `file` says, each "NAME: old there, new in the plan"."""
    old = _bindings(gin_source.read((str(file),), (), ()))
    if not old:  # a start that was killed, or a version that recorded nothing
        return
    new = {
        **_of_files(step.command, step.files),
        **_bindings(gin_source.read((), step.overrides, ())),
    }
    for name in sorted((old.keys() - _without_effect(old)) | (new.keys() - _without_effect(new))):
        there, wanted = (_shown(side[name]) if name in side else "not set" for side in (old, new))
        if there != wanted and not _is_one_place(there, wanted, run):
            yield f"{name}: {there} there, {wanted} in the plan"


def _files(run: Run) -> tuple[pathlib.Path, ...]:
    """Where each step of the run leaves its configuration."""
    trained = run.folder / run_layout.CONFIG
    return (trained, run.scores.parent / run_layout.EVALUATION_CONFIG) if run.scores else (trained,)


@functools.cache
def _of_files(command: str, files: tuple[str, ...]) -> Bindings:
    return _bindings(gin_source.read(files, (), (), gin_presets.presets(command, files)))


def _bindings(source: gin_source.Source) -> Bindings:
    """The last value of each name; functions by their last name, as modules have several."""
    found = {}
    for binding in [*source.bindings, *source.overrides]:
        scope = f"{binding.scope}/" if binding.scope else ""
        function = binding.selector.rpartition(".")[2]
        argument = f".{binding.argument}" if binding.argument else ""
        found[f"{scope}{function}{argument}"] = binding.value
    return found


def _without_effect(bindings: Bindings) -> set[str]:
    """The arguments of the list, and the macros that set nothing else."""
    used: dict[str, set[str]] = {}
    for name, value in bindings.items():
        for reference in gin_source.references(value):
            used.setdefault(reference.name, set()).add(name)
    exempt = {name for name in bindings if name.rpartition(".")[2] in _WITHOUT_EFFECT}
    macros = {name for name in bindings if "." not in name}
    return exempt | {name for name in macros if used.get(name, set()) <= exempt}


def _shown(value: Any) -> str:
    """A value as text, in which functions have only their last name."""
    if isinstance(value, gin_source.Reference):
        scope, slash, function = value.name.rpartition("/")
        mark = "%" if value.is_macro else "@"
        return f"{mark}{scope}{slash}{function.rpartition('.')[2]}"
    if isinstance(value, dict):
        items = sorted(f"{_shown(k)}: {_shown(v)}" for k, v in value.items())
        return f"{{{', '.join(items)}}}"
    if isinstance(value, list | tuple):
        return f"({', '.join(map(_shown, value))})"
    return repr(value)


def _is_one_place(there: str, wanted: str, run: Run) -> bool:
    """Whether both are the folder of the same run of the sweep, which has been moved or linked."""
    root = str(run.folder).removesuffix(run.name)
    below = wanted.strip("'").removeprefix(root)
    return wanted.startswith(f"'{root}") and there.strip("'").endswith(f"/{below}")
