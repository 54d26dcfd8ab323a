"""Tasks of a user's own files, declared in gin, with no Python to write (docs/local_data.md).

    reviews/local.Task:
      name = 'reviews'
      splits = {'train': 'train.jsonl', 'test': 'test.csv'}
      inputs = 'review: {text}'
      targets = '{stars}'
      label_words = {1: 'negative', 5: 'positive'}
      metrics = ['accuracy']
    TASKS = [@reviews/local.Task()]

`gin/suites/local.gin` hands TASKS to `register`.
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import seqio

from mpt_jax.errors import UserError, did_you_mean
from mpt_jax.tasks import metrics, postprocessors, registration
from mpt_jax.tasks.info import TaskInfo
from mpt_jax.tasks.local import files, rows, tfds
from mpt_jax.tasks.local.form import Example, Form
from mpt_jax.tasks.local.source import LocalSource

TRAIN, VALIDATION = "train", "validation"
_OF_SEVERAL = {metrics.squad, metrics.bleu}  # these take several right answers
_OF_NUMBERS = {metrics.correlation}
_TYPES = {  # of plain settings; the others are checked where they are used
    "name": (str, "text"),
    "inputs": (str, "text"),
    "targets": (str, "text"),
    "folder": (str, "text"),
    "tfds": (str | None, "text"),
    "validation_share": (float, "a number"),
    "skip_bad_rows": (bool, "True or False"),
}


@dataclasses.dataclass(frozen=True)
class Task:
    """One task: where its rows lie, and how a row becomes text.

    Attributes:
      name: what MIXTURE_OR_TASK_NAME calls it.
      splits: split -> file (`.jsonl`, `.csv`, `.tsv`), or the split of `tfds` ("train[:90%]").
        Without "validation" a share of "train" becomes it, picked by a hash of the inputs.
      inputs: template over a row's fields: "premise: {premise} hypothesis: {hypothesis}".
      targets: template too. A list in a field holds several right answers; the first is trained on.
      metrics: names in `metrics.BY_NAME`; the first is the key metric. For those that take several
        right answers, rows of equal inputs outside "train" are one example with all of them.
      label_words: the words that a target can be, or {target in the file: word}.
      round_to: targets are numbers, written as the nearest multiple of this, as T5 does with 0.2.
      folder: what files and `tfds` are relative to.
      tfds: folder of a prepared TFDS dataset, with its version: "my_dataset/1.0.0".
      validation_share: of "train", where "validation" is cut from it.
      skip_bad_rows: leave bad rows out and say how many, rather than stop.

    Raises:
      UserError: a setting that cannot be. Files are not looked at before they are used.
    """

    name: str
    splits: Mapping[str, str]
    inputs: str
    targets: str
    metrics: Sequence[str]
    label_words: Sequence[str] | Mapping[Any, str] | None = None
    round_to: float | None = None
    folder: str = "."
    tfds: str | None = None
    validation_share: float = 0.1
    skip_bad_rows: bool = False

    def __post_init__(self):
        try:
            self._check_types()
            self._check_splits()
            self._check_metrics()
            self.form()
        except UserError as error:
            raise UserError(f"Task {self.name!r}: {error}") from error

    def _check_types(self) -> None:
        for setting, (kind, what) in _TYPES.items():
            if not isinstance(getattr(self, setting), kind):
                raise UserError(f"{setting} = {getattr(self, setting)!r} must be {what}.")
        if not re.fullmatch(r"[\w.]+", self.name):
            raise UserError("a name is of letters, digits, _ and dots.")

    def _check_splits(self) -> None:
        if not isinstance(self.splits, Mapping) or not self.splits:
            raise UserError(
                f"splits = {self.splits!r} must name a file for each: {{'train': 'train.jsonl'}}."
            )
        if self.tfds is None:
            for file in self.splits.values():
                files.reader_of(str(file))
        if not 0 < self.validation_share < 1:
            raise UserError(f"validation_share = {self.validation_share} must lie between 0 and 1.")

    def _check_metrics(self) -> None:
        if isinstance(self.metrics, str) or not self.metrics:
            raise UserError(f"metrics = {self.metrics!r} must be a list of names: ['accuracy'].")
        for name in self.metrics:
            if name not in metrics.BY_NAME:
                raise UserError(
                    f"unknown metric {name!r}.{did_you_mean(str(name), metrics.BY_NAME)} "
                    f"There are {', '.join(metrics.BY_NAME)}."
                )

    @property
    def split_names(self) -> tuple[str, ...]:
        """All splits: those given, and "validation" where it is cut from "train"."""
        names = list(self.splits)
        if self._validation_is_cut:
            names.insert(names.index(TRAIN) + 1, VALIDATION)
        return tuple(names)

    @property
    def metric_fns(self) -> list[metrics.MetricFn]:
        """The functions that give the metrics; one may give several of them."""
        return list(dict.fromkeys(metrics.BY_NAME[name] for name in self.metrics))

    @property
    def takes_several(self) -> bool:
        """Whether a row may have several right answers: all metrics take them."""
        return set(self.metric_fns) <= _OF_SEVERAL

    def form(self) -> Form:
        """From a row of a file to its example."""
        return Form(
            self.inputs,
            self.targets,
            label_words=self.label_words,
            round_to=self.round_to,
            numbers=not _OF_NUMBERS.isdisjoint(self.metric_fns),
            several=self.takes_several,
        )

    def read(self, split: str) -> dict[str, list[Example]]:
        """The examples of `split`, and of the other split that is cut from the same rows.

        Raises:
          UserError: a file that cannot be read, or has bad rows; a cut that leaves a side empty.
        """
        if split in (TRAIN, VALIDATION) and self._validation_is_cut:
            train, validation = rows.held_out(self._examples(TRAIN), self.validation_share)
            if not train or not validation:
                raise UserError(
                    f"Task {self.name!r}: validation_share = {self.validation_share} of "
                    f"{len(train) + len(validation)} rows leaves {len(validation)} to validate "
                    f"and {len(train)} to train on: change it, or give a validation split."
                )
            found = {TRAIN: train, VALIDATION: validation}
        else:
            found = {split: self._examples(split)}
        if self.takes_several:
            for name in found.keys() - {TRAIN}:
                found[name] = rows.with_references(found[name])
        return found

    def files(self, split: str) -> list[str]:
        """The files that hold `split`: one of the user's, or those of the whole TFDS dataset."""
        place = self.splits[TRAIN if split not in self.splits else split]
        if self.tfds is None:
            return [os.path.join(self.folder, place)]
        return sorted(map(str, pathlib.Path(self.folder, self.tfds).glob("*.*record*")))

    @property
    def _validation_is_cut(self) -> bool:
        return TRAIN in self.splits and VALIDATION not in self.splits

    def _examples(self, split: str) -> list[Example]:
        folder, place = pathlib.Path(self.folder), self.splits[split]
        if self.tfds is None:
            file, unit, found = folder / place, "line", files.read_file(folder / place)
        else:
            file, unit = f"{folder / self.tfds}, {place}", "row"
            found = tfds.read_tfds(folder / self.tfds, place)
        return rows.examples(
            found,
            self.form(),
            f"{file} (task {self.name!r})",
            unit,
            skip_bad_rows=self.skip_bad_rows,
        )


