"""The rows of the mini suite: six source tasks that mirror the paper's, eight targets.

Each `<task>(rng, label)` writes one row whose label is true by construction. A row's text holds
only fields, no task name and no instruction, and field names are shared between tasks: what to
do with the fields is for the prompt to say.
"""

import random
from collections.abc import Callable
from typing import Any, NamedTuple

from mpt_jax.tasks.mini import lexicon, world
from mpt_jax.tasks.mini.lexicon import HOME, NEWS
from mpt_jax.tasks.mini.world import Fact, chance, pick, shuffled

# Label words, the one that holds first.
ENTAILS = ("entailment", "not_entailment")
DUPLICATE = ("duplicate", "not_duplicate")
FEELINGS = ("positive", "negative")
ACCEPTABLE = ("acceptable", "unacceptable")

_UNSPLIT = 0.6  # chance of each detail in tasks that compare two statements of a fact


class Row(NamedTuple):
    """One example as text. `references`: all right answers, where there are several."""

    inputs: str
    targets: str
    references: tuple[str, ...] = ()


# ---- sources


def nli(rng: random.Random, label: str, genre: lexicon.Genre = HOME) -> Row:
    """Does the hypothesis follow from the premise, contradict it, or neither?"""
    premise = world.draw_fact(rng, genre, 0.4)._replace(negated=chance(rng, 0.2))
    relate = {
        "entailment": world.weaken,
        "contradiction": world.contradict,
        "neutral": world.unsettled,
    }[label]
    hypothesis = relate(rng, premise)
    return Row(
        f"premise: {world.sentence(rng, premise)} hypothesis: {world.sentence(rng, hypothesis)}",
        label,
    )


def qnli(rng: random.Random, label: str) -> Row:
    """Does the sentence answer the question?"""
    fact, slot, asked = _answerable(rng) if label == "entailment" else _unanswerable(rng)
    return Row(
        f"context: {world.sentence(rng, fact)} question: {world.question(rng, asked, slot)}", label
    )


def _answerable(rng: random.Random) -> tuple[Fact, str, Fact]:
    fact = world.draw_fact(rng, HOME, 0.5)
    return fact, pick(rng, world.slots(fact)), fact


def _unanswerable(rng: random.Random) -> tuple[Fact, str, Fact]:
    """A fact and a question on a detail that it lacks, or about another agent or thing."""
    fact, slot, _ = _answerable(rng)
    missing = [slot for slot in world.SLOTS if slot not in world.slots(fact)]
    if missing and chance(rng, 0.5):
        return fact, pick(rng, missing), fact
    part = {"who": "noun", "colour": "noun", "what": "agent"}.get(slot) or pick(
        rng, ("agent", "noun")
    )
    return fact, slot, world.change(rng, fact, part)


def paraphrase(rng: random.Random, label: str) -> Row:
    """The same fact in other words or order, or a fact that differs in one part."""
    one = world.draw_fact(rng, HOME, _UNSPLIT)
    other = one
    if label == "not_duplicate":
        other = world.change(rng, one, pick(rng, world.present_parts(one)))
    return Row(
        f"sentence1: {world.sentence(rng, one, 0.5)} sentence2: {world.sentence(rng, other, 0.5)}",
        label,
    )


def sentiment(rng: random.Random, label: str) -> Row:
    """Praise or blame."""
    return Row(f"sentence: {opinion(rng, label == 'positive')}", label)


def opinion(rng: random.Random, positive: bool) -> str:
    """A sentence of praise or blame, by an adjective, a negated one, or a verb."""
    item, name = pick(rng, lexicon.REVIEWED), pick(rng, lexicon.NAMES)
    negated = chance(rng, 0.3)
    quality = pick(rng, lexicon.POSITIVE if positive != negated else lexicon.NEGATIVE)
    said = f"not {quality}" if negated else f"{pick(rng, lexicon.DEGREES)} {quality}"
    verb = pick(rng, lexicon.LIKED if positive else lexicon.DISLIKED)
    place, day = pick(rng, HOME.places), pick(rng, lexicon.DAYS)
    return pick(
        rng,
        (
            f"the {item} in {place} was {said} .",
            f"{name} said the {item} on {day} was {said} .",
            f"on {day} {name} {verb} the {item} in {place} .",
            f"{name} and {pick(rng, lexicon.NAMES)} {verb} the {item} .",
        ),
    )


