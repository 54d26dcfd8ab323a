"""Where predictions go, batch by batch: standard output, or a file that a stopped run continues."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mpt_jax import hosts
from mpt_jax.errors import UserError
from mpt_jax.files import unwritable

Record = Mapping[str, Any]  # task, input, prediction, score, and other fields of the input
ANSWER = ("prediction", "score")

_ANOTHER = "it was left by another run. Delete it to start again, or choose another OUTPUT."
_TOLERANCE = 1e-2  # of scores: the same program on another machine rounds otherwise


class OutputLines:
    """JSON lines. A file is written as `<path>.partial` and gets its name when it is whole.

    A stopped run leaves its whole lines there, and the next one goes on after them, once it has
    seen that they are its own: of the same inputs and, in the last batch, the same predictions.
    The file of a finished run is checked likewise, and stays as it is.

    Use it as a context. In a run of several processes all of them do, and the first one writes.

    Args:
        path: the file; None: standard output.

    Attributes:
        done: lines that a stopped run has left.

    Raises:
        UserError: it cannot be written.
    """

    def __init__(self, path: str | None):
        self._path = path
        self._file: Any = None
        self._compared = 0
        self._finished = False
        self.done = 0
        if path is not None:
            hosts.on_first(self._open)
            self.done = int(hosts.agree_on_longest(np.array(self.done)))

    def __enter__(self) -> "OutputLines":
        return self

    def __exit__(self, kind: type | None, *_: Any) -> None:
        if kind is None and self._path is not None:
            hosts.on_first(self._finish)
        elif self._file is not None:
            self._file.close()
            if not self._finished and os.path.getsize(self._partial) == 0:  # nothing to go on from
                os.unlink(self._partial)

    def skip(self, rows: Sequence[Record]) -> None:
        """Compare `rows`, without predictions, with the next lines that a stopped run has left.

        Raises:
            UserError: they are of other inputs.
        """
        hosts.on_first(lambda: [self._check(row) for row in rows])

    def put(self, rows: Sequence[Record]) -> None:
        """Compare with lines that a stopped run has left, then write, what comes after them.

        Raises:
            UserError: they are of another run; the file cannot be written.
        """
        hosts.on_first(lambda: self._put(rows))

    @property
    def _partial(self) -> str:
        return f"{self._path}.partial"

    @property
    def _left(self) -> str:
        """The file that an earlier run has left."""
        return self._path if self._finished else self._partial

    def _open(self) -> None:
        try:
            if "://" in self._path:
                raise OSError("lines can be appended to local files only")
            os.makedirs(os.path.dirname(self._path) or ".", exist_ok=True)
            if os.path.isdir(self._path):
                raise IsADirectoryError("it is a folder")
            self._finished = os.path.isfile(self._path) and os.path.getsize(self._path) > 0
            if self._finished:
                self._file = open(self._path, "rb")  # noqa: SIM115  (closed by __exit__)
                self.done = sum(1 for _ in self._file)
                self._file.seek(0)
                return
            self._file = open(self._partial, "a+b")  # noqa: SIM115  (closed by __exit__)
            self._file.seek(0)
            whole = 0
            for line in self._file:
                if line.endswith(b"\n"):
                    whole += len(line)
                    self.done += 1
            self._file.truncate(whole)
            self._file.seek(0)
        except OSError as error:
            raise unwritable(self._path, error, "OUTPUT") from error

    def _finish(self) -> None:
        if self._compared < self.done:
            raise UserError(
                f"{self._left} has {self.done} lines, INPUTS has {self._compared}: {_ANOTHER}"
            )
        self._file.close()
        if self._finished:
            hosts.note(f"{self._path} was finished before, with the same answers.")
        else:
            os.replace(self._partial, self._path)

    def _check(self, row: Record) -> None:
        """Compare a row with the next line that was left."""
        self._compared += 1
        place = f"{self._left}, line {self._compared}"
        try:
            left = json.loads(self._file.readline())
            same = all(left[name] == row[name] for name in row if name not in ANSWER)
            score = left["score"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{place} is not a prediction: {_ANOTHER}") from error
        if not same:
            raise UserError(f"{place} belongs to another input than that of INPUTS: {_ANOTHER}")
        if "prediction" in row and not (
            left["prediction"] == row["prediction"]
            and math.isclose(score, row["score"], rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
        ):
            raise UserError(
                f"{place} holds another prediction than this run makes, with other prompts or "
                f"settings: {_ANOTHER}"
            )

    def _put(self, rows: Sequence[Record]) -> None:
        left = self.done - self._compared
        for row in rows[:left]:
            self._check(row)
        if not rows[left:]:
            return
        if self._finished:
            raise UserError(f"{self._path} has {self.done} lines, INPUTS has more: {_ANOTHER}")
        text = "".join(f"{as_json(row)}\n" for row in rows[left:])
        if self._file is None:
            print(text, end="", flush=True)
            return
        try:
            self._file.write(text.encode("utf-8"))
            self._file.flush()
        except OSError as error:
            raise unwritable(self._path, error, "OUTPUT") from error


def as_json(row: Record) -> str:
    """One line of the output.

    Raises:
        UserError: a score that is not a number, which JSON does not have.
    """
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise UserError(
            f"the prediction for the input {row['input'][:80]!r} has the score {row['score']}: the "
            "model overflows on it; compute in float32 (T5Config.dtype), or train with a lower "
            "learning rate."
        ) from error
