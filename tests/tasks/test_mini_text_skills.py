import random

from mpt_jax.tasks import mini_text_skills as skills


def draw(skill, count=200):
    rng = random.Random(skill.__name__)
    return [skill(rng) for _ in range(count)]


def test_answers_are_words_of_the_text():
    for skill in (skills.ask, skills.fill, skills.who_was, skills.find_sentence):
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


def test_what_differs_names_a_word_of_the_second_only():
    for row in draw(skills.what_differs):
        fields = row.inputs.split(": ")
        assert f" {row.targets} " in f" {fields[-1]} "
        assert f" {row.targets} " not in f" {fields[-2]} "


def test_pronouns_are_replaced():
    for row in draw(skills.replace_pronoun):
        assert not {"he", "she"} & set(row.targets.split())
