"""Tiny stored datasets of the paper's 25 builders, with what their rows must become.

One row per task, written by hand in the form in which TFDS gives it, and the texts expected of it
in T5's and in ATTEMPT's wording. `store` writes them as TFDS would, for the real builders to read.
"""

import itertools
from typing import NamedTuple

import tensorflow as tf
import tensorflow_datasets as tfds

from mpt_jax.tasks import paper

tfds.disable_progress_bar()
LARGE = 1004  # 1,000 are held out


class Example(NamedTuple):
    """A stored row and the texts that it must become; `digit` where the answer is a label."""

    row: dict
    t5: str
    attempt: str
    target: str
    digit: str | None = None


def _spans(text: str) -> dict:
    return {"text": text, "char_spans": [], "token_spans": []}


def _mrqa(subset: str, question: str, context: str, answers: list[str]) -> dict:
    return {
        "subset": subset,
        "qid": "1",
        "question": question,
        "question_tokens": [{"tokens": "who", "offsets": 0}],
        "context": context,
        "context_tokens": [{"tokens": "the", "offsets": 0}],
        "detected_answers": [_spans(answers[0])],
        "answers": answers,
    }


EXAMPLES = {
    "mnli": Example(
        {"premise": "A man sleeps.", "hypothesis": "Nobody is awake.", "label": 1, "idx": 0},
        "mnli hypothesis: Nobody is awake. premise: A man sleeps.",
        "mnli premise: A man sleeps. hypothesis: Nobody is awake.",
        "neutral",
        "1",
    ),
    "qqp": Example(
        {"question1": "How old is it?", "question2": "What is its age?", "label": 1, "idx": 0},
        "qqp question1: How old is it? question2: What is its age?",
        "qqp question1: How old is it? question2: What is its age?",
        "duplicate",
        "1",
    ),
    "qnli": Example(
        {"question": "Who sang?", "sentence": "Anna did not.", "label": 1, "idx": 0},
        "qnli question: Who sang? sentence: Anna did not.",
        "qnli question: Who sang? sentence: Anna did not.",
        "not_entailment",
        "1",
    ),
    "sst2": Example(
        {"sentence": "a fine film ", "label": 1, "idx": 0},
        "sst2 sentence: a fine film ",
        "sst2 sentence: a fine film ",
        "positive",
        "1",
    ),
    "stsb": Example(
        {"sentence1": "A dog ran.", "sentence2": "A cat ran.", "label": 2.5, "idx": 0},
        "stsb sentence1: A dog ran. sentence2: A cat ran.",
        "stsb sentence1: A dog ran. sentence2: A cat ran.",
        "2.4",  # 12.5 fifths round to the even 12
    ),
    "mrpc": Example(
        {"sentence1": "He won.", "sentence2": "He was the winner.", "label": 1, "idx": 0},
        "mrpc sentence1: He won. sentence2: He was the winner.",
        "mrpc sentence1: He won. sentence2: He was the winner.",
        "equivalent",
        "1",
    ),
    "rte": Example(
        {"sentence1": "It rains.", "sentence2": "It is dry.", "label": 1, "idx": 0},
        "rte sentence1: It rains. sentence2: It is dry.",
        "rte sentence1: It rains. sentence2: It is dry.",
        "not_entailment",
        "1",
    ),
    "cola": Example(
        {"sentence": "Him ran.", "label": 0, "idx": 0},
        "cola sentence: Him ran.",
        "cola sentence: Him ran.",
        "unacceptable",
        "0",
    ),
    "multirc": Example(
        {
            "paragraph": "<b>Sent 1: </b>Tom ran.<br><b>Sent 2: </b>He fell.",
            "question": "Who fell?",
            "answer": "Tom",
            "idx": {"paragraph": 3, "question": 7, "answer": 9},
            "label": 1,
        },
        "multirc question: Who fell? answer: Tom paragraph: Sent 1: Tom ran. Sent 2: He fell.",
        "superglue-multirc question: Who fell? answer: Tom "
        "paragraph: Sent 1: Tom ran. Sent 2: He fell.",
        "True",
        "1",
    ),
    "boolq": Example(
        {"question": "is ice cold", "passage": "Ice is frozen water.", "label": 1, "idx": 0},
        "boolq passage: Ice is frozen water. question: is ice cold",
        "superglue-boolq question: is ice cold passage: Ice is frozen water.",
        "True",
        "1",
    ),
    "wic": Example(
        {
            "word": "bank",
            "sentence1": "The bank of the river.",
            "sentence2": "He robbed a bank.",
            **{"start1": 4, "end1": 8, "start2": 12, "end2": 16, "label": 0, "idx": 0},
        },
        "wic sentence1: The bank of the river. sentence2: He robbed a bank. word: bank",
        "superglue-wic sentence1: The bank of the river. sentence2: He robbed a bank. word: bank",
        "False",
        "0",
    ),
    "wsc": Example(
        {
            "text": "When he came, Mark Smith's (only) son left.",
            "span1_text": "Mark Smith",
            "span1_index": 3,
            "span2_text": "he",
            "span2_index": 1,
            "label": 1,
            "idx": 0,
        },
        "wsc text: When # he # came, * Mark Smith *'s (only) son left.",
        "superglue-wsc.fixed text: When # he # came, * Mark Smith *'s (only) son left.",
        "True",
        "1",
    ),
    "cb": Example(
        {"premise": "I doubt that.", "hypothesis": "It is so.", "label": 1, "idx": 0},
        "cb hypothesis: It is so. premise: I doubt that.",
        "superglue-cb premise: I doubt that. hypothesis: It is so.",
        "contradiction",
        "1",
    ),
    "record": Example(
        {
            "passage": "Anna met Tom.\n@highlight\nThey sang\n@highlight\nTom left",
            "query": "@placeholder left",
            "entities": ["Anna", "Tom"],
            "answers": ["Tom", "Tom Smith"],
            "idx": {"passage": 4, "query": 5},
        },
        "record query: @placeholder left entities: Anna, Tom "
        "passage: Anna met Tom. They sang. Tom left",
        "superglue-record record query: @placeholder left entities: Anna, Tom "
        "passage: Anna met Tom. They sang. Tom left",
        "Tom",
    ),
    "squad": Example(
        {
            "id": "1",
            "title": "U.S.",
            "question": "Who's the chief?",
            "context": "The (first)  chief was Anna.",
            "answers": {"text": ["Anna", "chief A. Smith"], "answer_start": [22, 4]},
        },
        "question: Who ' s the chief ? context: The ( first ) chief was Anna .",
        "squad question: Who ' s the chief ? context: The ( first ) chief was Anna .",
        "Anna",
    ),
    "nq": Example(
        _mrqa("NQ", "who won", "<P> It was Ann-Mary. </P>", ["Ann-Mary", "Ann"]),
        "question: who won context: < P > It was Ann - Mary . < / P >",
        "squad question: who won context: < P > It was Ann - Mary . < / P >",
        "Ann - Mary",
    ),
    "hotpotqa": Example(
        _mrqa("HotpotQA", "Is it old?", "[PAR] yes", ["yes"]),
        "question: Is it old ? context: [ PAR ] yes",
        "squad question: Is it old ? context: [ PAR ] yes",
        "yes",
    ),
    "searchqa": Example(
        _mrqa("SearchQA", "It is red", "[DOC] a rose", ["rose", "a rose"]),
        "question: It is red context: [ DOC ] a rose",
        "squad question: It is red context: [ DOC ] a rose",
        "rose",
    ),
    "newsqa": Example(
        _mrqa("NewsQA", "Who?", "LONDON -- Tom", ["Tom"]),
        "question: Who ? context: LONDON - - Tom",
        "squad question: Who ? context: LONDON - - Tom",
        "Tom",
    ),
    "winogrande": Example(
        {"sentence": "Ann hit Eve and _ fell.", "option1": "Ann", "option2": "Eve", "label": 1},
        "winogrande sentence: Ann hit Eve and _ fell. option1: Ann option2: Eve",
        "winogrande sentence: Ann hit Eve and _ fell. option0: Ann option1: Eve",
        "2",
        "1",
    ),
    "yelp": Example(
        {"text": "Bad food.", "label": 0},
        "yelp_polarity sentence: Bad food.",
        "yelp_polarity sentence: Bad food.",
        "negative",
        "0",
    ),
    "scitail": Example(
        {"premise": "Ice melts.", "hypothesis": "Ice turns to water.", "label": 0},
        "scitail hypothesis: Ice turns to water. premise: Ice melts.",
        "scitail premise: Ice melts. hypothesis: Ice turns to water.",
        "entails",
        "0",
    ),
    "paws": Example(
        {"sentence1": "He ran to Rome .", "sentence2": "To Rome he ran .", "label": 1},
        "paws sentence1: He ran to Rome . sentence2: To Rome he ran .",
        "paws sentence1: He ran to Rome . sentence2: To Rome he ran .",
        "paraphrase",
        "1",
    ),
    "e2e": Example(
        {
            "gem_id": "1",
            "gem_parent_id": "1",
            "meaning_representation": "name[Aromi], area[riverside]",
            "target": "Aromi is by the river.",
            "references": ["Aromi is by the river."],
        },
        "e2e meaning: name[Aromi], area[riverside]",
        "e2e meaning: name[Aromi], area[riverside]",
        "Aromi is by the river.",
    ),
    "webnlg": Example(
        {
            "gem_id": "1",
            "gem_parent_id": "1",
            "input": ["Rome | country | Italy", "Italy | capital | Rome"],
            "category": "City",
            "webnlg_id": "1",
            "target": "Rome is Italy's capital.",
            "references": ["Rome is Italy's capital.", "Italy has the capital Rome."],
        },
        "webnlg triples: Rome | country | Italy && Italy | capital | Rome",
        "webnlg triples: Rome | country | Italy && Italy | capital | Rome",
        "Rome is Italy's capital.",
    ),
}


