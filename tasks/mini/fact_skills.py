"""Instructed skills that spell out what a sentence says and how two sentences differ, part by part.

One label word per pair of sentences is little to learn from. These targets say for every part of a
fact what the label depends on, so a small model learns to read and match facts from far fewer rows.
"""

import random

from mpt_jax.tasks.mini import wording, world
from mpt_jax.tasks.mini.rows import Row
from mpt_jax.tasks.mini.world import DETAILS, Fact, chance, pick

NONE = "none"


def parts(rng: random.Random) -> Row:
    """Who, did or did not, what action, which thing, and its details, each in its first word."""
    fact = world.draw_fact(rng, wording.some_genre(rng), 0.4)._replace(negated=chance(rng, 0.15))
    say = ("list the parts .", "who did what ?")
    return Row(f"{pick(rng, say)} {wording.one_field(rng, world.sentence(rng, fact))}", _list(fact))


def _list(fact: Fact) -> str:
    words = [
        fact.agent.removeprefix("the "),
        "not" if fact.negated else "did",
        fact.verb.bases[0],
        fact.noun.forms[0],
        fact.adjective.forms[0] if fact.adjective else NONE,
        fact.colour or NONE,
        fact.place.removeprefix("the ") if fact.place else NONE,
        fact.day or NONE,
    ]
    return " ".join(words)


def compare(rng: random.Random) -> Row:
    """For each part of two facts: same, different, opposite, more general, or said only by one."""
    one = world.draw_fact(rng, wording.some_genre(rng), 0.45)._replace(negated=chance(rng, 0.1))
    relate = pick(
        rng, (world.weaken, world.contradict, world.unsettled, _change_some, _change_some)
    )
    other = relate(rng, one)
    say = ("compare the parts .", "what is the same , part by part ?")
    texts = (world.sentence(rng, one, 0.25), world.sentence(rng, other, 0.25))
    return Row(f"{pick(rng, say)} {wording.two_fields(rng, *texts)}", difference(one, other))


def _change_some(rng: random.Random, fact: Fact) -> Fact:
    """None to three parts changed."""
    for name in world.shuffled(rng, world.present_parts(fact))[: int(rng.random() * 4)]:
        fact = world.change(rng, fact, name)
    return fact


def difference(one: Fact, other: Fact) -> str:
    """The target of `compare`: a word for agent, denial, verb, noun and each detail."""
    words = ["same" if one.agent == other.agent else "different"]
    words.append("same" if one.negated == other.negated else "opposite")
    words.append(_relation(one.verb, other.verb))
    is_kind = other.noun.forms == (one.noun.kind,)
    words.append("kind" if is_kind else _relation(one.noun, other.noun))
    return " ".join([*words, *[_detail(one, other, name) for name in DETAILS]])


def _relation(one, other) -> str:
    if one.forms == other.forms:
        return "same"
    opposite = one.opposite is not None and one.opposite.forms == other.forms
    return "opposite" if opposite else "different"


def _detail(one: Fact, other: Fact, name: str) -> str:
    first, second = getattr(one, name), getattr(other, name)
    if first is None or second is None:
        return NONE if first is second else ("less" if second is None else "more")
    if name == "adjective":
        return _relation(first, second)
    return "same" if first == second else "different"
