"""How instructions to the mini backbone are worded: field names and answer words.

They vary, so that a model learns to read the answer words from the instruction.
"""

import random

from mpt_jax.tasks import mini_lexicon as lexicon
from mpt_jax.tasks import mini_world as world
from mpt_jax.tasks.mini_lexicon import HOME, NEWS
from mpt_jax.tasks.mini_rows import Row
from mpt_jax.tasks.mini_world import chance, pick

TWO_FIELDS = (
    ("premise:", "hypothesis:"),
    ("sentence1:", "sentence2:"),
    ("first:", "second:"),
    ("text:", "claim:"),
)
ASK_FIELDS = (("context:", "question:"), ("text:", "question:"), ("passage:", "query:"))
ONE_FIELD = ("sentence:", "text:", "words:")

VERDICTS = (
    ("yes", "no"),
    ("true", "false"),
    ("right", "wrong"),
    ("correct", "incorrect"),
    ("same", "different"),
    ("positive", "negative"),
    ("acceptable", "unacceptable"),
    ("entailment", "not_entailment"),
    ("duplicate", "not_duplicate"),
)
RELATIONS = (
    ("entailment", "contradiction", "neutral"),
    ("yes", "no", "maybe"),
    ("true", "false", "unclear"),
    ("right", "wrong", "unknown"),
)
SLOT_WORDS = {
    "agent": ("person", "one who did it"),
    "verb": ("action",),
    "noun": ("thing", "object"),
    "place": ("place",),
    "day": ("day",),
    "colour": ("colour",),
}


def verdict(rng: random.Random, question: str, fields: str, holds: bool) -> Row:
    """A yes/no instruction whose answer words are part of it."""
    yes, no = VERDICTS[0] if chance(rng, 0.3) else pick(rng, VERDICTS)
    if chance(rng, 0.15):
        yes, no = no, yes
    say = f"say {yes} if so , else {no} ."
    if (yes, no) == VERDICTS[0] and chance(rng, 0.7):
        say = pick(rng, ("answer yes or no .", "yes or no ?"))
    return Row(f"{question} {say} {fields}", yes if holds else no)


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
