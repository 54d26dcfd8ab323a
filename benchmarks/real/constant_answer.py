"""The score of one answer for every row: what a method must beat to have learnt anything."""

import collections
import pathlib

from real import corpora, facts

NAME = "always the commonest label"  # of its row in the table of sources


def of_label(copied: pathlib.Path, corpus: corpora.Corpus, split: str) -> float:
    """The share of the commonest label of train among the rows of a split, in percent.

    Args:
      copied: folder of the prepared corpora.
      corpus: one with labels.
      split: whose rows are scored.
    """
    train, scored = (
        [row["label"] for row in corpora.read_rows(copied / corpus.name / f"{each}.jsonl")]
        for each in (corpora.TRAIN, split)
    )
    ((label, _),) = collections.Counter(train).most_common(1)
    return 100 * sum(answer == label for answer in scored) / len(scored)


def of_target(copied: pathlib.Path, corpus: corpora.Corpus) -> float:
    """The test score of a target's best constant; 0 for a number, which does not correlate."""
    if corpus.answer == "score":
        return 0.0
    if corpus.answer == "label":
        return of_label(copied, corpus, corpora.TEST)
    return of_text(copied, corpus)[1]


def of_text(copied: pathlib.Path, corpus: corpora.Corpus) -> tuple[str, float]:
    """The training sentence that scores best on validation, and its slot accuracy on test."""
    asked = {
        split: [facts.facts(meaning) for meaning in meanings(copied, corpus, split)]
        for split in (corpora.TRAIN, corpora.VALIDATION, corpora.TEST)
    }
    reader = facts.Reader(each for of_split in asked.values() for each in of_split)
    train = corpora.read_rows(copied / corpus.name / f"{corpora.TRAIN}.jsonl")
    texts = [row[corpus.answer] for row in train]
    best = facts.best_constant(asked[corpora.VALIDATION], texts, reader)
    test = asked[corpora.TEST]
    return best, facts.slot_accuracy(test, [reader.stated(best)] * len(test))


def of_references(copied: pathlib.Path, corpus: corpora.Corpus) -> float:
    """The slot accuracy of e2e's own references on test: how much people say, and patterns find."""
    rows = corpora.read_rows(copied / corpus.name / f"{corpora.TEST}.jsonl")
    asked = [facts.facts(row[corpus.inputs[0]]) for row in rows]
    reader = facts.Reader(asked)
    return facts.slot_accuracy(asked, [reader.stated(row[corpus.answer]) for row in rows])


def meanings(copied: pathlib.Path, corpus: corpora.Corpus, split: str) -> list[str]:
    """The distinct inputs of e2e, in order, as an evaluation has them."""
    rows = corpora.read_rows(copied / corpus.name / f"{split}.jsonl")
    return list(dict.fromkeys(row[corpus.inputs[0]] for row in rows))
