import random

import pytest

from mpt_jax.tasks.mini import world
from mpt_jax.tasks.mini.lexicon import HOME, NEWS, Concept

BUY = Concept(("bought",), ("buy",))
SELL = Concept(("sold",), ("sell",), opposite=BUY)
CAR = Concept(("car",), kind="vehicle")
BIG = Concept(("big",))
FULL = world.Fact(HOME, "anna", BUY, CAR, BIG, "red", "the park", "monday")
BARE = world.Fact(HOME, "anna", BUY, CAR)


@pytest.fixture
def rng():
    return random.Random("test")


def test_sentences(rng):
    assert world.sentence(rng, BARE) == "anna bought the car ."
    assert world.sentence(rng, BARE._replace(negated=True)) == "anna did not buy the car ."
    said = "anna bought the big red car in the park"
    assert world.sentence(rng, FULL, front=0.0) == f"{said} on monday ."
    assert world.sentence(rng, FULL, front=1.0) == f"on monday , {said} ."


@pytest.mark.parametrize(
    ("slot", "question", "answer"),
    [
        ("who", "who bought the car ?", "anna"),
        ("what", "what did anna buy ?", "the big red car"),
        ("where", "where did anna buy the car ?", "the park"),
        ("when", "when did anna buy the car ?", "monday"),
        ("colour", "which colour was the car ?", "red"),
    ],
)
def test_questions_and_their_answers(rng, slot, question, answer):
    text = f"tom read the map . {world.sentence(rng, FULL, front=0.0)}"
    assert world.question(rng, FULL, slot) == question
    assert world.answer(FULL, slot, text) == answer


def test_slots_are_the_questions_that_a_fact_answers():
    assert world.slots(BARE) == ["who", "what"]
    assert world.slots(FULL) == list(world.SLOTS)
    assert world.yes_no_question(random.Random(0), BARE) == "did anna buy the car ?"


def test_weakening_drops_details_and_names_kinds(rng):
    assert world.weaken(rng, FULL, drop=1.0, generalise=0.0) == BARE
    assert world.sentence(rng, world.weaken(rng, BARE, generalise=1.0)) == (
        "anna bought the vehicle ."
    )
    denied = FULL._replace(negated=True)
    assert world.weaken(rng, denied, drop=1.0, generalise=1.0) == denied


def test_contradictions_exclude_in_exactly_one_way(rng):
    for _ in range(300):
        fact = world.draw_fact(rng, NEWS, 0.5)._replace(negated=world.chance(rng, 0.2))
        other = world.contradict(rng, fact)
        ways = [
            other.negated != fact.negated,
            other.verb is fact.verb.opposite,
            fact.adjective is not None and other.adjective is fact.adjective.opposite,
        ]
        assert sum(ways) == 1
        assert other.agent == fact.agent and other.noun is fact.noun


def test_unsettled_facts_neither_follow_nor_contradict(rng):
    for _ in range(300):
        fact = world.draw_fact(rng, HOME, 0.5)._replace(negated=world.chance(rng, 0.2))
        other = world.unsettled(rng, fact)
        added = [n for n in world.DETAILS if getattr(other, n) and not getattr(fact, n)]
        assert added or other.agent != fact.agent or other.noun is not fact.noun


def test_change_changes_the_one_slot(rng):
    for name in ("agent", "verb", "noun", *world.DETAILS):
        fact = world.draw_fact(rng, HOME, 1.0)
        other = world.change(rng, fact, name)
        assert [f for f in fact._fields if getattr(fact, f) != getattr(other, f)] == [name]


def test_drawn_facts_share_neither_agent_nor_kind(rng):
    for genre in (HOME, NEWS):
        facts = world.draw_facts(rng, genre, 3)
        assert len({f.agent for f in facts}) == len({f.noun.kind for f in facts}) == 3


def test_shuffled_is_a_permutation_and_leaves_its_input(rng):
    items = list(range(20))
    assert sorted(world.shuffled(rng, items)) == items == list(range(20))
