import random

from mpt_jax.tasks.mini import fact_skills as skills
from mpt_jax.tasks.mini import lexicon, world

WORDS = {"same", "different", "opposite", "kind", "more", "less", "none"}


def test_parts_lists_eight_and_says_denials():
    rng = random.Random(0)
    for _ in range(200):
        row = skills.parts(rng)
        listed = row.targets.split()
        assert len(listed) == 8
        assert (listed[1] == "not") == (" did not " in row.inputs)
        assert f" {listed[0]} " in row.inputs


def test_compare_has_a_word_for_each_part():
    rng = random.Random(0)
    for _ in range(200):
        verdicts = skills.compare(rng).targets.split()
        assert len(verdicts) == 8 and set(verdicts) <= WORDS


def test_difference_by_hand():
    rng = random.Random(3)
    one = world.draw_fact(rng, lexicon.HOME, 1.0)
    assert skills.difference(one, one) == " ".join(["same"] * 8)
    fewer = one._replace(place=None, day=None)
    assert skills.difference(one, fewer).split()[6:] == ["less", "less"]
    assert skills.difference(fewer, one).split()[6:] == ["more", "more"]
    denied = one._replace(negated=True, adjective=one.adjective.opposite, place=None)
    expected = ["same", "opposite", "same", "same", "opposite", "same", "less", "same"]
    assert skills.difference(one, denied).split() == expected
    general = world.weaken(rng, one, drop=0.0, generalise=1.0)
    assert skills.difference(one, general).split()[3] == "kind"


def test_difference_of_changed_parts_names_these_alone():
    rng = random.Random(4)
    names = ("agent", None, "verb", "noun", *world.DETAILS)
    for _ in range(100):
        one = world.draw_fact(rng, lexicon.HOME, 1.0)
        name = world.pick(rng, ("agent", "noun", "colour", "place", "day"))
        verdicts = skills.difference(one, world.change(rng, one, name)).split()
        changed = [part for part, word in zip(names, verdicts, strict=True) if word != "same"]
        assert changed == [name]
