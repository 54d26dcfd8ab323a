"""From the rows of one file to its examples: faults reported, a validation part, references."""

import hashlib
import sys
from collections.abc import Iterable, Sequence

from mpt_jax.errors import UserError
from mpt_jax.tasks.local.form import Example, Form
from mpt_jax.tasks.local.template import BadRow, NumberedRows

_LISTED = 10  # bad rows that a message lists
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
      UserError: there are bad rows (the message lists the first 10), or no good ones.
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
    if not good and bad.same_reason:
        raise UserError(f"{file}: every row is bad: {bad.same_reason}")
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

    Which side a row is on hangs on its inputs alone: neither on the order of the rows nor on the
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
    """The first few bad rows, and how many there are.

    Attributes:
      count: of all.
      same_reason: the reason, as long as all have the same, else None.
    """

    def __init__(self, unit: str):
        self.count = 0
        self.same_reason: str | None = None
        self._first: list[str] = []
        self._unit = unit

    def add(self, number: int, reason: str) -> None:
        self.same_reason = reason if self.count == 0 or reason == self.same_reason else None
        self.count += 1
        if len(self._first) < _LISTED:
            self._first.append(f"  {self._unit} {number}: {reason}")

    def listed(self) -> str:
        """The first few, a line each, and how many more there are."""
        rest = self.count - len(self._first)
        return "\n".join([*self._first, *([f"  and {rest:,} more"] if rest else [])])
