"""Facts of the mini world, the sentences and questions that state them, and how facts relate.

A row of any mini task is made from facts drawn with a `random.Random`; only its `random()` is
used, whose stream Python guarantees, so a seed names the same rows on every platform.
"""

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from mpt_jax.tasks.mini.lexicon import DAYS, Concept, Genre

DETAILS = ("adjective", "colour", "place", "day")
SLOTS = ("who", "what", "where", "when", "colour")


class Fact(NamedTuple):
    """Who did what to which thing, with up to four details; `negated`: it did not happen."""

    genre: Genre
    agent: str
    verb: Concept
    noun: Concept
    adjective: Concept | None = None
    colour: str | None = None
    place: str | None = None
    day: str | None = None
    negated: bool = False


# ---- drawing


def pick(rng: random.Random, options: Sequence[Any]) -> Any:
    """One of `options`, uniformly."""
    return options[int(rng.random() * len(options))]


def chance(rng: random.Random, probability: float) -> bool:
    """True with the given probability."""
    return rng.random() < probability


def shuffled(rng: random.Random, items: Sequence[Any]) -> list[Any]:
    """A copy of `items` in random order (Fisher-Yates)."""
    items = list(items)
    for i in range(len(items) - 1, 0, -1):
        j = int(rng.random() * (i + 1))
        items[i], items[j] = items[j], items[i]
    return items


def pick_other(rng: random.Random, options: Sequence[Any], not_this: Any) -> Any:
    """One of `options` that is not `not_this`; there must be one."""
    while (choice := pick(rng, options)) is not_this or choice == not_this:
        pass
    return choice


def draw_fact(rng: random.Random, genre: Genre, details: float = 0.4, kind: str = "") -> Fact:
    """A fact with each detail present with probability `details`."""
    kind = kind or pick(rng, tuple(genre.nouns))
    fact = Fact(
        genre, pick(rng, genre.agents), pick(rng, genre.verbs[kind]), pick(rng, genre.nouns[kind])
    )
    return fact._replace(
        **{name: draw_detail(rng, genre, name) for name in DETAILS if chance(rng, details)}
    )


def draw_detail(rng: random.Random, genre: Genre, name: str) -> Any:
    """A value for the detail `name`, or None where the genre has none (news has no colours)."""
    options = {
        "adjective": genre.adjectives,
        "colour": genre.colours,
        "place": genre.places,
        "day": DAYS,
    }[name]
    return pick(rng, options) if options else None


def draw_facts(rng: random.Random, genre: Genre, count: int, details: float = 0.3) -> list[Fact]:
    """`count` facts of different agents and of things of different kinds (count <= 3)."""
    kinds = shuffled(rng, tuple(genre.nouns))[:count]
    agents = shuffled(rng, genre.agents)[:count]
    return [
        draw_fact(rng, genre, details, kind)._replace(agent=agent)
        for agent, kind in zip(agents, kinds, strict=True)
    ]


# ---- saying


def word(rng: random.Random, concept: Concept) -> str:
    """One of the concept's synonyms."""
    return pick(rng, concept.forms)


def thing(rng: random.Random, fact: Fact) -> str:
    """The noun phrase of the fact: `the big red car`."""
    adjective = word(rng, fact.adjective) + " " if fact.adjective else ""
    colour = fact.colour + " " if fact.colour else ""
    return f"the {adjective}{colour}{word(rng, fact.noun)}"


def when_and_where(fact: Fact) -> str:
    """Place and day: ` in the park on monday`, or less."""
    place = f" in {fact.place}" if fact.place else ""
    return place + (f" on {fact.day}" if fact.day else "")


def action(rng: random.Random, fact: Fact) -> str:
    """`bought`, or `did not buy`."""
    i = int(rng.random() * len(fact.verb.forms))
    return f"did not {fact.verb.bases[i]}" if fact.negated else fact.verb.forms[i]


def sentence(rng: random.Random, fact: Fact, front: float = 0.15) -> str:
    """The fact as a sentence; with probability `front` its day comes first."""
    if fact.day and chance(rng, front):
        day, fact = f"on {fact.day} , ", fact._replace(day=None)
    else:
        day = ""
    return f"{day}{fact.agent} {action(rng, fact)} {thing(rng, fact)}{when_and_where(fact)} ."


