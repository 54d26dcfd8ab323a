"""The texts to predict for: lines of text, JSONL, CSV or TSV, from a file or standard input."""

import dataclasses
import functools
import itertools
import json
import pathlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from mpt_jax import hosts
from mpt_jax.engine.inference.line_stream import LineStream
from mpt_jax.engine.inference.predictor import LONGEST_TEXT, Row, TextReader
from mpt_jax.errors import UserError
from mpt_jax.tasks.local.files import read_lines
from mpt_jax.tasks.local.template import BadRow, NumberedRows, RawRow, Template, some
from mpt_jax.vocabulary import check_whole

STANDARD_INPUT = "-"
LONGEST_LINE = 4 * LONGEST_TEXT  # bytes, of the longest text in UTF-8
TEXT, JSONL, CSV, TSV = FORMATS = ("text", "jsonl", "csv", "tsv")
_WAIT = 0.02  # seconds, for one more line of a batch on standard input

Fields = Mapping[str, Any]
_Lines = BinaryIO | LineStream
_Text = tuple[str, str, str | None, Fields]  # place, text, task, all that the line says


@dataclasses.dataclass(frozen=True)
class InputLines:
    """Lines of text; or JSON objects or rows of a table, with "input" or the fields of their task.

    Tables and the fields of objects are read as training reads them (`tasks.local`).

    Attributes:
        path: a UTF-8 file, or STANDARD_INPUT.
        reader: what makes rows of texts.
        task: of lines that name none; None is right where the bank has one task.
        forms: task -> template of its inputs, for rows without "input".
        format: one of FORMATS; None: as the path ends; on standard input JSONL where the first
            line begins with a brace.

    Raises:
        UserError: an unknown format.
    """

    path: str
    reader: TextReader
    task: str | None
    forms: Mapping[str, str]
    format: str | None = None

    def __post_init__(self):
        if self.format not in (None, *FORMATS):
            raise UserError(
                f"INPUT_FORMAT must be None or one of {', '.join(FORMATS)}; got {self.format!r}."
            )

    def check(self) -> None:
        """Read a file from end to end, before the work; standard input can be read only once.

        Raises:
            UserError: as `rows`.
        """
        if self.task is not None:
            self.reader.task_id(self.task)
        if self.path != STANDARD_INPUT:
            for _ in self._noticed(self.rows()):
                pass

    def rows(self) -> Iterator[Row]:
        """The rows, one at a time.

        Raises:
            UserError: what cannot be read, is empty, is not UTF-8, no JSON object or no row of a
                table, an unknown task; names the line.
        """
        if self.path == STANDARD_INPUT:
            yield from itertools.chain.from_iterable(self.batches(1))
            return
        try:
            with open(self.path, "rb") as file:
                yield from self._rows(file)
        except OSError as error:
            raise UserError(f"cannot read INPUTS {self.path!r}: {error}.") from error

    def batches(self, size: int) -> Iterator[list[Row]]:
        """The rows in lists of `size`; of standard input those that come without a long wait.

        Raises:
            UserError: as `rows`.
        """
        if self.path != STANDARD_INPUT:
            rows = self.rows()
            while batch := list(itertools.islice(rows, size)):
                yield batch
            return
        stream = LineStream(sys.stdin.buffer)
        rows = self._noticed(self._rows(stream))
        for first in rows:
            batch = [first]
            while len(batch) < size and stream.has_line(_WAIT):
                if (row := next(rows, None)) is None:
                    break
                batch.append(row)
            yield batch

    def _noticed(self, rows: Iterator[Row]) -> Iterator[Row]:
        """The rows; warns at their end of a task none of whose texts has the form of its inputs."""
        fits: dict[str, bool] = {}
        for row in rows:
            task = self.reader.tasks[row.task_id] if self.reader.tasks else ""
            if task in self.forms:
                fits[task] = fits.get(task, False) or self._form(task).could_give(row.text)
            yield row
        for task in (task for task, fit in fits.items() if not fit):
            hosts.warn(
                f"no input for the task {task!r} in {self.path!r} is written as in its training, "
                f"{self.forms[task]!r}, so the answers may be worse: write them so, or give "
                "the fields as JSONL, CSV or TSV."
            )

    def _rows(self, lines: _Lines) -> Iterator[Row]:
        first = self._read_line(lines, 1)
        if not first:
            raise UserError(f"INPUTS {self.path!r} is empty: give one input a line.")
        first = first.removeprefix(b"\xef\xbb\xbf")  # some editors begin UTF-8 with a mark
        counted = ((n, first if n == 1 else self._read_line(lines, n)) for n in itertools.count(1))
        bounded = itertools.takewhile(lambda line: line[0] == 1 or line[1], counted)
        kind = self.format or self._format_of(first)
        read = self._read_table if kind in (CSV, TSV) else self._read_lines
        for place, text, task, fields in read(bounded, kind):
            try:
                task_id = self.reader.task_id(task)
            except UserError as error:
                raise UserError(f"{place}: {error}") from error
            yield self.reader.row(text, task_id, place)._replace(fields=fields)

    def _read_line(self, lines: _Lines, number: int) -> bytes:
        line = lines.readline(LONGEST_LINE + 1)
        if len(line) > LONGEST_LINE:
            raise UserError(
                f"{self._place(number)} has more than {LONGEST_LINE:,} bytes: shorten it."
            )
        return line

    def _format_of(self, first: bytes) -> str:
        if self.path == STANDARD_INPUT:
            return JSONL if first.startswith(b"{") else TEXT
        suffix = pathlib.PurePath(self.path).suffix.lower().removeprefix(".")
        return suffix if suffix in FORMATS else TEXT

    def _place(self, number: int) -> str:
        return f"INPUTS {self.path!r}, line {number}"

    def _read_lines(self, lines: Iterator[tuple[int, bytes]], kind: str) -> Iterator[_Text]:
        """The texts of plain text or JSONL."""
        for number, line in lines:
            place = self._place(number)
            try:
                text = line.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"cannot read INPUTS {self.path!r} as UTF-8 text: line {number}: {error}."
                ) from error
            if kind == TEXT or not text.strip():
                yield place, text, self.task, {}
            else:
                yield place, *self._read_object(line, text, place)

    def _read_object(self, line: bytes, text: str, place: str) -> tuple[str, str | None, Fields]:
        """The text, the task and all fields of a line of JSONL."""
        try:
            row = json.loads(text)
            as_json = json.dumps(row, ensure_ascii=False, allow_nan=False)  # as in its answer
        except (ValueError, RecursionError) as error:
            raise UserError(f"{place} is not a JSON object: {error}.") from error
        if not isinstance(row, dict):
            raise UserError(f'{place} is not a JSON object: write {{"input": "..."}}.')
        task = row.get("task", self.task)
        if task is not None and not isinstance(task, str):
            raise UserError(f'{place}: "task" is {task!r}, not a name.')
        if "input" in row:
            text = row["input"]
        else:
            _, as_trained = next(self._read([line], JSONL))  # in which numbers stay as written
            text = self._fill(as_trained, task, place)
        if not isinstance(text, str):
            raise UserError(f'{place}: "input" is {text!r}, not a text.')
        check_whole(as_json, place)
        return text, task, row

    def _read_table(self, lines: Iterator[tuple[int, bytes]], kind: str) -> Iterator[_Text]:
        """The texts of CSV or TSV, whose first line names the columns."""
        raw = (line for _, line in lines)
        found = False
        for number, row in self._read(raw, kind):
            found, place = True, self._place(number)
            if isinstance(row, BadRow):
                raise UserError(f"{place}: {row}.")
            task = row.get("task") or self.task
            yield place, row["input"] if "input" in row else self._fill(row, task, place), task, row
        if not found:
            raise UserError(
                f"INPUTS {self.path!r} has no rows: the first line of a table names its columns "
                "(INPUT_FORMAT='text' reads it as lines of text)."
            )

    def _form(self, task: str) -> Template:
        return _template(self.forms[task], f"the inputs of task {task!r}")

    def _read(self, lines: Iterable[bytes], kind: str) -> NumberedRows:
        """Rows with their line, read as training does."""
        return read_lines(lines, pathlib.Path(f"INPUTS {self.path!r}"), f".{kind}")

    def _fill(self, row: RawRow | BadRow, task: str | None, place: str) -> str:
        """The text of a row that holds the fields which its task's inputs are made of."""
        name = self.reader.tasks[self.reader.task_id(task)] if self.reader.tasks else ""
        if name not in self.forms:
            raise UserError(
                f'{place} has no "input", and the prompt file states no form of inputs'
                f'{f" for the task {name!r}" if name else ""}: write {{"input": "..."}}.'
            )
        template = self._form(name)
        try:
            if isinstance(row, BadRow):
                raise row
            if template.is_blank(row):
                raise BadRow(f"it is empty in {some(template.fields)}")
            return template.fill(row)
        except BadRow as error:
            raise UserError(f'{place} has no "input", and {error}.') from error


_template = functools.cache(Template)