def tensors(value, name=""):
    """A row as tensors of the types that TFDS gives."""
    if isinstance(value, dict):
        return {key: tensors(each, key) for key, each in value.items()}
    if isinstance(value, float):
        return tf.constant(value, tf.float32)
    if isinstance(value, int):
        return tf.constant(value, tf.int64 if name == "label" else tf.int32)
    return tf.constant(value)


def stored_splits(name: str) -> dict[str, list[dict]]:
    """TFDS split -> rows: what each recipe needs, and no more."""
    row = EXAMPLES[name].row
    sizes: dict[str, int] = {}
    task = paper.TASKS[name]
    for part in (*task.splits.values(), *(task.own_splits or {}).values()):
        sizes[part.split] = 5
    if task.splits["validation"].split.startswith("train"):
        sizes[task.splits["train"].split] = LARGE
    return {split: list(itertools.repeat(row, count)) for split, count in sizes.items()}


def store(name: str, splits: dict[str, list[dict]], data_dir: str) -> None:
    """Writes rows as the prepared dataset of task `name`, in the order given."""
    tfds_name = paper.TASKS[name].builder
    builder = tfds.builder(tfds_name, data_dir=data_dir)
    tfds.dataset_builders.store_as_tfds_dataset(
        builder.name,
        builder.version,
        builder.info.features,
        {split: list(enumerate(rows)) for split, rows in splits.items()},
        config=builder.builder_config.name if builder.builder_config else None,
        data_dir=data_dir,
        disable_shuffling=True,
    )
