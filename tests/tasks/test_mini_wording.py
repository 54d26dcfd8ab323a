import random

from mpt_jax.tasks.mini import lexicon, wording, world


def test_a_verdict_answers_in_its_own_words_or_yes_and_no():
    rng = random.Random(0)
    seen = set()
    for holds in (True, False):
        for _ in range(100):
            row = wording.verdict(rng, "is it so ?", "text: x", holds, ("true", "false"))
            assert row.inputs.startswith("is it so ?") and row.inputs.endswith("text: x")
            said = ("yes", "no") if "answer yes or no" in row.inputs else ("true", "false")
            assert row.targets == said[not holds]
            seen.add(row.targets)
    assert seen == {"yes", "no", "true", "false"}


def test_plain_facts_use_the_first_synonym():
    rng = random.Random(0)
    for _ in range(50):
        fact = wording.plain(world.draw_fact(rng, lexicon.HOME, 0.5))
        assert len({world.sentence(rng, fact, 0.0) for _ in range(5)}) == 1
