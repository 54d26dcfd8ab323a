"""Instructed skills on statements and passages: how they relate, what they answer.

Half of the rows of the harder skills are easy: one word per meaning, one fact per text. A model of
this size finds the hard rows' rule from there, and for very long not without them.
"""

import random

from mpt_jax.tasks.mini import lexicon, rows, wording, world
from mpt_jax.tasks.mini.lexicon import HOME
from mpt_jax.tasks.mini.rows import Row
from mpt_jax.tasks.mini.world import chance, pick, shuffled

EASY = 0.5  # share of easy rows

# ---- how two statements relate


def relation(rng: random.Random) -> Row:
    """Three-way entailment, in its own words or as yes, no or maybe."""
    label = pick(rng, wording.RELATIONS)
    one, other = rows.nli(rng, label).inputs.removeprefix("premise: ").split(" hypothesis: ")
    fields = wording.two_fields(rng, one, other)
    if chance(rng, 0.7):
        say = pick(rng, ("how do they relate ?", "what is the second to the first ?"))
        return Row(f"{say} {fields}", label)
    answer = wording.RELATIONS_IN_WORDS[wording.RELATIONS.index(label)]
    return Row(f"does the first mean the second ? answer yes , no or maybe . {fields}", answer)


def follows(rng: random.Random) -> Row:
    """Does the second statement follow from the first?"""
    holds = chance(rng, 0.5)
    label = "entailment" if holds else pick(rng, ("contradiction", "neutral"))
    one, other = rows.nli(rng, label).inputs.removeprefix("premise: ").split(" hypothesis: ")
    ask = ("does the second follow from the first ?", "if the first is true , is the second true ?")
    return wording.verdict(
        rng, pick(rng, ask), wording.two_fields(rng, one, other), holds, rows.ENTAILS
    )


def compatible(rng: random.Random) -> Row:
    """Two statements of either genre: can both be true at once?"""
    genre, holds = wording.some_genre(rng), chance(rng, 0.5)
    fact = world.draw_fact(rng, genre, 0.4)._replace(negated=chance(rng, 0.2))
    relate = pick(rng, (world.weaken, world.unsettled)) if holds else world.contradict
    texts = shuffled(rng, (world.sentence(rng, fact), world.sentence(rng, relate(rng, fact))))
    ask = ("can both be true ?", "do they agree ?")
    return wording.verdict(
        rng, pick(rng, ask), wording.two_fields(rng, *texts), holds, ("true", "false")
    )


def claim(rng: random.Random) -> Row:
    """Does a text say what a claim says? Of facts, or of the reason for an action."""
    holds = chance(rng, 0.5)
    text, said = _reason_claim(rng, holds) if chance(rng, 0.2) else _fact_claim(rng, holds)
    ask = ("does the text say this ?", "is this what the text says ?", "is the claim true ?")
    fields = pick(rng, (wording.two_fields, wording.ask_fields))(rng, text, said)
    return wording.verdict(rng, pick(rng, ask), fields, holds, ("true", "false"))


def _fact_claim(rng: random.Random, holds: bool) -> tuple[str, str]:
    easy = chance(rng, EASY)
    count = 1 if easy else 1 + int(rng.random() * 3)
    facts = world.draw_facts(rng, wording.some_genre(rng), count, 0.25)
    said = pick(rng, facts)
    others = [fact.agent for fact in facts if fact is not said]
    if not holds and others and chance(rng, 0.3):
        said = said._replace(agent=pick(rng, others))
    elif not holds:
        said = world.change(rng, said, pick(rng, ("agent", "noun", "verb")))
    if easy:
        facts, said = [wording.plain(fact) for fact in facts], wording.plain(said)
    return world.passage(rng, facts), world.sentence(rng, said)


def _reason_claim(rng: random.Random, holds: bool) -> tuple[str, str]:
    text, _, right, wrong, reason = rows.cause(rng)
    return text, f"{right if holds else wrong} was {reason} ."


def same_fact(rng: random.Random) -> Row:
    """Do two sentences say the same, in other words or another order?"""
    holds = chance(rng, 0.5)
    one, other = _easy_pair(rng, holds) if chance(rng, EASY) else _paraphrase(rng, holds)
    ask = (
        "do they say the same ?",
        "have both the same meaning ?",
        "is the second the same as the first ?",
    )
    return wording.verdict(
        rng, pick(rng, ask), wording.two_fields(rng, one, other), holds, rows.DUPLICATE
    )


def _paraphrase(rng: random.Random, holds: bool) -> list[str]:
    text = rows.paraphrase(rng, "duplicate" if holds else "not_duplicate").inputs
    return text.removeprefix("sentence1: ").split(" sentence2: ")


def _easy_pair(rng: random.Random, holds: bool) -> list[str]:
    """A sentence and itself, or itself with one part changed, in the same order."""
    one = world.draw_fact(rng, wording.some_genre(rng), 0.4)
    other = one if holds else world.change(rng, one, pick(rng, world.present_parts(one)))
    return [world.sentence(rng, wording.plain(fact), 0.0) for fact in (one, other)]


