import random

from mpt_jax.tasks.mini import text_skills as skills


def draw(skill, count=200):
    rng = random.Random(skill.__name__)
    return [skill(rng) for _ in range(count)]


def test_answers_are_words_of_the_text():
    for skill in (skills.ask, skills.fill, skills.who_was):
        for row in draw(skill):
            assert f" {row.targets} " in f" {row.inputs} "


def test_shared_words_are_counted():
    lists = [row for row in draw(skills.count_same) if not row.inputs.startswith("how many of")]
    for row in lists:
        text = row.inputs.split(maxsplit=1)[1]
        words = [w for w in text.split(":", 1)[1].split() if not w.endswith(":")]
        half = len(words) // 2
        assert len(set(words[:half]) & set(words[half:])) == int(row.targets)
    assert lists