def qa(rng: random.Random, label: str) -> Row:
    """`label` is the slot that is asked for."""
    facts = world.draw_facts(rng, HOME, 3, 0.25)
    asked = int(rng.random() * 3)
    if label not in world.slots(facts[asked]):
        name = {"where": "place", "when": "day", "colour": "colour"}[label]
        facts[asked] = facts[asked]._replace(**{name: world.draw_detail(rng, HOME, name)})
    text = world.passage(rng, facts)
    return Row(
        f"context: {text} question: {world.question(rng, facts[asked], label)}",
        world.answer(facts[asked], label, text),
    )


def cloze(rng: random.Random, label: str) -> Row:
    """`label` is the place of the right entity among those listed: first, second or third."""
    facts = world.draw_facts(rng, HOME, 3, 0.2)
    right = facts[int(rng.random() * 3)]
    others = shuffled(rng, [fact.agent for fact in facts if fact is not right])
    others.insert(("first", "second", "third").index(label), right.agent)
    query = world.weaken(rng, right, 0.5, 0.0)._replace(agent="@placeholder")
    return Row(
        f"context: {world.passage(rng, facts)} query: {world.sentence(rng, query, 0.0)}"
        f" entities: {' , '.join(others)}",
        right.agent,
    )


# ---- targets


def news_nli(rng: random.Random, label: str) -> Row:
    """The relation of `nli`, of another genre."""
    return nli(rng, label, NEWS)


def rte(rng: random.Random, label: str) -> Row:
    """Two labels; the premise has two sentences of one genre, one of which decides."""
    genre = pick(rng, (HOME, NEWS))
    facts = world.draw_facts(rng, genre, 2)
    fact = pick(rng, facts)
    relate = (
        pick(rng, (world.contradict, world.unsettled)) if label != "entailment" else world.weaken
    )
    hypothesis = world.sentence(rng, relate(rng, fact))
    return Row(f"premise: {world.passage(rng, facts)} hypothesis: {hypothesis}", label)


def similarity(rng: random.Random, label: str) -> Row:
    """How many of agent, action, thing, place and day agree, "0" to "5"; synonyms agree."""
    one = world.draw_fact(rng, HOME, 0.0)
    one = one._replace(place=pick(rng, HOME.places), day=pick(rng, lexicon.DAYS))
    other = one
    for name in shuffled(rng, ("agent", "verb", "noun", "place", "day"))[: 5 - int(label)]:
        other = world.change(rng, other, name)
    return Row(
        f"sentence1: {world.sentence(rng, one)} sentence2: {world.sentence(rng, other)}", label
    )


def acceptability(rng: random.Random, label: str) -> Row:
    """Unacceptable: words swapped, missing or doubled, or a verb in the wrong form."""
    fact = world.draw_fact(rng, HOME, 0.4)._replace(negated=chance(rng, 0.3))
    text = world.sentence(rng, fact)
    return Row(f"sentence: {text if label == 'acceptable' else spoil(rng, text, fact)}", label)


def spoil(rng: random.Random, text: str, fact: Fact) -> str:
    """`text`, the sentence of `fact`, with one mistake."""
    way = pick(rng, ("swap", "drop", "double", "form"))
    if way == "form":
        forms, bases = fact.verb.forms, fact.verb.bases
        for form, base in zip(forms, bases, strict=True):
            if form != base and f" {form} " in text and not fact.negated:
                return text.replace(f" {form} ", f" {base} ")
            if form != base and f" not {base} " in text:
                return text.replace(f" {base} ", f" {form} ")
        way = "swap"
    words = text.split()
    if way == "swap":
        i = int(rng.random() * (len(words) - 2))  # never the full stop
        words[i], words[i + 1] = words[i + 1], words[i]
        return " ".join(words)
    i = pick(rng, [i for i, w in enumerate(words) if w in ("the", "did", "in", "on", fact.agent)])
    return " ".join(words[:i] + words[i + 1 :] if way == "drop" else words[: i + 1] + words[i:])


