"""The runs of a plan: their folders and commands, and which of them are finished.

Of a sweep's folder, `sources/<name>-<seed>` is a source run, and
`targets/<method>/<task>-<shots>-<seed>` a cell with its scores in `<split>/metrics.json`.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Container, Iterator, Sequence

from mpt_jax import files, run_layout
from mpt_jax.errors import UserError
from mpt_jax.sweep.plan import FULL, Method, Plan, Source

_TEST = "test"
_MEAN = {"key_metric": (int, float)}


@dataclasses.dataclass(frozen=True)
class Step:
    """One `t5x` command: its gin files, and overrides "NAME=VALUE"."""

    command: str
    files: tuple[str, ...]
    overrides: tuple[str, ...]

    @property
    def arguments(self) -> list[str]:
        """What follows `t5x` on the command line."""
        files = (f"--gin_file={name}" for name in self.files)
        return [self.command, *files, *(f"--gin.{override}" for override in self.overrides)]


@dataclasses.dataclass(frozen=True)
class Run:
    """Training, and for a cell the evaluation of its product.

    Attributes:
        name: of its folder, within that of the sweep.
        folder: the run folder.
        steps: the commands, in order.
        after: name of the run that must be finished before.
        scores: the file that the evaluation writes last; None without one.
    """

    name: str
    folder: pathlib.Path
    steps: tuple[Step, ...]
    after: str | None = None
    scores: pathlib.Path | None = None

    @property
    def log(self) -> pathlib.Path:
        """Where the worker writes what the commands print."""
        return self.folder / "log.txt"

    def has_started(self) -> bool:
        """Whether there is a run to resume."""
        return (self.folder / run_layout.CONFIG).exists()

    def is_finished(self) -> bool:
        """Whether the training came to its end and, where there is one, the evaluation.

        A record, scores or a product that cannot be read are those of a run that must be completed.
        """
        try:
            record = files.read_json(self.folder / run_layout.RECORD)
            mean = files.read_json(self.scores).get("mean") if self.scores else None
        except UserError:
            return False
        if self.scores and not (isinstance(mean, dict) and "key_metric" in mean):
            return False
        if not run_layout.says_finished(record) or "tuned_parameters" not in record:
            return False
        return bool(self.scores) or _loads(self.folder)

    def score(self) -> float:
        """The mean of the key metrics that the evaluation has found, in percent.

        Raises:
            UserError: there is none, or it is not a number.
        """
        mean = files.read_json(self.scores).get("mean")
        files.check_fields(mean if isinstance(mean, dict) else {}, _MEAN, str(self.scores))
        return mean["key_metric"]


def _loads(folder: pathlib.Path) -> bool:
    """Whether there is a product in a run folder, and can be read."""
    from mpt_jax.product import product_file  # takes numpy, which a mistake in a plan does not need

    try:
        product_file.load(str(folder))
    except UserError:
        return False
    return True


def all_runs(plan: Plan, folder: pathlib.Path) -> list[Run]:
    """The runs of the plan, each behind the one that it needs."""
    return [*source_runs(plan, folder), *target_runs(plan, folder)]


def left_of(runs: Sequence[Run], again: Container[str] = ()) -> list[Run]:
    """The unfinished runs; a run that only finished ones need is not wanted any more.

    Args:
        runs: each behind the one that it needs.
        again: names of those that are carried out again, and are not finished for that.
    """
    leaves = {run.name for run in runs} - {run.after for run in runs}
    left, needed = [], set(leaves)
    for run in reversed(runs):
        if run.name in needed and (run.name in again or not run.is_finished()):
            left.append(run)
            needed.add(run.after)
    return left[::-1]


def source_runs(plan: Plan, folder: pathlib.Path) -> list[Run]:
    """The source runs that the plan's methods need, those that use another's teachers last."""
    names = {method.source_name for method in plan.methods}
    names |= {source.teachers for source in plan.sources if source.name in names}
    needed = [source for source in plan.sources if source.name in names]
    needed.sort(key=lambda source: source.teachers is not None)
    return [_source_run(plan, folder, source, seed) for source in needed for seed in plan.seeds]


def target_runs(plan: Plan, folder: pathlib.Path) -> list[Run]:
    """The cells; those of one draw of examples follow each other."""
    return [
        target_run(plan, folder, method, task, shots, seed)
        for shots in plan.shots
        for seed in plan.seeds
        for task in plan.tasks
        for method in plan.methods
    ]


def target_run(
    plan: Plan, folder: pathlib.Path, method: Method, task: str, shots: str, seed: int
) -> Run:
    """One cell. Cells of other methods differ from it only in what the plan says of the methods.

    Raises:
        UserError: a setting of the plan that is the sweep's own to set.
    """
    name = f"targets/{method.folder}/{task}-{shots}-{seed}"
    given = (*plan.settings, *plan.target.settings, *plan.by_shots.get(shots, ()), *method.settings)
    own = [
        f"LABEL={method.label}",
        f"MIXTURE_OR_TASK_NAME={task}",
        f"RANDOM_SEED={seed}",
        f"FEW_SHOT_SEED={seed}",
        f"FEW_SHOT={'None' if shots == FULL else shots}",
        f"MODEL_DIR={folder / name}",
    ]
    after = None
    if method.source is not None:
        after = _source_name(method.source_name, seed)
        teachers = f"/{run_layout.TEACHERS}" if method.source != method.source_name else ""
        own.append(f"SOURCE_PROMPTS={folder / after}{teachers}")
    evaluation = folder / name / split_of(plan)
    places = [f"PROMPTS={folder / name}", f"EVAL_OUTPUT_DIR={evaluation}"]
    steps = (
        _step(plan, "train", (*plan.target.files, *method.files), given, own),
        _step(
            plan, "eval", plan.evaluation.files, (*plan.settings, *plan.evaluation.settings), places
        ),
    )
    return Run(name, folder / name, steps, after, evaluation / run_layout.EVALUATION)


def split_of(plan: Plan) -> str:
    """The split that the plan's cells are evaluated on (EVAL_SPLIT)."""
    return _split_in(plan.evaluation.files, (*plan.settings, *plan.evaluation.settings))


