"""What a sweep compares: methods × tasks × shots × seeds, and the runs that the methods start from.

Imports nothing heavy, as all of this package but `worker`.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence

from mpt_jax import run_layout
from mpt_jax.errors import UserError, did_you_mean

FULL = "full"  # instead of a number of shots: all training examples
# Names become folders; labels become values of --gin.LABEL and of --methods too.
_NAME = re.compile(r"\w[\w.:-]*")
_LABEL = re.compile(r"[^\W\d][\w .:()+=-]*")


@dataclasses.dataclass(frozen=True)
class Stage:
    """What all runs of a stage share: gin files before a run's own, and settings "NAME=VALUE"."""

    files: tuple[str, ...]
    settings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Source:
    """A run that methods start from; one for each seed.

    Attributes:
        name: of its folder.
        files, settings: after those of the stage.
        teachers: the source run whose teachers it learns from; None: as its gin files say.
    """

    name: str
    files: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    teachers: str | None = None


@dataclasses.dataclass(frozen=True)
class Method:
    """A row of the comparison.

    Attributes:
        label: its name in tables and reports.
        files, settings: after those of the stage.
        source: the source run that it starts from, NAME, or that run's teachers, NAME/teachers;
            None: from nothing.
    """

    label: str
    files: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    source: str | None = None

    @property
    def folder(self) -> str:
        """The label as the name of a folder."""
        return self.label.replace(" ", "_")

    @property
    def source_name(self) -> str | None:
        """The name of the source run."""
        return self.source and self.source.removesuffix(f"/{run_layout.TEACHERS}")


@dataclasses.dataclass(frozen=True)
class Plan:
    """A whole sweep.

    Attributes:
        name: what messages call it, e.g. its file.
        methods, sources: labels and names are unique.
        tasks: SeqIO tasks, each a separate target.
        shots: numbers of training examples as text, or FULL.
        seeds: each decides the source run, the draw of the examples and their order.
        source, target, evaluation: of all source runs, target runs, evaluations on the test split.
        settings: of all three.
        by_shots: shots -> settings of target runs, after those of the stage.

    Raises:
        UserError: what is empty, doubled, undeclared or misnamed. Files and settings are checked
            by `cells.check`.
    """

    name: str
    methods: tuple[Method, ...]
    tasks: tuple[str, ...]
    shots: tuple[str, ...]
    seeds: tuple[int, ...]
    sources: tuple[Source, ...] = ()
    source: Stage = Stage(("gin/mpt_source.gin",))
    target: Stage = Stage(("gin/mpt_target.gin",))
    evaluation: Stage = Stage(("gin/mpt_eval.gin",))
    settings: tuple[str, ...] = ()
    by_shots: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        try:
            _check_names("methods", [m.label for m in self.methods], _LABEL, "a letter first, "
                         "then letters, digits, spaces and any of _.:()+=-")  # fmt: skip
            _check_unique("methods", [method.folder for method in self.methods])
            _check_names("tasks", self.tasks, _NAME, "letters, digits and any of _.:-")
            _check_unique("tasks", self.tasks)
            _check_shots(self.shots, self.by_shots)
            _check_seeds(self.seeds)
            names = [source.name for source in self.sources]
            if names:
                _check_names("sources", names, _NAME, "letters, digits and any of _.:-")
                _check_unique("sources", names)
            self._check_starts()
        except UserError as error:
            raise UserError(f"{self.name}: {error}") from None

    def select(
        self,
        methods: Sequence[str] = (),
        tasks: Sequence[str] = (),
        shots: Sequence[str] = (),
        seeds: Sequence[str] = (),
    ) -> "Plan":
        """The part of the plan with these labels, tasks, shots and seeds; none given: all.

        Raises:
            UserError: one that the plan does not have.
        """
        labels = {method.label: method for method in self.methods}
        kept = _selection(self.name, "shots", shots, {k: k for k in self.shots})
        return dataclasses.replace(
            self,
            methods=_selection(self.name, "methods", methods, labels),
            tasks=_selection(self.name, "tasks", tasks, {task: task for task in self.tasks}),
            shots=kept,
            seeds=_selection(self.name, "seeds", seeds, {str(s): s for s in self.seeds}),
            by_shots={k: settings for k, settings in self.by_shots.items() if k in kept},
        )

    def _check_starts(self) -> None:
        """That the source runs of methods, and the teachers of source runs, are declared."""
        sources = {source.name: source for source in self.sources}
        for method in self.methods:
            if method.source is not None:
                _check_declared(f"method {method.label!r}", method.source_name, sources)
        for source in self.sources:
            if source.teachers is not None:
                _check_declared(f"the teachers of {source.name!r}", source.teachers, sources)
                if sources[source.teachers].teachers is not None or source.teachers == source.name:
                    raise UserError(
                        f"source {source.name!r} uses the teachers of {source.teachers!r}, which "
                        "trains none: name a source without a key teachers."
                    )


def _selection(plan: str, key: str, wanted: Sequence[str], known: Mapping[str, object]) -> tuple:
    for name in wanted:
        if name not in known:
            raise UserError(
                f"--{key}: {plan} has no {name!r}.{did_you_mean(name, known)} "
                f"It has: {', '.join(known)}."
            )
    return tuple(value for name, value in known.items() if name in wanted or not wanted)


def _check_names(key: str, names: Sequence[str], form: re.Pattern, rule: str) -> None:
    if not names:
        raise UserError(f"{key} is empty: give at least one.")
    for name in names:
        if not form.fullmatch(name):
            raise UserError(f"{key}: {name!r} cannot name a folder; use {rule}.")


def _check_unique(key: str, names: Iterable) -> None:
    seen = set()
    for name in names:
        if name in seen:
            raise UserError(f"{key}: {name!r} is there twice; their runs would share a folder.")
        seen.add(name)


def _check_shots(shots: Sequence[str], by_shots: Iterable[str]) -> None:
    if not shots:
        raise UserError("shots is empty: give at least one.")
    for k in shots:
        if k != FULL and not re.fullmatch("[1-9][0-9]*", k):
            raise UserError(f'shots: {k} is neither a positive number nor "{FULL}".')
    _check_unique("shots", shots)
    for k in by_shots:
        if k not in shots:
            raise UserError(f"by_shots: {k} is not among shots, which are {', '.join(shots)}.")


def _check_seeds(seeds: Sequence[int]) -> None:
    if not seeds:
        raise UserError("seeds is empty: give at least one.")
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise UserError(f"seeds: {seed!r} is not a whole number of at least 0.")
    _check_unique("seeds", seeds)


def _check_declared(what: str, name: str, sources: Mapping[str, Source]) -> None:
    if name not in sources:
        declared = ", ".join(sources) or "none"
        raise UserError(
            f"{what}: there is no source run {name!r}.{did_you_mean(name, sources)} "
            f"Declared in sources: {declared}."
        )