def wic(rng: random.Random, label: str) -> Row:
    """Has the word the same of its two meanings in both sentences? The verbs tell."""
    name = pick(rng, tuple(lexicon.AMBIGUOUS))
    kinds = lexicon.AMBIGUOUS[name]
    one = pick(rng, kinds)
    other = one if label == "true" else kinds[one == kinds[0]]
    texts = [world.sentence(rng, ambiguous_fact(rng, name, kind)) for kind in (one, other)]
    return Row(f"sentence1: {texts[0]} sentence2: {texts[1]} word: {name}", label)


def ambiguous_fact(rng: random.Random, name: str, kind: str) -> Fact:
    """A fact about `name` in its meaning `kind`, with a verb that only goes with that kind."""
    fact = world.draw_fact(rng, HOME, 0.3, kind)
    verbs = [verb for verb in HOME.verbs[kind] if verb.kind]
    return fact._replace(verb=pick(rng, verbs), noun=lexicon.Concept((name,), kind=kind))


def coref(rng: random.Random, label: str) -> Row:
    """Does the pronoun mean the person asked about? The reason given tells."""
    text, pronoun, right, wrong, _ = cause(rng)
    asked = right if label == "yes" else wrong
    return Row(f"context: {text} question: does {pronoun} mean {asked} ?", label)


def cause(rng: random.Random) -> tuple[str, str, str, str, str]:
    """A sentence with a reason, its pronoun, who is meant, who is not, the reason.

    E.g. `anna helped mary because she was tired .`, she, mary, anna, tired.
    """
    names, pronoun = pick(rng, ((lexicon.MEN, "he"), (lexicon.WOMEN, "she")))
    agent, patient = shuffled(rng, names)[:2]
    verb, *reasons = pick(rng, lexicon.CAUSES)
    patient_meant = chance(rng, 0.5)
    reason = pick(rng, reasons[patient_meant])
    text = f"{agent} {verb} {patient} because {pronoun} was {reason} ."
    right, wrong = (patient, agent) if patient_meant else (agent, patient)
    return text, pronoun, right, wrong, reason


def boolq(rng: random.Random, label: str) -> Row:
    """No: the thing done is another, is another's, or did not happen."""
    facts = world.draw_facts(rng, HOME, 2)
    fact, other = shuffled(rng, facts)
    if label == "yes":
        asked = world.weaken(rng, fact)
    elif chance(rng, 0.3):
        asked = world.weaken(rng, fact)
        facts[facts.index(fact)] = fact._replace(negated=True)
    elif chance(rng, 0.5):
        asked = world.weaken(rng, fact)._replace(agent=other.agent)
    else:
        asked = world.weaken(rng, world.change(rng, fact, "noun"), generalise=0.0)
    return Row(
        f"context: {world.passage(rng, facts)} question: {world.yes_no_question(rng, asked)}", label
    )


def data2text(rng: random.Random, label: str) -> Row:
    """Fields in words; `label` is ignored. References: the plain order and the day in front."""
    del label
    fact = world.draw_fact(rng, pick(rng, (HOME, NEWS)), 0.5)
    fact = fact._replace(verb=_one_form(fact.verb), noun=_one_form(fact.noun), adjective=None)
    fields = {
        "subject": fact.agent,
        "action": fact.verb.forms[0],
        "object": fact.noun.forms[0],
        "colour": fact.colour,
        "place": fact.place and fact.place.removeprefix("the "),
        "day": fact.day,
    }
    text = " ".join(f"{name}: {value}" for name, value in fields.items() if value)
    references = (world.sentence(rng, fact, 0.0), world.sentence(rng, fact, 1.0))
    return Row(text, references[0], references)


def _one_form(concept: lexicon.Concept) -> lexicon.Concept:
    return lexicon.Concept(concept.forms[:1], concept.bases[:1], concept.kind)


# ---- distinct rows, labels in balance


def distinct_rows(
    writer: Callable[[random.Random, Any], Row], labels: tuple[str, ...], count: int, seed: str
) -> list[Row]:
    """`count` rows with distinct inputs, the labels taking turns; shuffled in blocks of labels.

    Any prefix is balanced to within one row per label, and a longer list extends a shorter one.
    """
    rng = random.Random(seed)
    rows: dict[str, Row] = {}
    order: list[str] = []
    while len(rows) < count:
        order = order or shuffled(rng, labels)
        row = writer(rng, order[-1])
        if row.inputs not in rows:
            rows[row.inputs] = row
            order.pop()
    return list(rows.values())
