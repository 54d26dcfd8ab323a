import random

from mpt_jax.tasks import mini_lexicon as lexicon
from mpt_jax.tasks import mini_wording as wording
from mpt_jax.tasks import mini_world as world


def test_the_answer_words_of_a_verdict_are_in_the_instruction():
    rng = random.Random(0)
    for holds in (True, False):
        for _ in range(200):
            row = wording.verdict(rng, "is it so ?", "text: x", holds)
            words = row.inputs.split()
            assert row.inputs.startswith("is it so ?") and row.inputs.endswith("text: x")
            assert row.targets in words or row.targets in ("yes", "no")
            if "say" in words:
                said = words[words.index("say") + 1] if holds else words[words.index("else") + 1]
                assert row.targets == said
            else:
                assert row.targets == ("yes" if holds else "no")


def test_plain_facts_use_the_first_synonym():
    rng = random.Random(0)
    for _ in range(50):
        fact = wording.plain(world.draw_fact(rng, lexicon.HOME, 0.5))
        assert len({world.sentence(rng, fact, 0.0) for _ in range(5)}) == 1
