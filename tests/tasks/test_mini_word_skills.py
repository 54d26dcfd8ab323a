import random

from mpt_jax.tasks.mini import word_skills as skills
from mpt_jax.tasks.mini.lexicon import HOME, NAMES


def draw(skill, count=200):
    rng = random.Random(skill.__name__)
    return [skill(rng) for _ in range(count)]


def body(row):
    return row.inputs.split(": ", 1)[1]


def test_synonyms_are_mutual_and_opposites_are_not_synonyms():
    pairs = {(body(row), row.targets) for row in draw(skills.synonym, 2000)}
    assert {(b, a) for a, b in pairs} & pairs
    opposites = {(body(row), row.targets) for row in draw(skills.opposite, 2000)}
    assert not pairs & opposites


def test_ordering_keeps_the_words():
    for row in draw(skills.order):
        assert sorted(body(row).split()) == sorted(row.targets.split()[:-1])


def test_words_out_of_order_are_told_from_sentences():
    verbs = {f for v in HOME.verbs.values() for c in v for f in c.forms}
    for row in draw(skills.order_right):
        words = body(row).split()
        second_is_verb = words[1] in verbs and words[2] == "the" and words[0] in NAMES
        assert words[-1] == "."
        if not second_is_verb:  # what every sentence of the world begins with
            assert row.targets in ("unacceptable", "no")


def test_copies_are_copies_and_repairs_are_mostly_not():
    assert all(body(row) == row.targets for row in draw(skills.copy))
    changed = [body(row) != row.targets for row in draw(skills.repair)]
    assert 0.5 < sum(changed) / len(changed) < 0.9


def test_negations_deny():
    assert all(" did not " in row.targets for row in draw(skills.negate))