def same_kind(rng: random.Random) -> Row:
    """Do both speak of one kind of thing? One of the things may have an ambiguous name."""
    holds = chance(rng, 0.5)
    name = pick(rng, tuple(lexicon.AMBIGUOUS))
    kind, unlike = shuffled(rng, lexicon.AMBIGUOUS[name])
    one = rows.ambiguous_fact(rng, name, kind)
    if chance(rng, EASY):
        one = world.draw_fact(rng, HOME, 0.0, kind)
    other = world.draw_fact(rng, HOME, 0.3, kind if holds else unlike)
    texts = shuffled(rng, (world.sentence(rng, one), world.sentence(rng, other)))
    ask = ("are the things of the same kind in both ?", "do both speak of the same kind of thing ?")
    return wording.verdict(
        rng, pick(rng, ask), wording.two_fields(rng, *texts), holds, ("true", "false")
    )


def count_same(rng: random.Random) -> Row:
    """How many words two lists share, or on how many of three slots two facts agree."""
    if chance(rng, 0.5):
        names = [
            noun.forms[0]
            for kind in shuffled(rng, tuple(HOME.nouns))[:5]
            for noun in HOME.nouns[kind]
        ]
        words = shuffled(rng, names)
        length = 1 + int(rng.random() * 5)
        shared = int(rng.random() * (length + 1))
        one = words[:length]
        other = [word if i < shared else words[length + i] for i, word in enumerate(one)]
        if chance(rng, 0.5):
            one, other = zip(*shuffled(rng, tuple(zip(one, other, strict=True))), strict=True)
        ask = pick(
            rng, ("how many words are the same in both ?", "count the words that both have .")
        )
        return Row(f"{ask} {wording.two_fields(rng, ' '.join(one), ' '.join(other))}", str(shared))
    names = shuffled(rng, ("agent", "verb", "noun", "place", "day"))[:3]
    one = world.draw_fact(rng, HOME, 0.0)
    one = one._replace(place=pick(rng, HOME.places), day=pick(rng, lexicon.DAYS))
    other, shared = one, int(rng.random() * 4)
    for i, name in enumerate(names):
        other = other if i < shared else world.change(rng, other, name)
    asked = " , ".join(shuffled(rng, [wording.SLOT_WORDS[name] for name in names]))
    fields = wording.two_fields(rng, world.sentence(rng, one), world.sentence(rng, other))
    return Row(f"how many of {asked} are the same ? {fields}", str(shared))


# ---- questions on a text


def ask(rng: random.Random) -> Row:
    """Extractive question answering."""
    facts = world.draw_facts(rng, wording.some_genre(rng), 1 + int(rng.random() * 3), 0.3)
    fact = pick(rng, facts)
    slot = pick(rng, world.slots(fact))
    text = world.passage(rng, facts)
    say = ("answer the question .", "find the answer in the text .", "what does the text say ?")
    fields = wording.ask_fields(rng, text, world.question(rng, fact, slot))
    return Row(f"{pick(rng, say)} {fields}", world.answer(fact, slot, text))


def answerable(rng: random.Random) -> Row:
    """Does the sentence answer the question?"""
    holds = chance(rng, 0.5)
    text = rows.qnli(rng, "entailment" if holds else "not_entailment").inputs
    context, question = text.removeprefix("context: ").split(" question: ")
    say = ("does the text answer the question ?", "is the answer in the text ?")
    return wording.verdict(
        rng, pick(rng, say), wording.ask_fields(rng, context, question), holds, rows.ENTAILS
    )


def fill(rng: random.Random) -> Row:
    """Cloze: the name that a placeholder stands for, with or without a list of names."""
    say = pick(rng, ("fill in the name .", "who is the @placeholder ?", "which name is left out ?"))
    if chance(rng, EASY):
        facts = world.draw_facts(rng, wording.some_genre(rng), 1 + int(rng.random() * 2), 0.2)
        facts = [wording.plain(fact) for fact in facts]
        right = pick(rng, facts)
        query = world.sentence(rng, right._replace(agent="@placeholder"), 0.0)
        return Row(f"{say} context: {world.passage(rng, facts)} query: {query}", right.agent)
    row = rows.cloze(rng, pick(rng, ("first", "second", "third")))
    text = row.inputs if chance(rng, 0.6) else row.inputs.split(" entities:")[0]
    return Row(f"{say} {text}", row.targets)


def who_was(rng: random.Random) -> Row:
    """Who the reason of an action is about, or (easy) who acts and who is acted upon."""
    text, _, right, wrong, reason = rows.cause(rng)
    say = pick(
        rng, ("answer the question .", f"say {' or '.join(shuffled(rng, (right, wrong)))} .")
    )
    if not chance(rng, EASY):
        return Row(f"{say} {wording.ask_fields(rng, text, f'who was {reason} ?')}", right)
    agent, verb, patient = text.split()[:3]
    question, answer = pick(rng, ((f"who {verb} ?", agent), (f"who was {verb} ?", patient)))
    return Row(f"{say} {wording.ask_fields(rng, text, question)}", answer)


def state(rng: random.Random) -> Row:
    """A yes/no question turned into the statement it asks about."""
    fact = wording.plain(world.draw_fact(rng, wording.some_genre(rng), 0.3))
    say = ("turn the question into a statement .", "say it as a sentence .")
    question = world.yes_no_question(rng, fact)
    return Row(f"{pick(rng, say)} question: {question}", world.sentence(rng, fact, 0.0))
