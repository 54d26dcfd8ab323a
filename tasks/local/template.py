"""Templates, and the rows of a user's files that fill them."""

import string
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mpt_jax.errors import UserError, did_you_mean, shown

RawRow = Mapping[str, Any]  # field -> text, number, true/false, None, or a list of these
NumberedRows = Iterator[tuple[int, "RawRow | BadRow"]]  # what readers give: line or row, from 1

_LISTED = 8  # fields or label words that a message lists


class BadRow(Exception):  # noqa: N818  (a fault of the data, gathered and reported together)
    """Why a row gives no example."""


class Template:
    """Text with fields of a row in braces: "premise: {premise} hypothesis: {hypothesis}".

    Args:
      text: the template; {{ and }} stand for single braces.
      setting: what it is called in messages.

    Raises:
      UserError: unbalanced braces, a placeholder that is more than a field's name, or none.
    """

    def __init__(self, text: str, setting: str):
        try:
            self._pieces = list(string.Formatter().parse(text))
        except (ValueError, TypeError) as error:
            raise UserError(f"{setting} = {text!r} is not a template: {error}.") from None
        for _, field, form, conversion in self._pieces:
            if field == "" or form or conversion:
                raise UserError(
                    f"{setting} = {text!r} is not a template: write the name of a field between "
                    "the braces, as in {text}, and {{ or }} for a brace itself."
                )
        self.fields = tuple(dict.fromkeys(field for _, field, _, _ in self._pieces if field))
        if not self.fields:
            raise UserError(f"{setting} = {text!r} names no field: write one as {{field}}.")

    def fill(self, row: RawRow) -> str:
        """The text for one row.

        Raises:
          BadRow: the row lacks a field, or holds no text or number there.
        """
        return "".join(
            literal if field is None else literal + _text(row, field)
            for literal, field, _, _ in self._pieces
        )

    def is_blank(self, row: RawRow) -> bool:
        """Whether none of the fields holds any text, so that `fill` would give only the literals.

        Raises:
          BadRow: as `fill`.
        """
        return not any(_text(row, field).strip() for field in self.fields)

    def could_give(self, text: str) -> bool:
        """Whether `fill` gives this text for some row."""
        literals = [literal for literal, _, _, _ in self._pieces]
        end = "" if self._pieces[-1][1] is not None else literals.pop()
        if not text.startswith(literals[0]):
            return False
        place = 0
        for literal in literals:
            found = text.find(literal, place)
            if found < 0:
                return False
            place = found + len(literal)
        return len(text) - len(end) >= place and text.endswith(end)

    def fill_each(self, row: RawRow) -> Iterator[str]:
        """One text per item where a field holds a list, else the one text.

        Raises:
          BadRow: as `fill`; two of the fields hold lists, or one an empty list.
        """
        lists = [field for field in self.fields if isinstance(row.get(field), list)]
        if not lists:
            yield self.fill(row)
            return
        if len(lists) > 1:
            raise BadRow(f"the fields {lists[0]!r} and {lists[1]!r} are both lists")
        if not row[lists[0]]:
            raise BadRow(f"the list {lists[0]!r} is empty")
        for item in row[lists[0]]:
            yield self.fill({**row, lists[0]: item})


def plain(value: Any) -> str:
    """A number or truth value as JSON writes it, so that 1 and True can be keys of label words."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def some(names: Iterable[str]) -> str:
    """Names for a message, the first few of many."""
    names = list(map(shown, names))
    return ", ".join(names[:_LISTED]) + (f" ... ({len(names)})" if len(names) > _LISTED else "")


def _text(row: RawRow, field: str) -> str:
    """The text of a field; a number stands as it was written."""
    try:
        value = row[field]
    except KeyError:
        raise BadRow(
            f"there is no field {field!r}, only {some(row)}.{did_you_mean(field, row, 1)}"
        ) from None
    if isinstance(value, str):
        return value
    if value is None:
        raise BadRow(f"the field {field!r} is null")
    if isinstance(value, list | dict):
        kind = "a list" if isinstance(value, list) else "an object"
        raise BadRow(f"the field {field!r} is {kind}, not a text or a number")
    return plain(value)
