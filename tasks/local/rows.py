"""From the rows of one file to its examples: faults reported, a validation part, references."""

import collections
import hashlib
import sys
from collections.abc import Iterable, Sequence

from mpt_jax.errors import UserError
from mpt_jax.tasks.local.form import Example, Form
from mpt_jax.tasks.local.template import BadRow, NumberedRows

_LISTED = 10  # causes that a message lists
_PLACES = 5  # rows of each
_HASHES = 2**64


def examples(
    rows: NumberedRows, form: Form, file: str, unit: str, *, skip_bad_rows: bool
) -> list[Example]:
    """The examples of all rows of a file.

    Args:
      rows: what a reader gives.
      form: from a row to its example.
      file: its name, for messages.
      unit: what the rows' numbers count, for messages: "line" or "row".
      skip_bad_rows: leave bad rows out and say so on standard error, rather than raise.

    Raises:
      UserError: there are bad rows (the message lists the 10 most frequent causes), or no good
        ones.
    """
    good, bad = [], _BadRows(unit)
    for number, row in rows:
        try:
            if isinstance(row, BadRow):
                raise row
            good.append(form.example(row))
        except BadRow as reason:
            bad.add(number, str(reason))
    if not good and not bad.count:
        raise UserError(f"{file} holds no rows.")
    if not good and len(bad.causes) == 1:
        raise UserError(f"{file}: every row is bad: {bad.causes[0]}")
    if bad.count:
        report = f"{file}: {bad.count:,} bad of {len(good) + bad.count:,} rows"
        if not skip_bad_rows or not good:
            raise UserError(
                f"{report}:\n{bad.listed()}\nCorrect them, or leave them out with "
                "--gin.local.Task.skip_bad_rows=True."
            )
        print(f"{report} skipped:\n{bad.listed()}", file=sys.stderr)
    return good


def held_out(rows: Sequence[Example], share: float) -> tuple[list[Example], list[Example]]:
    """The rows to train on, and about `share` of them to validate with, each in order.

    Which side a row is on depends only on its inputs: neither on the order of the rows nor on the
    label, and rows with equal inputs are on the same side.
    """
    train, validation = [], []
    for row in rows:
        digest = hashlib.blake2b(row.inputs.encode("utf-8"), digest_size=8).digest()
        side = validation if int.from_bytes(digest, "big") < share * _HASHES else train
        side.append(row)
    return train, validation


def with_references(rows: Iterable[Example]) -> list[Example]:
    """One example for each distinct input, in order, whose answers are those of all its rows."""
    answers: dict[str, dict[str, None]] = {}
    for row in rows:
        answers.setdefault(row.inputs, {}).update(dict.fromkeys(row.answers))
    return [Example(inputs, tuple(found)) for inputs, found in answers.items()]


class _BadRows:
    """The bad rows by their causes.

    Attributes:
      count: of all.
    """

    def __init__(self, unit: str):
        self.count = 0
        self._unit = unit
        self._places: dict[str, list[int]] = {}  # the first rows of each cause
        self._counts: collections.Counter[str] = collections.Counter()

    def add(self, number: int, reason: str) -> None:
        self.count += 1
        self._counts[reason] += 1
        places = self._places.setdefault(reason, [])
        if len(places) < _PLACES:
            places.append(number)

    @property
    def causes(self) -> list[str]:
        """The most frequent first; equally frequent ones in the order of the rows."""
        return [reason for reason, _ in self._counts.most_common()]

    def listed(self) -> str:
        """The first few, a line each, and how many more there are."""
        shown, others = self.causes[:_LISTED], self.causes[_LISTED:]
        lines = [f"  {self._rows(reason)}: {reason}" for reason in shown]
        if others:
            rest = sum(self._counts[reason] for reason in others)
            lines.append(f"  and {rest:,} more")
        return "\n".join(lines)

    def _rows(self, reason: str) -> str:
        """As "line 3", "3 lines (3, 4, 9)" or "1,249 lines (3, 4, 9, 12, 13, ...)"."""
        count, places = self._counts[reason], self._places[reason]
        if count == 1:
            return f"{self._unit} {places[0]}"
        listed = [*map(str, places), *(["..."] if count > len(places) else [])]
        return f"{count:,} {self._unit}s ({', '.join(listed)})"
