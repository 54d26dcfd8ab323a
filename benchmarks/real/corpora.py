"""The corpora of `real_data.py`, and a copy of them that leaks nothing of the targets' test rows.

sst2, sst5 and mr share sentences: a training row of a source may be, or contain, a test row of a
target. The copy leaves such rows out. Its text is lower-cased, as the vocabulary is: what a model
generates is then compared with references of the same case.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Iterator

from real.held_out import HeldOut, key, normal

from mpt_jax.errors import UserError

Row = dict[str, str | float]


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Where the texts of a corpus are.

    Attributes:
      name: of its folder and its task.
      inputs: fields with the input's texts.
      answer: "label", "score", or the field with the text to generate.
      evaluated: other files that are used, only for targets: sst2's validation rows are sst5's.
        A share of train takes its place.
    """

    name: str
    inputs: tuple[str, ...]
    answer: str = "label"
    evaluated: tuple[str, ...] = ()

    @property
    def splits(self) -> tuple[str, ...]:
        """All files that are used."""
        return ("train", *self.evaluated)

    @property
    def texts(self) -> tuple[str, ...]:
        """The fields with running text."""
        return self.inputs if self.answer in ("label", "score") else (*self.inputs, self.answer)


_PAIR = ("sentence1", "sentence2")
_BOTH = ("validation", "test")
SOURCES = (
    Corpus("sst2", ("sentence",)),
    Corpus("mrpc", _PAIR),
    Corpus("sick_e", _PAIR),
    Corpus("anssel", ("question", "sentence")),
    Corpus("trec", ("sentence",)),
    Corpus("mr", ("sentence",)),
)
# The last of the evaluated files is what the scores are of.
TARGETS = (
    Corpus("sst5", ("sentence",), evaluated=_BOTH),
    Corpus("mpqa", ("sentence",), evaluated=("validation",)),
    Corpus("sts", _PAIR, "score", evaluated=_BOTH),
    Corpus("sick_r", _PAIR, "score", evaluated=_BOTH),
    Corpus("e2e", ("meaning_representation",), "reference", evaluated=("validation",)),
)
REMOVED = "removed.json"


def check(data: pathlib.Path) -> None:
    """Find out before the work whether all files are there.

    Raises:
      UserError: some are not.
    """
    files = [data / c.name / f"{split}.jsonl" for c in (*SOURCES, *TARGETS) for split in c.splits]
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise UserError(
            f"--data: {data} lacks {len(missing)} of {len(files)} files, the first is "
            f"{missing[0]}. Name the folder that holds the corpora."
        )


def copy(data: pathlib.Path, to: pathlib.Path) -> dict[str, int]:
    """Write the corpora to `to`, normalised, without the sources' rows that targets evaluate on.

    A row is left out if it has the inputs of an evaluated row, in either order, or if one of its
    texts is or contains an evaluated sentence.

    Args:
      data: folder with a folder per corpus, a `.jsonl` file per split.
      to: the copy's folder.

    Returns:
      Source -> rows left out.
    """
    evaluated = list(_evaluated_rows(data))
    inputs = {_inputs(corpus, row) for corpus, row in evaluated}
    sentences = HeldOut(
        row[corpus.inputs[0]] for corpus, row in evaluated if len(corpus.inputs) == 1
    )
    removed = {}
    for corpus in (*SOURCES, *TARGETS):
        for split in corpus.splits:
            rows = _normal_rows(data, corpus, split)
            if corpus in SOURCES:
                kept = [
                    row
                    for row in rows
                    if _inputs(corpus, row) not in inputs
                    and not any(sentences.is_in(row[field]) for field in corpus.inputs)
                ]
                removed[corpus.name] = len(rows) - len(kept)
                rows = kept
            write_rows(rows, to / corpus.name / f"{split}.jsonl")
    return removed


def training_texts(copied: pathlib.Path) -> tuple[dict[str, list[str]], int]:
    """The texts to learn a vocabulary and a backbone from: only of the train splits.

    Stricter than `copy`: a text that is only one of an evaluated pair is left out too.

    Args:
      copied: what `copy` wrote.

    Returns:
      Corpus -> its texts, each once in all, and how many different ones were left out.
    """
    evaluated = HeldOut(
        row[field] for corpus, row in _evaluated_rows(copied) for field in corpus.texts
    )
    texts, seen, removed = {}, set(), 0
    for corpus in (*SOURCES, *TARGETS):
        texts[corpus.name] = []
        for text in _texts(copied, corpus):
            if key(text) in seen:
                continue
            seen.add(key(text))
            if evaluated.is_in(text):
                removed += 1
            else:
                texts[corpus.name].append(text)
    return texts, removed


def read_rows(path: pathlib.Path) -> list[Row]:
    """The rows of a JSONL file."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write_rows(rows: Iterable[Row], path: pathlib.Path) -> None:
    """Write a JSONL file, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _normal_rows(data: pathlib.Path, corpus: Corpus, split: str) -> list[Row]:
    rows = read_rows(data / corpus.name / f"{split}.jsonl")
    return [{**row, **{field: normal(row[field]) for field in corpus.texts}} for row in rows]


def _evaluated_rows(data: pathlib.Path) -> Iterator[tuple[Corpus, Row]]:
    for corpus in TARGETS:
        for split in corpus.evaluated:
            for row in read_rows(data / corpus.name / f"{split}.jsonl"):
                yield corpus, row


def _texts(copied: pathlib.Path, corpus: Corpus) -> Iterator[str]:
    for row in read_rows(copied / corpus.name / "train.jsonl"):
        yield from (row[field] for field in corpus.texts)


def _inputs(corpus: Corpus, row: Row) -> frozenset[str]:
    """Equal for rows of equal inputs, in either order."""
    return frozenset(key(row[field]) for field in corpus.inputs)
