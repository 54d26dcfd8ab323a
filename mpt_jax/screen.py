"""Tables on standard output: drawn on a terminal, plain and aligned in a file or a pipe."""

from collections.abc import Mapping, Sequence
from typing import TextIO

Rows = Sequence[Sequence[str]]


class Screen:
    """Prints to `stream`, in the way that suits it.

    Args:
      stream: where to print.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream

    def line(self, text: str = "") -> None:
        """Prints one line as it is."""
        print(text, file=self._stream)

    def facts(self, facts: Mapping[str, str]) -> None:
        """Prints names and values, a line each."""
        for line in _aligned(list(facts.items()), [False, False]):
            self.line(line)

    def table(self, columns: Sequence[str], rows: Rows, *, numeric: Sequence[str] = ()) -> None:
        """Prints a table; the columns named in `numeric` are aligned to the right."""
        right = [name in numeric for name in columns]
        if self._stream.isatty():
            _draw(self._stream, columns, rows, right)
        else:
            for line in _aligned([columns, *rows], right):
                self.line(line)


def _draw(stream: TextIO, columns: Sequence[str], rows: Rows, right: Sequence[bool]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for name, to_the_right in zip(columns, right, strict=True):
        table.add_column(name, justify="right" if to_the_right else "left")
    for row in rows:
        table.add_row(*map(Text, row))  # not as rich's markup: a cell may hold brackets
    Console(file=stream).print(table)


def _aligned(rows: Rows, right: Sequence[bool]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(right))]
    return [
        "  ".join(
            cell.rjust(width) if to_the_right else cell.ljust(width)
            for cell, width, to_the_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in rows
    ]
