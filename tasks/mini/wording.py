"""How instructions to the mini backbone are worded: field names and answer words."""

import random

from mpt_jax.tasks.mini import lexicon, world
from mpt_jax.tasks.mini.lexicon import HOME, NEWS
from mpt_jax.tasks.mini.rows import Row
from mpt_jax.tasks.mini.world import chance, pick

TWO_FIELDS = (
    ("premise:", "hypothesis:"),
    ("sentence1:", "sentence2:"),
    ("first:", "second:"),
    ("text:", "claim:"),
)
ASK_FIELDS = (("context:", "question:"), ("text:", "question:"), ("passage:", "query:"))
ONE_FIELD = ("sentence:", "text:", "words:")

RELATIONS = ("entailment", "contradiction", "neutral")
RELATIONS_IN_WORDS = ("yes", "no", "maybe")
SLOT_WORDS = {"agent": "person", "verb": "action", "noun": "thing", "place": "place", "day": "day"}


def verdict(
    rng: random.Random, question: str, fields: str, holds: bool, words: tuple[str, str]
) -> Row:
    """A question that is answered by one of `words` (it holds, it does not), or by yes or no.

    Which of the two is part of the instruction, and always in the same words: reading arbitrary
    answer words from it is more than a model of this size learns.
    """
    if chance(rng, 0.5):
        return Row(f"{question} answer yes or no . {fields}", "yes" if holds else "no")
    return Row(f"{question} {fields}", words[0] if holds else words[1])


def two_fields(rng: random.Random, one: str, other: str) -> str:
    """Two statements under a pair of field names."""
    first, second = pick(rng, TWO_FIELDS)
    return f"{first} {one} {second} {other}"


def ask_fields(rng: random.Random, text: str, question: str) -> str:
    """A text and a question under a pair of field names."""
    first, second = pick(rng, ASK_FIELDS)
    return f"{first} {text} {second} {question}"


def one_field(rng: random.Random, text: str) -> str:
    """One text under a field name."""
    return f"{pick(rng, ONE_FIELD)} {text}"


def some_genre(rng: random.Random) -> lexicon.Genre:
    """Home twice as often as news."""
    return NEWS if chance(rng, 0.35) else HOME


def plain(fact: world.Fact) -> world.Fact:
    """The fact in the first synonym of each word."""
    first = {n: getattr(fact, n) for n in ("verb", "noun", "adjective") if getattr(fact, n)}
    return fact._replace(
        **{n: lexicon.Concept(c.forms[:1], c.bases[:1], c.kind) for n, c in first.items()}
    )
