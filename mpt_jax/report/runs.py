"""Reads run folders into records; what cannot be used becomes a `Problem`, never nothing."""

import contextlib
import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from etils import epath

from mpt_jax import files, run_layout
from mpt_jax.engine.evaluation import confusion
from mpt_jax.engine.evaluation.confusion import Confusion
from mpt_jax.engine.records import evaluated, history
from mpt_jax.engine.records.evaluations import Evaluations
from mpt_jax.engine.records.recorded_costs import Cost
from mpt_jax.errors import UserError
from mpt_jax.product import product_file
from mpt_jax.report import facts

TEST, VALIDATION = "test", "validation"
SOURCE, TARGET = "source", "target"

# Of run.json, of metrics.jsonl's lines. What is longer or larger than these is not from a run.
_LONGEST_NAME = 200
_LARGEST_NUMBER = 2**62
_FIELDS = {
    "label": str,
    "method": str,
    "tasks": list,
    "key_metrics": dict,
    "few_shot": (int, type(None)),
    "seed": int,
    "total_steps": int,
    "batch_size": int,
    "tuned_parameters": int,
    "stage": str,
}

Series = dict[int, float]  # step -> value


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A finished run.

    Attributes:
        folder: where it is, as the user named it.
        stage: SOURCE or TARGET.
        label: its method's name in the report.
        tasks: names of its K tasks.
        key_metrics: task -> name of its key metric.
        shots: training examples per task; None: all.
        seed, steps, batch_size: of the training.
        tuned_per_task: numbers that train, over K.
        split: that of an evaluation of the product, TEST where there is one; else VALIDATION.
        scores: task -> key metric on that split, percent.
        rows: task -> how many rows of that split it is of, where that is known.
        train_rows: task -> rows that it was trained on, or drawn from, where that is known.
        confusions: task -> which label was taken for which on that split, where that was asked for.
        answers: task -> what `t5x eval` says of its answers, where the task has label words.
        cost: of its training, as `recorded_costs.of`.
        backbone: its name and fingerprint; "" where they are not known.
        day: when the last of its scores was written, by the date of the file, as 2026-11-25.
        validation: task -> key metric by step, percent.
        losses: task -> training loss by step, nats per target token.
        bank: leaves as in `prompts`, float32; empty where the method has no prompts.
        bank_tasks: names of the bank's rows.
    """

    folder: str
    stage: str
    label: str
    tasks: tuple[str, ...]
    key_metrics: dict[str, str]
    shots: int | None
    seed: int
    steps: int
    batch_size: int
    tuned_per_task: float
    split: str
    scores: dict[str, float]
    rows: dict[str, int]
    train_rows: dict[str, int]
    confusions: dict[str, Confusion]
    answers: dict[str, dict[str, float]]
    cost: Cost
    backbone: str
    day: str
    validation: dict[str, Series]
    losses: dict[str, Series]
    bank: dict[str, np.ndarray]
    bank_tasks: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Problem:
    """A run, or a part of one, that the report leaves out."""

    folder: str
    status: str  # "incomplete", "unreadable" or "not counted"
    reason: str


class _UnusableError(Exception):
    """Args: status, reason."""


def read(folders: Sequence[epath.Path]) -> tuple[list[Run], list[Problem]]:
    """The finished runs, and what is left out of them and why, in the order of the folders.

    Labels that differ in case are spelt as in the first run that has them.
    """
    runs: list[Run] = []
    problems: list[Problem] = []
    counted: dict[tuple, str] = {}
    spellings: dict[str, str] = {}
    for folder in folders:
        try:
            run = _read_run(folder, problems)
            # "mpt" and "MPT" are one method.
            label = spellings.setdefault(run.label.casefold(), run.label)
            run = dataclasses.replace(run, label=label)
            _check_is_first(run, counted)
        except _UnusableError as unusable:
            problems.append(Problem(folder.as_posix(), *unusable.args))
        else:
            runs.append(run)
    return runs, problems


def _read_run(folder: epath.Path, problems: list[Problem]) -> Run:
    """One run.

    Raises:
        _UnusableError: it is incomplete, unreadable or of another stage. A bad prompt file alone
            goes to `problems`.
    """
    record = _record(folder)
    if record["stage"] not in (SOURCE, TARGET):
        raise _UnusableError("not counted", f"its stage is {record['stage']}")
    lines = _metric_lines(folder)
    reached = max((line["step"] for line in lines), default=0)
    if reached < record["total_steps"]:
        raise _UnusableError("incomplete", f"at step {reached} of {record['total_steps']}")
    if not run_layout.says_finished(record):
        raise _UnusableError("incomplete", "stopped in its last evaluation: start it again")
    keys = {task: record["key_metrics"][task] for task in record["tasks"]}
    evals = [line for line in lines if line["kind"] == "eval"]
    if len(evals) != record.get("evaluations", len(evals)):
        reason = f"{run_layout.HISTORY} has {len(evals)} of {record['evaluations']} evaluations"
        raise _UnusableError("unreadable", reason)
    split, scores = _scores(folder, keys, Evaluations.of(record, evals))
    if unevaluated := [task for task in keys if task not in scores]:
        reason = f"{', '.join(unevaluated)}: not evaluated, because there is no {split} split"
        problems.append(Problem(folder.as_posix(), "not counted", reason))
    bank, bank_tasks = _bank(folder, problems)
    return Run(
        folder=folder.as_posix(),
        stage=record["stage"],
        label=record["label"],
        tasks=tuple(scores),
        key_metrics={task: keys[task] for task in scores},
        shots=record["few_shot"],
        seed=record["seed"],
        steps=record["total_steps"],
        batch_size=record["batch_size"],
        tuned_per_task=record["tuned_parameters"] / len(keys),
        split=split,
        scores=scores,
        confusions=_confusions(folder, split, scores, problems),
        **facts.of(folder, record, split, tuple(scores)),
        validation={task: _series(evals, f"{task}/{keys[task]}") for task in scores},
        losses={
            task: _series([x for x in lines if x["kind"] == "train"], f"task_loss/{task}")
            for task in scores
        },
        bank=bank,
        bank_tasks=bank_tasks,
    )


def _record(folder: epath.Path) -> dict[str, Any]:
    if not (folder / run_layout.RECORD).exists():
        reason = f"no {run_layout.RECORD}: training failed at its start"
        raise _UnusableError("unreadable", reason)
    with _unreadable():
        record = files.read_json(folder / run_layout.RECORD)
        files.check_fields(record, _FIELDS, run_layout.RECORD)
    names = [record["label"], record["method"], *record["tasks"], *record["key_metrics"].values()]
    usable = [n for n in names if isinstance(n, str) and n.isprintable() and n.strip()]
    if len(usable) < len(names) or max(map(len, usable)) > _LONGEST_NAME:
        reason = f"{run_layout.RECORD}: a name is not a line of 1 to {_LONGEST_NAME} characters"
        raise _UnusableError("unreadable", reason)
    for name in ("total_steps", "batch_size", "tuned_parameters", "few_shot"):
        if record[name] is not None and not 1 <= record[name] <= _LARGEST_NUMBER:
            raise _UnusableError("unreadable", f"{run_layout.RECORD} has no usable {name!r}")
    if not record["tasks"] or set(record["tasks"]) - set(record["key_metrics"]):
        raise _UnusableError(
            "unreadable", f"{run_layout.RECORD} does not name each task's key metric"
        )
    return record


def _metric_lines(folder: epath.Path) -> list[dict[str, Any]]:
    if not (folder / run_layout.HISTORY).exists():
        raise _UnusableError("incomplete", f"no {run_layout.HISTORY}: no step was logged yet")
    with _unreadable():
        lines = history.read(folder)
    if any(not 0 <= line["step"] <= _LARGEST_NUMBER for line in lines):
        raise _UnusableError("unreadable", f"{run_layout.HISTORY} has a step out of range")
    return lines


def _scores(
    folder: epath.Path, keys: dict[str, str], validated: Evaluations
) -> tuple[str, dict[str, float]]:
    """The split and each task's key metric there: an evaluation's, else the best validation's.

    A task that lacks the split was not evaluated, and has none.

    The best evaluation is the one that the product of the run, or its part, was taken from.
    """
    if evaluation := _evaluation(folder):
        split, found = evaluation
        scores = {task: _at(found[task], key) for task, key in keys.items() if task in found}
        return split, _finite(scores, run_layout.EVALUATION)
    found = validated.results()
    if not found:
        reason = f"no test/{run_layout.EVALUATION}, and no evaluation in {run_layout.HISTORY}"
        raise _UnusableError("incomplete", reason)
    scores = {task: _at(found[task], key) for task, key in keys.items() if task in found}
    return VALIDATION, _finite(scores, run_layout.HISTORY)


def _evaluation(folder: epath.Path) -> tuple[str, dict[str, Any]] | None:
    """The split and the contents of the evaluation that counts: of TEST, else of another split.

    The product was chosen on VALIDATION and trained on TRAIN: these do not count.
    """
    found = {}
    for file in sorted(folder.glob(f"*/{run_layout.EVALUATION}")):
        with _unreadable():
            contents = files.read_json(file)
        found.setdefault(evaluated.split_of(contents) or file.parent.name, contents)
    others = [split for split in found if split not in (VALIDATION, facts.TRAIN)]
    split = TEST if TEST in found else next(iter(others), None)
    return split and (split, found[split])


def _finite(scores: dict[str, float], where: str) -> dict[str, float]:
    if not scores:
        raise _UnusableError("unreadable", f"{where} has the score of none of the tasks")
    for task, score in scores.items():
        if not math.isfinite(score):
            raise _UnusableError("unreadable", f"{where}: the score of {task} is not a number")
    return scores


def _at(values: Any, name: str) -> float:
    """The number under `name`; NaN for null, which JSON has in its place, and where there is none.

    Raises:
        _UnusableError: there is something else.
    """
    value = values.get(name) if isinstance(values, dict) else None
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _UnusableError("unreadable", f"{name} is not a number but {str(value)[:40]!r}")
    return float(value) if abs(value) < _LARGEST_NUMBER else math.nan


def _series(lines: Sequence[dict], name: str) -> Series:
    values = ((line["step"], _at(line, name)) for line in lines)
    return {step: value for step, value in values if math.isfinite(value)}


@contextlib.contextmanager
def _unreadable() -> Iterator[None]:
    """In the block, bad input is a reason to leave the run out."""
    try:
        yield
    except UserError as error:
        raise _UnusableError("unreadable", str(error)) from error


def _confusions(
    folder: epath.Path, split: str, tasks: Iterable[str], problems: list[Problem]
) -> dict[str, Confusion]:
    found = {}
    for task in tasks:
        place = evaluated.folder(folder.as_posix(), split)
        path = evaluated.file_of(place, task, confusion.SUFFIX)
        try:
            if path.exists():
                found[task] = confusion.from_csv(files.read_text(path), path.as_posix())
        except UserError as error:
            reason = f"{error} It is left out of the pictures of confusions alone."
            problems.append(Problem(folder.as_posix(), "unreadable", reason))
    return found


def _bank(folder: epath.Path, problems: list[Problem]) -> tuple[dict, tuple[str, ...]]:
    if not (folder / product_file.PROMPTS).exists():
        return {}, ()
    try:
        bank, info = product_file.load((folder / product_file.PROMPTS).as_posix())
    except UserError as error:
        reason = f"{error} It is left out only of the heat maps."
        problems.append(Problem(folder.as_posix(), "unreadable", reason))
        return {}, ()
    return bank, info.tasks


def _check_is_first(run: Run, counted: dict[tuple, str]) -> None:
    """Refuses a second run of the same cell, which would pass for another seed."""
    cells = [(run.stage, run.label, run.shots, run.seed, len(run.tasks), t) for t in run.tasks]
    for cell in cells:
        if cell in counted:
            raise _UnusableError(
                "not counted",
                f"same method, task, shots and seed as {counted[cell]}; --gin.LABEL=NAME at "
                "training names a method apart",
            )
    counted.update(dict.fromkeys(cells, run.folder))
