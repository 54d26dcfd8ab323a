"""The texts to predict for, line by line: plain text or JSONL, a file or standard input."""

import dataclasses
import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from mpt_jax.errors import UserError
from mpt_jax.predictor import LONGEST_TEXT, Row, TextReader

STANDARD_INPUT = "-"
LONGEST_LINE = 4 * LONGEST_TEXT  # bytes, of the longest text in UTF-8
TEXT, JSONL = "text", "jsonl"


@dataclasses.dataclass(frozen=True)
class InputLines:
    """Lines of text, or JSON objects with "input", or with the fields that their task names.

    Attributes:
        path: a UTF-8 file, or STANDARD_INPUT.
        reader: what makes rows of texts.
        task: of lines that name none; None is right where the bank has one task.
        forms: task -> template of its inputs, for objects without "input".
        format: TEXT or JSONL; None: JSONL where the path ends so or, on standard input, where the
            first line begins with a brace.

    Raises:
        UserError: an unknown format.
    """

    path: str
    reader: TextReader
    task: str | None
    forms: Mapping[str, str]
    format: str | None = None

    def __post_init__(self):
        if self.format not in (None, TEXT, JSONL):
            raise UserError(
                f"INPUT_FORMAT must be {TEXT!r}, {JSONL!r} or None, got {self.format!r}."
            )

    def check(self) -> None:
        """Read a file from end to end, before the work; standard input can be read only once.

        Raises:
            UserError: as `rows`.
        """
        if self.task is not None:
            self.reader.task_id(self.task)
        if self.path != STANDARD_INPUT:
            for _ in self.rows():
                pass

    def rows(self) -> Iterator[Row]:
        """The rows, one at a time.

        Raises:
            UserError: what cannot be read, is empty, is not UTF-8 or no JSON object, an unknown
                task; names the line.
        """
        try:
            if self.path == STANDARD_INPUT:
                yield from self._rows(sys.stdin.buffer)
            else:
                with open(self.path, "rb") as file:
                    yield from self._rows(file)
        except OSError as error:
            raise UserError(f"cannot read INPUTS {self.path!r}: {error}.") from error

    def _rows(self, lines: BinaryIO) -> Iterator[Row]:
        first = self._read_line(lines, 1)
        if not first:
            raise UserError(f"INPUTS {self.path!r} is empty: give one input a line.")
        first = first.removeprefix(b"\xef\xbb\xbf")  # some editors begin UTF-8 with a mark
        objects = self.format == JSONL or (self.format is None and self._looks_like_jsonl(first))
        for number in itertools.count(1):
            line = first if number == 1 else self._read_line(lines, number)
            if not line and number > 1:
                return
            place = f"INPUTS {self.path!r}, line {number}"
            try:
                text = line.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"cannot read INPUTS {self.path!r} as UTF-8 text: line {number}: {error}."
                ) from error
            task = self.task
            if objects and text.strip():
                text, task = self._read_object(text, place)
            try:
                task_id = self.reader.task_id(task)
            except UserError as error:
                raise UserError(f"{place}: {error}") from error
            yield self.reader.row(text, task_id, place)

    def _read_line(self, lines: BinaryIO, number: int) -> bytes:
        line = lines.readline(LONGEST_LINE + 1)
        if len(line) > LONGEST_LINE:
            raise UserError(
                f"INPUTS {self.path!r}, line {number} has more than {LONGEST_LINE:,} bytes: "
                "shorten it."
            )
        return line

    def _looks_like_jsonl(self, first: bytes) -> bool:
        if self.path == STANDARD_INPUT:
            return first.startswith(b"{")
        return self.path.endswith(".jsonl")

    def _read_object(self, line: str, place: str) -> tuple[str, str | None]:
        """The text and the task of a line of JSONL."""
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{place} is no JSON object: {error}.") from error
        if not isinstance(row, dict):
            raise UserError(f'{place} is no JSON object: write {{"input": "..."}}.')
        task = row.get("task", self.task)
        if task is not None and not isinstance(task, str):
            raise UserError(f'{place}: "task" is {task!r}, not a name.')
        text = row["input"] if "input" in row else self._fill(row, task, place)
        if not isinstance(text, str):
            raise UserError(f'{place}: "input" is {text!r}, not a text.')
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise UserError(f"{place} holds half a character (a lone \\ud8.. escape).")
        return text, task

    def _fill(self, row: Mapping[str, Any], task: str | None, place: str) -> str:
        """The text of an object that holds the fields which its task's inputs are made of."""
        from mpt_jax.tasks.local.template import BadRow, Template

        name = self.reader.tasks[self.reader.task_id(task)] if self.reader.tasks else ""
        if name not in self.forms:
            raise UserError(
                f'{place} has no "input", and the prompt file states no form of inputs'
                f'{f" for the task {name!r}" if name else ""}: write {{"input": "..."}}.'
            )
        try:
            return Template(self.forms[name], f"the inputs of task {name!r}").fill(row)
        except BadRow as error:
            raise UserError(f'{place} has no "input", and {error}.') from error
