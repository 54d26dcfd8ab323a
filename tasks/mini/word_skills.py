"""Instructed skills on words and single sentences: meaning, form and opinion."""

import random

from mpt_jax.tasks.mini import lexicon, rows, wording, world
from mpt_jax.tasks.mini.lexicon import HOME, NEWS
from mpt_jax.tasks.mini.rows import Row
from mpt_jax.tasks.mini.world import chance, pick, shuffled

# ---- words


def _concepts(genre: lexicon.Genre) -> list[lexicon.Concept]:
    groups = [*genre.nouns.values(), *genre.verbs.values(), genre.adjectives]
    return [concept for group in groups for concept in group]


_CONCEPTS = _concepts(HOME) + _concepts(NEWS)
_SYNONYMS = [concept for concept in _CONCEPTS if len(concept.forms) > 1]
_OPPOSITES = [concept for concept in _CONCEPTS if concept.opposite]
_NOUNS = [noun for genre in (HOME, NEWS) for group in genre.nouns.values() for noun in group]


def synonym(rng: random.Random) -> Row:
    """Another word of the same meaning."""
    one, other = shuffled(rng, pick(rng, _SYNONYMS).forms)
    say = ("say it in another word .", "which word means the same ?", "give a synonym .")
    return Row(f"{pick(rng, say)} word: {one}", other)


def opposite(rng: random.Random) -> Row:
    """The word of the opposite meaning."""
    concept = pick(rng, _OPPOSITES)
    say = ("which word is the opposite ?", "give the opposite .")
    return Row(f"{pick(rng, say)} word: {world.word(rng, concept)}", concept.opposite.forms[0])


def kind_of(rng: random.Random) -> Row:
    """The kind of a thing."""
    noun = pick(rng, _NOUNS)
    say = ("what kind of thing is it ?", "name the kind .")
    return Row(f"{pick(rng, say)} word: {world.word(rng, noun)}", noun.kind)


def meaning_here(rng: random.Random) -> Row:
    """The kind of thing that a word of two meanings is in a sentence."""
    name = pick(rng, tuple(lexicon.AMBIGUOUS))
    kind = pick(rng, lexicon.AMBIGUOUS[name])
    say = pick(rng, ("what kind of thing is it here ?", f"what is the {name} in this sentence ?"))
    text = world.sentence(rng, rows.ambiguous_fact(rng, name, kind))
    return Row(f"{say} {wording.one_field(rng, text)} word: {name}", kind)


# ---- sentences


def order(rng: random.Random) -> Row:
    """The sentence that shuffled words make."""
    text = world.sentence(rng, world.draw_fact(rng, HOME, 0.2), 0.0)
    words = " ".join(shuffled(rng, text.split()[:-1]))
    say = ("put the words in order .", "make a sentence of the words .")
    return Row(f"{pick(rng, say)} {wording.one_field(rng, words)}", text)


def order_right(rng: random.Random) -> Row:
    """Are the words in order? If not, two have changed places, or (easy) all have."""
    *words, stop = world.sentence(rng, world.draw_fact(rng, HOME, 0.4), 0.0).split()
    holds, right = chance(rng, 0.5), tuple(words)
    if not holds and chance(rng, 0.5):
        while tuple(words) == right:
            words = shuffled(rng, words)
    elif not holds:
        places = [(i, j) for j in range(len(words)) for i in range(j) if words[i] != words[j]]
        i, j = pick(rng, places)
        words[i], words[j] = words[j], words[i]
    words.append(stop)
    say = ("are the words in order ?", "is the order of the words right ?")
    return wording.verdict(
        rng, pick(rng, say), wording.one_field(rng, " ".join(words)), holds, rows.ACCEPTABLE
    )


def repair(rng: random.Random) -> Row:
    """The sentence without its mistake, if it has one."""
    fact = world.draw_fact(rng, HOME, 0.4)._replace(negated=chance(rng, 0.3))
    text = world.sentence(rng, fact)
    spoilt = text if chance(rng, 0.3) else rows.spoil(rng, text, fact)
    say = ("repair the sentence .", "write the sentence without mistakes .")
    return Row(f"{pick(rng, say)} {wording.one_field(rng, spoilt)}", text)


def copy(rng: random.Random) -> Row:
    """The same text: words from outside of the world, which nothing else teaches."""
    text = " ".join(pick(rng, lexicon.COMMON) for _ in range(3 + int(rng.random() * 5)))
    say = ("copy .", "say it again .", "repeat the text .")
    return Row(f"{pick(rng, say)} {wording.one_field(rng, text)}", text)


def from_keywords(rng: random.Random) -> Row:
    """The sentence that says the keywords."""
    fact = wording.plain(world.draw_fact(rng, wording.some_genre(rng), 0.4))
    words = [fact.agent, fact.verb.forms[0], *world.thing(rng, fact).split()[1:]]
    words += [fact.place.removeprefix("the ")] if fact.place else []
    words += [fact.day] if fact.day else []
    say = ("say the facts as a sentence .", "make a sentence .")
    return Row(
        f"{pick(rng, say)} {wording.one_field(rng, ' , '.join(words))}",
        world.sentence(rng, fact, 0.0),
    )


def negate(rng: random.Random) -> Row:
    """The sentence with its action denied."""
    fact = wording.plain(world.draw_fact(rng, wording.some_genre(rng), 0.3))
    say = pick(rng, ("say that it did not happen .", "put not into the sentence ."))
    negated = world.sentence(rng, fact._replace(negated=True), 0.0)
    return Row(f"{say} {wording.one_field(rng, world.sentence(rng, fact, 0.0))}", negated)


# ---- opinions


def feeling(rng: random.Random) -> Row:
    """Is the opinion a good one?"""
    positive = chance(rng, 0.5)
    say = ("is the opinion good ?", "did they like it ?", "is this praise ?")
    return wording.verdict(
        rng,
        pick(rng, say),
        wording.one_field(rng, rows.opinion(rng, positive)),
        positive,
        rows.FEELINGS,
    )
