"""CSV that is safe to open in a spreadsheet."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t")
_QUOTE = "'"


def csv_text(lines: Iterable[Sequence[Any]]) -> str:
    """The lines as CSV; a text that a spreadsheet would run as a formula gets a quote (') first."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([map(_cell, line) for line in lines])
    return out.getvalue()


def read(text: str) -> list[list[str]]:
    """The lines of what `csv_text` has written, the cells as text, without their quotes (').

    Raises:
        csv.Error: it is not CSV.
    """
    return [
        [_unquoted(cell) for cell in line] for line in csv.reader(io.StringIO(text, newline=""))
    ]


def _unquoted(cell: str) -> str:
    quoted = cell.startswith(_QUOTE) and cell.lstrip(_QUOTE).startswith(_FORMULA)
    return cell.removeprefix(_QUOTE) if quoted else cell


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    value = value.replace("\r", " ")  # it would end the line
    if not value.lstrip(_QUOTE).startswith(_FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"{_QUOTE}{value}"
    return value  # a number with its sign
