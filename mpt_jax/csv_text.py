"""CSV that is safe to open in a spreadsheet."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t")


def csv_text(lines: Iterable[Sequence[Any]]) -> str:
    """The lines as CSV; a text that a spreadsheet would run as a formula gets a quote (') first."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([map(_cell, line) for line in lines])
    return out.getvalue()


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    value = value.replace("\r", " ")  # it would end the line
    if not value.startswith(_FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value  # a number with its sign