@functools.cache
def _split_in(files: tuple[str, ...], settings: tuple[str, ...]) -> str:
    from mpt_jax.configuration import gin_source  # takes gin, which `t5x --help` does not need

    try:
        binding = gin_source.read(files, settings, ()).values().get("EVAL_SPLIT")
    except UserError:  # `check` says so
        return _TEST
    return binding.value if binding and isinstance(binding.value, str) else _TEST


def check(plan: Plan, folder: pathlib.Path) -> None:
    """Reads the gin files and settings of a run of every kind, without importing what they name.

    Raises:
        UserError: a gin file that is not there, a macro that none of a run's files knows, one that
            is left unset; the message names the run.
    """
    from mpt_jax.configuration import config  # takes gin, which `t5x --help` does not need

    for run, step in kinds(plan, folder):
        try:
            config.check(step.files, step.overrides)
        except UserError as error:
            raise UserError(f"{plan.name}: {step.command} of {run.name}: {error}") from None


def kinds(plan: Plan, folder: pathlib.Path) -> Iterator[tuple[Run, Step]]:
    """One of each kind of command: what is wrong in a plan is wrong in one of them.

    A training of every source; of every number of shots, one of every method and one of every
    task; an evaluation of every task.
    """
    for run in source_runs(dataclasses.replace(plan, seeds=plan.seeds[:1]), folder):
        yield run, run.steps[0]
    cells = [
        target_run(plan, folder, method, task, shots, plan.seeds[0])
        for shots in plan.shots
        for method in plan.methods
        for task in plan.tasks
        if method is plan.methods[0] or task == plan.tasks[0]
    ]
    for cell in cells:
        yield cell, cell.steps[0]
    for cell in cells[: len(plan.tasks)]:
        yield cell, cell.steps[1]


def _source_name(source: str, seed: int) -> str:
    return f"sources/{source}-{seed}"


def _source_run(plan: Plan, folder: pathlib.Path, source: Source, seed: int) -> Run:
    name = _source_name(source.name, seed)
    given = (*plan.settings, *plan.source.settings, *source.settings)
    own = [f"RANDOM_SEED={seed}", f"MODEL_DIR={folder / name}"]
    after = None
    if source.teachers is not None:
        after = _source_name(source.teachers, seed)
        own.append(f"TEACHER_PROMPTS={folder / after / run_layout.TEACHERS}")
    step = _step(plan, "train", (*plan.source.files, *source.files), given, own)
    return Run(name, folder / name, (step,), after)


def _step(
    plan: Plan, command: str, files: Sequence[str], given: Sequence[str], own: Sequence[str]
) -> Step:
    """A command of the plan's settings and the sweep's own.

    Raises:
        UserError: one of the plan's would be without effect.
    """
    names = {override.partition("=")[0] for override in own}
    for override in given:
        name = override.partition("=")[0].strip()
        if name in names:
            raise UserError(
                f"{plan.name}: the setting {override!r} has no effect: a sweep sets {name} itself."
            )
    return Step(command, tuple(files), (*given, *own))
