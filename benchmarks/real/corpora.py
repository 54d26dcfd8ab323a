"""The corpora of `real_data.py`, and a copy of them in which nothing that is scored is trained on.

sst2, sst5 and mr share sentences: a training row of a source may be, or contain, a test row of a
target. The copy leaves such rows out. Its text is lower-cased, as the vocabulary is: what a model
generates is then compared with references of the same case.
"""

import collections
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterable, Mapping

from real.held_out import HeldOut, key, normal

from mpt_jax.errors import UserError

Row = dict[str, str | float]
Splits = dict[str, list[Row]]

TRAIN, VALIDATION, TEST = "train", "validation", "test"
REMOVED = "removed.json"
_PARTS = ((0.2, TEST), (0.3, VALIDATION), (1.0, TRAIN))  # up to which share of all hashes


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Where the texts of a corpus are.

    Attributes:
      name: of its folder and its task.
      inputs: fields with the input's texts.
      answer: "label", "score", or the field with the text to generate.
      files: those of its splits that are used.
    """

    name: str
    inputs: tuple[str, ...]
    answer: str = "label"
    files: tuple[str, ...] = (TRAIN, VALIDATION)

    @property
    def is_text(self) -> bool:
        """Whether answers are texts."""
        return self.answer not in ("label", "score")

    @property
    def texts(self) -> tuple[str, ...]:
        """The fields with running text."""
        return (*self.inputs, self.answer) if self.is_text else self.inputs


_PAIR = ("sentence1", "sentence2")
_ALL = (TRAIN, VALIDATION, TEST)
SOURCES = (
    Corpus("sst2", ("sentence",)),
    Corpus("mrpc", _PAIR),
    Corpus("sick_e", _PAIR),
    Corpus("anssel", ("question", "sentence")),
    Corpus("trec", ("sentence",)),
    Corpus("mr", ("sentence",)),
)
# mpqa and e2e come without a test file. All their rows are split anew (`_split`): e2e's two files
# have other values of the facts, because the published training file, which has all, is missing.
TARGETS = (
    Corpus("sst5", ("sentence",), files=_ALL),
    Corpus("mpqa", ("sentence",)),
    Corpus("sts", _PAIR, "score", files=_ALL),
    Corpus("sick_r", _PAIR, "score", files=_ALL),
    Corpus("e2e", ("meaning_representation",), "reference"),
)


def check(data: pathlib.Path) -> None:
    """Find out before the work whether all files are there.

    Raises:
      UserError: some are not.
    """
    files = [data / c.name / f"{split}.jsonl" for c in (*SOURCES, *TARGETS) for split in c.files]
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise UserError(
            f"--data: {data} lacks {len(missing)} of {len(files)} files, the first is "
            f"{missing[0]}. Name the folder that holds the corpora."
        )


def copy(data: pathlib.Path, to: pathlib.Path) -> dict[str, int]:
    """Write the corpora to `to`, normalised: targets with three splits, sources without test.

    A source's training row is left out if a target validates or is tested on it; its validation
    row, if a target is tested on it or any task is trained on it. Two rows are the same if they
    have the same inputs, in either order, or if a text of one is or contains a lone sentence of the
    other.

    Args:
      data: folder with a folder per corpus, a `.jsonl` file per split.
      to: the copy's folder.

    Returns:
      What rows were left out of -> how many.
    """
    rows = {corpus: _read(data, corpus) for corpus in (*SOURCES, *TARGETS)}
    removed = {}
    evaluated = _Known(rows, TARGETS, (VALIDATION, TEST))
    for corpus in SOURCES:
        removed[corpus.name] = _leave_out(evaluated, corpus, rows[corpus], TRAIN)
    elsewhere = (_Known(rows, TARGETS, (TEST,)), _Known(rows, rows, (TRAIN,)))
    for corpus in SOURCES:
        removed[f"{corpus.name}'s validation"] = sum(
            _leave_out(known, corpus, rows[corpus], VALIDATION) for known in elsewhere
        )
    for corpus, splits in rows.items():
        for split, of_split in splits.items():
            write_rows(of_split, to / corpus.name / f"{split}.jsonl")
    return removed


def training_texts(copied: pathlib.Path) -> tuple[dict[str, list[str]], int]:
    """The texts to learn a vocabulary and a backbone from: only of the train splits.

    The texts of a pair stay together, so that hidden words of one can be found in the other. An
    answer that is to be generated is a text of its own. Stricter than `copy`: a text that is only
    one of a target's evaluated pair is left out too.

    Args:
      copied: what `copy` wrote.

    Returns:
      Corpus -> its texts, each once in all, and how many different ones were left out.
    """
    evaluated = HeldOut(
        row[field]
        for corpus in TARGETS
        for split in (VALIDATION, TEST)
        for row in read_rows(copied / corpus.name / f"{split}.jsonl")
        for field in corpus.texts
    )
    texts, seen, is_out = {}, set(), {}
    for corpus in (*SOURCES, *TARGETS):
        texts[corpus.name] = []
        for row in read_rows(copied / corpus.name / f"{TRAIN}.jsonl"):
            for fields in (corpus.inputs, corpus.texts[len(corpus.inputs) :]):
                parts = [row[field] for field in fields]
                for part in parts:
                    if key(part) not in is_out:
                        is_out[key(part)] = evaluated.is_in(part)
                text = " ".join(part for part in parts if not is_out[key(part)])
                if text and key(text) not in seen:
                    texts[corpus.name].append(text)
                seen.add(key(text))
    return texts, sum(is_out.values())


def read_rows(path: pathlib.Path) -> list[Row]:
    """The rows of a JSONL file."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write_rows(rows: Iterable[Row], path: pathlib.Path) -> None:
    """Write a JSONL file, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _read(data: pathlib.Path, corpus: Corpus) -> Splits:
    splits = {}
    for split in corpus.files:
        rows = read_rows(data / corpus.name / f"{split}.jsonl")
        splits[split] = [{**row, **{f: normal(row[f]) for f in corpus.texts}} for row in rows]
    is_whole = corpus in SOURCES or TEST in splits
    return splits if is_whole else _split(corpus, [row for rows in splits.values() for row in rows])


def _split(corpus: Corpus, rows: Iterable[Row]) -> Splits:
    """A fifth to test and a tenth to validate with; rows of equal inputs are in the same split."""
    splits = collections.defaultdict(list)
    for row in rows:
        digest = hashlib.blake2b(
            repr(sorted(_inputs(corpus, row))).encode(), digest_size=8
        ).digest()
        place = int.from_bytes(digest, "big") / 2**64
        splits[next(split for end, split in _PARTS if place < end)].append(row)
    return splits


class _Known:
    """The rows of some splits, to find others that are the same.

    Args:
      rows: of each corpus, by split.
      of: the corpora.
      names: the splits.
    """

    def __init__(self, rows: Mapping[Corpus, Splits], of: Iterable[Corpus], names: Iterable[str]):
        found = [(c, row) for c in of for name in names for row in rows[c].get(name, ())]
        self._inputs = {_inputs(corpus, row) for corpus, row in found}
        self._sentences = HeldOut(row[c.inputs[0]] for c, row in found if len(c.inputs) == 1)

    def has(self, corpus: Corpus, row: Row) -> bool:
        return _inputs(corpus, row) in self._inputs or any(
            self._sentences.is_in(row[field]) for field in corpus.inputs
        )


def _leave_out(known: _Known, corpus: Corpus, splits: Splits, name: str) -> int:
    """Take from a split the rows that are known; returns how many."""
    before = len(splits[name])
    splits[name] = [row for row in splits[name] if not known.has(corpus, row)]
    return before - len(splits[name])


def _inputs(corpus: Corpus, row: Row) -> frozenset[str]:
    """Equal for rows of equal inputs, in either order."""
    return frozenset(key(row[field]) for field in corpus.inputs)
