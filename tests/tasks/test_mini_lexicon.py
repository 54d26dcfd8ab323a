from mpt_jax.tasks.mini import lexicon

GENRES = (lexicon.HOME, lexicon.NEWS)


def concepts(genre):
    groups = [*genre.nouns.values(), *genre.verbs.values(), genre.adjectives]
    return {id(c): c for group in groups for c in group}.values()


def test_opposites_are_mutual():
    for genre in GENRES:
        for concept in concepts(genre):
            assert concept.opposite is None or concept.opposite.opposite is concept


def test_a_form_has_one_meaning_within_its_genre():
    for genre in GENRES:
        forms = [form for concept in concepts(genre) for form in concept.forms]
        assert len(forms) == len(set(forms))


def test_every_kind_has_an_opposable_verb_and_things():
    for genre in GENRES:
        assert set(genre.verbs) == set(genre.nouns)
        for verbs in genre.verbs.values():
            assert any(verb.opposite for verb in verbs)
            assert all(len(verb.forms) == len(verb.bases) for verb in verbs)


def test_ambiguous_words_are_of_two_kinds_that_own_verbs_tell_apart():
    plain = {form for c in concepts(lexicon.HOME) for form in c.forms}
    for word, kinds in lexicon.AMBIGUOUS.items():
        assert word not in plain and len(set(kinds)) == 2
        for kind in kinds:
            assert any(verb.kind == kind for verb in lexicon.HOME.verbs[kind])


def test_names_opinions_and_reasons_do_not_overlap():
    assert not set(lexicon.MEN) & set(lexicon.WOMEN)
    assert not set(lexicon.POSITIVE + lexicon.LIKED) & set(lexicon.NEGATIVE + lexicon.DISLIKED)
    for _, subject, patient in lexicon.CAUSES:
        assert not set(subject) & set(patient)