def names(tasks: Sequence[Task]) -> list[str]:
    """The names of `tasks`, for a run on all of them.

    Raises:
      UserError: they are not a list of tasks, or two have one name.
    """
    if not isinstance(tasks, list | tuple) or not all(isinstance(task, Task) for task in tasks):
        raise UserError(f"TASKS = {tasks!r} must be a list: TASKS = [@reviews/local.Task()].")
    found = [task.name for task in tasks]
    repeated = sorted({name for name in found if found.count(name) > 1})
    if repeated:
        raise UserError(f"TASKS holds two tasks with the name {repeated[0]!r}: rename one.")
    return found


def register(tasks: Sequence[Task], vocabulary: seqio.Vocabulary) -> str:
    """Registers `tasks`, tokenised with `vocabulary`, without reading their files.

    Returns:
      This module's name, as MIXTURE_OR_TASK_MODULE takes it.

    Raises:
      UserError: as `names`.
    """
    names(tasks)
    for task in tasks:
        registration.add_task(
            task.name,
            _source(task),
            [],
            vocabulary=vocabulary,
            metric_fns=task.metric_fns,
            postprocess_fn=postprocessors.references if task.takes_several else None,
            info=TaskInfo(task.form().label_words, task.metrics[0], task.inputs),
        )
    return __name__


_SOURCES: dict[str, tuple[tuple[Task, str], LocalSource]] = {}  # task -> what it is of, source


def _source(task: Task) -> LocalSource:
    """The task's source: the same, with the rows it has read, as long as the task is the same.

    A run evaluates its gin references, `register` among them, several times.
    """
    identity = (task, os.path.abspath(task.folder))
    if task.name not in _SOURCES or _SOURCES[task.name][0] != identity:
        source = LocalSource(
            task.split_names, task.read, files=task.files, references=task.takes_several
        )
        _SOURCES[task.name] = (identity, source)
    return _SOURCES[task.name][1]
