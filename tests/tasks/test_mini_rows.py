import random
import re

import pytest

from mpt_jax.tasks.mini import lexicon, rows


def draw(writer, label, count=100):
    rng = random.Random(f"{writer.__name__} {label}")
    return [writer(rng, label) for _ in range(count)]


def fields(text):
    """`a: x b: y` -> {"a": "x", "b": "y"}."""
    parts = re.split(r"(?:^| )(\w+): ", text)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("slot", ["who", "what", "where", "when", "colour"])
def test_answers_are_spans_of_the_context(slot):
    for row in draw(rows.qa, slot):
        assert f" {row.targets} " in f" {fields(row.inputs)['context']} "


def test_cloze_answers_stand_at_the_labelled_place_and_in_the_context():
    for i, label in enumerate(("first", "second", "third")):
        for row in draw(rows.cloze, label):
            read = fields(row.inputs)
            assert read["entities"].split(" , ")[i] == row.targets
            assert row.targets in read["context"].split()
            assert row.targets not in read["query"].split()


def test_sentiment_words_agree_with_the_label():
    for label, ours, theirs in (
        ("positive", lexicon.POSITIVE + lexicon.LIKED, lexicon.NEGATIVE + lexicon.DISLIKED),
        ("negative", lexicon.NEGATIVE + lexicon.DISLIKED, lexicon.POSITIVE + lexicon.LIKED),
    ):
        for row in draw(rows.sentiment, label):
            words = row.inputs.split()
            expected = theirs if "not" in words else ours
            assert [w for w in words if w in ours + theirs and w in expected]


@pytest.mark.parametrize("label", list("012345"))
def test_similarity_counts_the_parts_that_agree(label):
    meaning = {
        form: id(concept)
        for concepts in (*lexicon.HOME.nouns.values(), *lexicon.HOME.verbs.values())
        for concept in concepts
        for form in concept.forms
    }
    skip = {"the", "in", "on", ",", "."}
    for row in draw(rows.similarity, label):
        one, two = (
            {meaning.get(w, w) for w in text.split() if w not in skip}
            for text in fields(row.inputs).values()
        )
        assert len(one) == 5 and len(one & two) == int(label)


def test_paraphrases_that_are_none_differ_in_meaning():
    for row in draw(rows.paraphrase, "not_duplicate"):
        one, two = fields(row.inputs).values()
        assert one != two


def test_spoilt_sentences_differ_from_good_ones():
    rng = random.Random(0)
    for _ in range(300):
        fact = rows.world.draw_fact(rng, lexicon.HOME, 0.4)
        text = rows.world.sentence(rng, fact)
        assert rows.spoil(rng, text, fact) != text


def test_the_verbs_tell_the_meaning_of_the_word():
    kind_of_verb = {
        form: verb.kind
        for verbs in lexicon.HOME.verbs.values()
        for verb in verbs
        for form in verb.forms
    }
    for label in ("true", "false"):
        for row in draw(rows.wic, label):
            read = fields(row.inputs)
            kinds = [
                kind_of_verb[next(w for w in read[name].split() if w in kind_of_verb)]
                for name in ("sentence1", "sentence2")
            ]
            assert (kinds[0] == kinds[1]) == (label == "true")
            assert set(kinds) <= set(lexicon.AMBIGUOUS[read["word"]])


def test_the_reason_tells_who_the_pronoun_means():
    causes = {verb: (of_agent, of_patient) for verb, of_agent, of_patient in lexicon.CAUSES}
    for label in ("yes", "no"):
        for row in draw(rows.coref, label):
            agent, verb, patient, *_, reason, _ = fields(row.inputs)["context"].split()
            meant = agent if reason in causes[verb][0] else patient
            asked = row.inputs.split()[-2]
            assert (asked == meant) == (label == "yes")


def test_boolq_repeats_a_fact_when_the_answer_is_yes():
    for row in draw(rows.boolq, "yes"):
        read = fields(row.inputs)
        assert read["question"].split()[1] in read["context"].split()
        assert " not " not in read["context"]


def test_data2text_references_hold_every_value():
    for row in draw(rows.data2text, ""):
        assert row.targets == row.references[0] and len(row.references) == 2
        for value in fields(row.inputs).values():
            assert all(f" {value} " in f" {reference} " for reference in row.references)


def test_distinct_rows_are_distinct_balanced_and_extend():
    few = rows.distinct_rows(rows.rte, ("entailment", "not_entailment"), 40, "seed")
    more = rows.distinct_rows(rows.rte, ("entailment", "not_entailment"), 80, "seed")
    assert more[:40] == few
    assert len({row.inputs for row in more}) == 80
    assert [row.targets for row in more].count("entailment") == 40
    assert rows.distinct_rows(rows.rte, ("entailment", "not_entailment"), 40, "other") != few