def passage(rng: random.Random, facts: Sequence[Fact]) -> str:
    """The facts as sentences, in order."""
    return " ".join(sentence(rng, fact) for fact in facts)


def yes_no_question(rng: random.Random, fact: Fact) -> str:
    """`did anna buy the red car in the park ?` (the fact's negation is not said)."""
    base = pick(rng, fact.verb.bases)
    return f"did {fact.agent} {base} {thing(rng, fact)}{when_and_where(fact)} ?"


def slots(fact: Fact) -> list[str]:
    """The questions that the fact answers."""
    present = {"where": fact.place, "when": fact.day, "colour": fact.colour}
    return [slot for slot in SLOTS if present.get(slot, True)]


def question(rng: random.Random, fact: Fact, slot: str) -> str:
    """A question about one slot of the fact; other details are left out."""
    noun = word(rng, fact.noun)
    base = pick(rng, fact.verb.bases)
    if slot == "who":
        return f"who {word(rng, fact.verb)} the {noun} ?"
    if slot == "what":
        return f"what did {fact.agent} {base} ?"
    if slot == "colour":
        return f"which colour was the {noun} ?"
    return f"{slot} did {fact.agent} {base} the {noun} ?"


def answer(fact: Fact, slot: str, text: str) -> str:
    """The answer to `question(..., slot)`, as it stands in `text`."""
    if slot == "what":
        words = text.split()
        end = next(i for i, w in enumerate(words) if w in fact.noun.forms)
        start = max(i for i in range(end) if words[i] == "the")
        return " ".join(words[start : end + 1])
    return {"who": fact.agent, "where": fact.place, "when": fact.day, "colour": fact.colour}[slot]


# ---- relating


def weaken(rng: random.Random, fact: Fact, drop: float = 0.5, generalise: float = 0.25) -> Fact:
    """A fact that follows: details dropped, the thing named by its kind. Of `did not`: itself."""
    if fact.negated:
        return fact
    fact = fact._replace(**{name: None for name in DETAILS if chance(rng, drop)})
    if chance(rng, generalise):
        fact = fact._replace(noun=Concept((fact.noun.kind,), kind=fact.noun.kind))
    return fact


def contradict(rng: random.Random, fact: Fact) -> Fact:
    """A fact that excludes `fact`: negation, an opposite action or an opposite property."""
    ways = ["negate"]
    if not fact.negated:
        ways += ["verb"] if fact.verb.opposite else []
        ways += ["adjective"] * 2 if fact.adjective else []
    way = pick(rng, ways)
    if way == "adjective":
        other = weaken(rng, fact, generalise=0.0)
        return other._replace(adjective=fact.adjective.opposite)
    if way == "verb":
        return weaken(rng, fact, generalise=0.0)._replace(verb=fact.verb.opposite)
    return weaken(rng, fact, generalise=0.0)._replace(negated=not fact.negated)


def unsettled(rng: random.Random, fact: Fact) -> Fact:
    """A fact that `fact` leaves open: a detail more, another agent or another thing."""
    missing = [
        name
        for name in DETAILS
        if getattr(fact, name) is None and (name != "colour" or fact.genre.colours)
    ]
    if missing and not fact.negated and chance(rng, 0.5):
        name = pick(rng, missing)
        return weaken(rng, fact)._replace(**{name: draw_detail(rng, fact.genre, name)})
    other = change(rng, fact, pick(rng, ("agent", "noun")))
    return weaken(rng, other, generalise=0.0)._replace(negated=chance(rng, 0.3))


def present_parts(fact: Fact) -> list[str]:
    """Names of the parts that the fact has, each of which `change` can change."""
    return ["agent", "verb", "noun", *[name for name in DETAILS if getattr(fact, name)]]


def change(rng: random.Random, fact: Fact, name: str) -> Fact:
    """`fact` with another value in one present slot: agent, verb, noun or a detail."""
    genre, kind = fact.genre, fact.noun.kind
    options = {"agent": genre.agents, "verb": genre.verbs[kind], "noun": genre.nouns[kind]}
    if name in options:
        return fact._replace(**{name: pick_other(rng, options[name], getattr(fact, name))})
    while (value := draw_detail(rng, genre, name)) == getattr(fact, name):
        pass
    return fact._replace(**{name: value})
