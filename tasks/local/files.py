"""Reads the rows of a user's files: JSONL, CSV and TSV.

Each row comes with its place in the file, and a row that cannot be read as a `BadRow` in its place,
so that all faults of a file can be reported together. What spoils the whole file raises at once.
"""

import codecs
import csv
import json
import pathlib
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mpt_jax.errors import UserError, did_you_mean, shown
from mpt_jax.tasks.local.template import BadRow, NumberedRows, RawRow

csv.field_size_limit(2**31 - 1)  # texts are as long as they are; the default is 131,072 characters


def read_file(path: pathlib.Path) -> NumberedRows:
    """The rows of a file, by its suffix, with the line that each begins on; empty lines have none.

    Raises:
      UserError: no such file, another suffix, not UTF-8, a NUL byte, a table with another
        delimiter, a quote that does not end, JSON that is not one object a line.
    """
    reader = reader_of(path.name)
    try:
        with path.open("rb") as file:
            yield from reader(_decoded(file, path), path)
    except FileNotFoundError:
        nearby = [each.name for each in path.parent.glob("*")]
        raise UserError(f"there is no file {path}.{did_you_mean(path.name, nearby)}") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}.") from error


def read_lines(lines: Iterable[bytes], path: pathlib.Path, suffix: str) -> NumberedRows:
    """As `read_file`, of lines that come from elsewhere; `path` is what messages call them."""
    return reader_of(f"lines{suffix}")(_decoded(lines, path), path)


def reader_of(name: str) -> Callable[[Iterator[str], pathlib.Path], NumberedRows]:
    """What reads a file of this name.

    Raises:
      UserError: the suffix is unknown.
    """
    suffix = pathlib.PurePath(name).suffix.lower()
    if suffix not in _READERS:
        raise UserError(
            f"cannot tell from its suffix what {name!r} is: known are {', '.join(_READERS)}."
            f"{did_you_mean(suffix, _READERS)}"
        )
    return _READERS[suffix]


def _json_lines(lines: Iterator[str], path: pathlib.Path) -> NumberedRows:
    filled = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    for place, (number, line) in enumerate(filled):
        if place == 0:
            _check_one_object_a_line(line.strip(), path)
        yield number, _json_object(line)


def _check_one_object_a_line(first: str, path: pathlib.Path) -> None:
    """Refuses a file that is JSON, but not JSONL, by its first line."""
    if re.fullmatch(r"\[|\[\s*\{.*", first, re.DOTALL):
        raise UserError(
            f"{path} is one JSON array, where JSONL has an object on each line: "
            f"`jq -c '.[]' {shlex.quote(str(path))}` makes JSONL of it."
        )
    if first == "{":
        raise UserError(
            f"{path} spreads an object over several lines, where JSONL has each on a line of its "
            f"own: `jq -c . {shlex.quote(str(path))}` makes JSONL of it."
        )


def _json_object(line: str) -> RawRow | BadRow:
    try:
        row = _JSON.decode(line.strip())
    except json.JSONDecodeError as error:
        return BadRow(f"it is not JSON: {error.msg} (column {error.colno})")
    except (ValueError, RecursionError) as error:
        return BadRow(f"it is not JSON: {error}")
    return row if isinstance(row, dict) else BadRow(f"it is not a JSON object: {line.strip()[:40]}")


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is not a JSON number")


# Numbers stay as they are written.
_JSON = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_refused)


def _csv(lines: Iterator[str], path: pathlib.Path) -> NumberedRows:
    return _table(csv.reader(lines, strict=True), path, ",")


def _tsv(lines: Iterator[str], path: pathlib.Path) -> NumberedRows:
    # Quotes are part of the text, as in most corpora that come as TSV.
    return _table(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE), path, "\t")


def _table(records: Any, path: pathlib.Path, delimiter: str) -> NumberedRows:
    """Rows of a table (a csv reader) whose first line names the columns."""
    line = 1
    try:
        header = next(filter(None, records), [])
        _check_header(header, path, delimiter)
        line = records.line_num + 1
        for values in records:
            if values:
                yield line, _record(header, values)
            line = records.line_num + 1  # a quoted text may hold line breaks
    except csv.Error as error:
        raise UserError(
            f"{path}, the row that begins on line {line}: {error}. Texts with commas, quotes or "
            'line breaks must be in double quotes, and "" is a quote inside them.'
        ) from None


def _check_header(header: list[str], path: pathlib.Path, delimiter: str) -> None:
    repeated = {name for name in header if header.count(name) > 1}
    if repeated:
        raise UserError(f"{path}: the header names the column {min(repeated)!r} twice.")
    others = [other for other in _DELIMITERS if other != delimiter and other in "".join(header)]
    if len(header) == 1 and others:
        raise UserError(
            f"{path}: the header {shown(header[0])} is one column: the file seems to be separated "
            f"by {_DELIMITERS[others[0]]}, where {_DELIMITERS[delimiter]} are expected. Save it "
            "with commas as .csv, or with tabs as .tsv."
        )


_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}


def _record(header: list[str], values: list[str]) -> RawRow | BadRow:
    if len(values) != len(header):
        return BadRow(f"it has {len(values)} columns, the header has {len(header)}")
    return dict(zip(header, values, strict=True))


def _decoded(lines: Iterable[bytes], path: pathlib.Path) -> Iterator[str]:
    """Lines of text; the mark that some programs begin UTF-8 files with is dropped."""
    for number, line in enumerate(lines, 1):
        if number == 1 and (encoding := _other_unicode(line)):
            raise UserError(
                f"{path} is {encoding}: save it as UTF-8, for instance with "
                f"`iconv -f {encoding} -t UTF-8`."
            )
        if b"\0" in line:
            raise UserError(
                f"{path}, line {number}, holds a NUL byte, which no text does: the file is damaged."
            )
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path}, line {number}, is not UTF-8 ({error.reason}): save it as UTF-8, for "
                f"instance with `iconv -f LATIN1 -t UTF-8`."
            ) from None


def _other_unicode(start: bytes) -> str | None:
    """The encoding of two or four bytes a character that a file with this start is in."""
    for encoding, marks in _MARKS.items():
        if start.startswith(marks):
            return encoding
    # Without a mark: headers and JSON begin with an ASCII character, one byte of which is zero.
    if len(start) > 1 and (start[0] == 0) != (start[1] == 0):
        return "UTF-16BE" if start[0] == 0 else "UTF-16LE"
    return None


_MARKS = {  # a mark of UTF-32 begins with one of UTF-16
    "UTF-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
    "UTF-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
}
_READERS = {".jsonl": _json_lines, ".csv": _csv, ".tsv": _tsv}
