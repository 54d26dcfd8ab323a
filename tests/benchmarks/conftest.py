"""Benchmarks import what is in their folder, as a script does; and miniature corpora for them."""

import json
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "benchmarks"))

LABELS = {
    "mrpc": ["equivalent", "not_equivalent"],
    "sick_e": ["entailment", "neutral", "contradiction"],
    "anssel": ["entailment", "not_entailment"],
    "trec": ["abbreviation", "entity", "description", "human", "location", "numeric"],
    "sst5": ["very negative", "negative", "neutral", "positive", "very positive"],
}
ROWS = 24


@pytest.fixture
def real_folder(tmp_path):
    """The corpora of `real_data.py` with a few rows, no text twice."""
    from real import corpora

    for corpus in (*corpora.SOURCES, *corpora.TARGETS):
        for split in ("train", "validation", "test"):
            rows = [row(corpus, split, i) for i in range(ROWS)]
            lines = "".join(json.dumps(each) + "\n" for each in rows)
            file = tmp_path / "given" / corpus.name / f"{split}.jsonl"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(lines, encoding="utf-8")
    return tmp_path / "given"


def row(corpus, split, number):
    """One row; labels take turns, the first one comes last."""
    # All letters, so that the vocabulary learnt of these texts can spell the labels.
    rest = f"{number} of {corpus.name} {split}: a quick brown fox jumps over the lazy dog"
    texts = {field: f"{field} {rest}" for field in corpus.texts}
    if "meaning_representation" in texts:
        texts["meaning_representation"] = f"name[{rest.replace(':', '')}], area[riverside]"
    labels = LABELS.get(corpus.name, ["negative", "positive"])
    answers = {"label": labels[-1 - number % len(labels)], "score": 1 + number / 10}
    return {**texts, **{k: answers[k] for k in [corpus.answer] if k in answers}}
