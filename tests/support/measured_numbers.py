"""Measured numbers of a page, and whether a committed CSV has them.

A measured number has a decimal point, an exponent, a ± or a percent sign, or is followed by a unit
of time, memory or speed; on pages in benchmarks/ every number in a table or in printed output is
one. A row of a CSV has it if the passage (paragraph, list item, row of a table, line of output)
names one of the row's texts and one of the row's numbers is printed so, rounded; `a ± b` must come
from one row.

What is code is not looked at: `inline`, indented blocks and blocks with a language are what a
reader types, so settings are written that way. A block without a language is printed output. What
stands between `<!-- benchmarks/... -->` and `<!-- end -->` is written from a CSV by that script,
and its own test compares them.
"""

import csv
import dataclasses
import itertools
import pathlib
import re
import statistics
from collections.abc import Iterable, Iterator, Sequence

NOTES = ("command", "date", "machine", "unit")  # columns that neither name a row nor measure
UNITS = (
    r"%|percent\b|[mµn]?s\b|milliseconds?\b|seconds?\b|minutes?\b|(?:chip-)?hours?\b|days?\b|"
    r"[kMGT]i?B\b|(?:kilo|mega|giga)?bytes?\b|[MGT]FLOPs?\b|FLOPs?\b|requests/s\b|tokens/s\b"
)
NUMBER = re.compile(r"(?<![\w.,/-])[-−]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?(?![\w]|\.\d|,\d)")
PAIR = re.compile(rf"({NUMBER.pattern}) ± ({NUMBER.pattern})")


@dataclasses.dataclass(frozen=True)
class Row:
    """Of a CSV, or of its means over seeds: the texts that name it, and its numbers."""

    texts: frozenset[str]
    numbers: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Passage:
    """What stands together; what is over it (a table's head, the heading) may name rows too."""

    text: str
    over: str = ""
    every: bool = False  # every number counts


def missing(page: str, rows: Sequence[Row], *, every: bool = False) -> list[str]:
    """The measured numbers of a page that no row has, each with its passage.

    Args:
        page: Markdown.
        rows: of the committed CSVs.
        every: whether all numbers of its tables and its output are measured.
    """
    found = []
    for passage in passages(page, every):
        if wanted := list(measured(_without_code(passage.text), passage.every)):
            named = _named(passage.text, rows) or _named(passage.over, rows)
            found += [
                f"{' ± '.join(printed)} in: {passage.text}"
                for printed in wanted
                if not any(_has(row, printed) for row in named)
            ]
    return found


def passages(page: str, every: bool = False) -> Iterator[Passage]:
    """Paragraphs, list items, table rows and lines of output, without code."""
    page = re.sub(r"(?s)<!-- benchmarks/.*?<!-- end -->", "", page)
    heading = head = ""
    paragraph: list[str] = []
    language = None  # of the block that is open

    def finished() -> Iterator[Passage]:
        if paragraph:
            yield Passage(" ".join(paragraph), heading)
            paragraph.clear()

    for line in [*page.splitlines(), ""]:
        if line.startswith("```"):
            yield from finished()
            language = line.removeprefix("```").strip() if language is None else None
            head = ""
        elif language is not None:
            if not language and line.strip():
                if NUMBER.search(line):
                    yield Passage(line, f"{head} {heading}", every)
                else:
                    head = line
        elif line.startswith("#"):
            yield from finished()
            heading = line
        elif line.startswith("|"):
            yield from finished()
            if not head:
                head = line
            elif not re.fullmatch(r"[|\s:-]+", line):
                yield Passage(line, f"{head} {heading}", every)
        else:
            head = ""
            if not line.strip() or re.match(r"\s*(?:[-*]|\d+\.) ", line):
                yield from finished()
            if line.strip() and (paragraph or not line.startswith("    ")):
                paragraph.append(line.strip())


def measured(text: str, every: bool = False) -> Iterator[tuple[str, ...]]:
    """Numbers as printed, `a ± b` as a pair."""
    for pair in PAIR.finditer(text):
        yield pair[1], pair[2]
    for found in NUMBER.finditer(PAIR.sub(" ", text)):
        rest = found.string[found.end() :]
        decimal = re.search(r"[.e]", found[0])
        if every or decimal or re.match(rf"[ -]?(?:{UNITS})", rest):
            yield (found[0],)


def read(paths: Iterable[pathlib.Path]) -> list[Row]:
    """The rows of CSV files; where there is a column `seed`, means over seeds too."""
    rows = []
    for path in paths:
        with path.open(encoding="utf-8", newline="") as file:
            lines = [{k: v for k, v in line.items() if k not in NOTES} for line in _lines(file)]
        rows += [row(line.values()) for line in lines]
        if lines and "seed" in lines[0]:
            rows += _over_seeds(lines)
    return rows


def _lines(file: Iterable[str]) -> Iterator[dict[str, str]]:
    return csv.DictReader(line for line in file if not line.startswith("#"))


def row(cells: Iterable[str]) -> Row:
    texts, numbers = set(), []
    for cell in cells:
        try:
            numbers.append(float(cell))
        except ValueError:
            texts.add(_words(cell))
            numbers += [_value(number) for number in NUMBER.findall(cell)]
    names = (text for text in texts if re.search(r"[^\W\d]", text))
    return Row(frozenset(names), tuple(numbers))


def _over_seeds(lines: Sequence[dict[str, str]]) -> Iterator[Row]:
    """Mean and deviation over seeds, of each task and of the mean over tasks.

    Columns with a decimal point are what was measured; the others say of what.
    """
    scores = [k for k in lines[0] if any("." in (line[k] or "") for line in lines)]
    keys = [k for k in lines[0] if k not in (*scores, "seed")]
    for over, score in itertools.product((keys, [k for k in keys if k != "task"]), scores):
        found: dict[tuple[str, ...], dict[str, list[float]]] = {}
        for line in lines:
            if line[score]:
                by_seed = found.setdefault(tuple(line[k] for k in over), {})
                by_seed.setdefault(line["seed"], []).append(float(line[score]))
        for key, by_seed in found.items():
            means = [statistics.mean(of_seed) for of_seed in by_seed.values()]
            spread = statistics.stdev(means) if len(means) > 1 else 0.0
            yield row([*key, repr(statistics.mean(means)), repr(spread)])


def _named(text: str, rows: Sequence[Row]) -> list[Row]:
    words = f" {_words(text)} "
    return [row for row in rows if any(f" {name} " in words for name in row.texts)]


def _has(row: Row, printed: tuple[str, ...]) -> bool:
    return all(any(_rounds(number, each) for number in row.numbers) for each in printed)


def _rounds(number: float, printed: str) -> bool:
    """Whether a number is printed so; 1 % of the last digit is for CSVs that are rounded too."""
    mantissa, _, exponent = printed.partition("e")
    last = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return abs(number - _value(printed)) <= 0.51 * last


def _value(printed: str) -> float:
    return float(printed.replace(",", "").replace("−", "-"))


def _words(text: str) -> str:
    """Lower-case words, numbers included, with one space between them."""
    return " ".join(re.findall(r"\w+(?:\.\d+)?", text.lower().replace("_", " ")))


def _without_code(text: str) -> str:
    """Also without targets of links and emphasis."""
    text = re.sub(r"`[^`]*`", " ` ", text)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return text.replace("*", "")
