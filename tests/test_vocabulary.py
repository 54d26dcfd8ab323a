import io
import pathlib

import numpy as np
import pytest
import sentencepiece
import seqio
from hypothesis import given, settings
from hypothesis import strategies as st

from mpt_jax import assets, vocabulary
from mpt_jax.errors import UserError
from mpt_jax.vocabulary import SentencePiece

FILE = assets.path("mini/spiece.model")
OURS = {n: SentencePiece(FILE, n) for n in (0, 32)}
SEQIO = {n: seqio.SentencePieceVocabulary(FILE, n) for n in (0, 32)}
TEXTS = st.one_of(
    st.text(max_size=30),
    st.lists(
        st.sampled_from(["the judge", " ", "law", "<extra_id_0>", "<extra_id_31>", "</s>", "é"])
    ).map("".join),
)


@pytest.mark.parametrize("extra_ids", [0, 32])
@given(text=TEXTS, ids=st.lists(st.integers(0, 1100), max_size=12))
@settings(max_examples=60, deadline=None)
def test_ids_and_texts_are_seqio_s(extra_ids, text, ids):
    ours, theirs = OURS[extra_ids], SEQIO[extra_ids]
    assert ours.encode(text) == list(theirs.encode(text))
    assert ours.decode(ids) == theirs.decode(ids)


@pytest.mark.parametrize("extra_ids", [0, 32])
def test_facts_are_seqio_s(extra_ids):
    for name in ("vocab_size", "extra_ids", "pad_id", "eos_id", "unk_id"):
        assert getattr(OURS[extra_ids], name) == getattr(SEQIO[extra_ids], name), name


def small(**options):
    """A vocabulary of few pieces, learnt here."""
    content = io.BytesIO()
    texts = iter(["the judge bought a law", "what did the judge buy ,  and why"] * 5)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=texts,
        model_writer=content,
        hard_vocab_limit=False,
        minloglevel=2,
        **{"vocab_size": 26, "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, **options},
    )
    return content.getvalue()


@pytest.fixture(name="vocabularies", scope="module")
def _vocabularies(tmp_path_factory):
    """Of several kinds, in the last of which pieces may go over a space."""
    kinds = [
        {"model_type": "bpe", "normalization_rule_name": "identity"},
        {"remove_extra_whitespaces": False, "byte_fallback": True, "vocab_size": 300},
        {"treat_whitespace_as_suffix": True},
    ]
    found = [OURS[32], SEQIO[32]]
    for number, options in enumerate(kinds):
        file = tmp_path_factory.mktemp("kinds") / f"{number}.model"
        file.write_bytes(small(**options))
        found.append(SentencePiece(str(file), 2))
    return found


WORDS = st.lists(
    st.one_of(
        st.sampled_from(
            ["the", "judge", " ", "  ", "\u0301", "\u3000", "\t", "<extra_id_0>", "\u200b"]
        ),
        st.text(max_size=6),
    ),
    max_size=60,
).map(" ".join)


@given(text=WORDS, count=st.integers(1, 20))
@settings(max_examples=150, deadline=None)
def test_the_first_ids_of_a_beginning_are_those_of_the_text(vocabularies, text, count):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocabulary, "_SHORT", 1)
        patch.setattr(vocabulary, "_CHARACTERS", 1)
        for kind in vocabularies:
            found, whole = vocabulary.first_ids(kind, text, count), list(kind.encode(text))
            assert found[:count] == whole[:count] and found == whole[: len(found)]


def test_of_a_long_text_little_is_tokenised(vocabularies):
    text = "the judge bought a law " * 200_000
    assert [len(vocabulary.first_ids(kind, text, 50)) < 5000 for kind in vocabularies] == [
        *[True] * 4,
        False,
    ]
    assert len(vocabulary.first_ids(OURS[0], "~" * 100_000 + text, 50)) > 50  # one unknown piece


@pytest.mark.parametrize("content", [None, b"", b"text", b"\x0a\xff\xff\xff\xff\x0f"])
def test_a_file_that_is_no_model(content, tmp_path):
    file = tmp_path / "spiece.model"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match="spiece.model cannot be read as a SentencePiece model"):
        SentencePiece(str(file), 2)


def test_a_flipped_byte_is_refused_or_gives_a_vocabulary_that_works(tmp_path):
    whole, file = pathlib.Path(FILE).read_bytes(), tmp_path / "spiece.model"
    places = np.random.default_rng(0).integers(0, 18_000, 100)  # the pieces; the rest normalises
    bits = np.random.default_rng(1).integers(1, 256, 100)
    refused = 0
    for at, bit in zip(places, bits, strict=True):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ int(bit)]) + whole[at + 1 :])
        try:
            found = SentencePiece(str(file), 32)
        except UserError:
            refused += 1
        else:
            assert len(found.pieces) == found.vocab_size
            assert isinstance(found.decode(found.encode("the judge \u00e9")), str)
    assert refused > 10


def test_the_digest_is_of_what_makes_ids(tmp_path, vocabularies):
    assert len({vocabulary.digest(kind) for kind in [OURS[0], *vocabularies[2:]]}) == 4
    expected = vocabulary.digest(OURS[0])
    inside = tmp_path / "inside.model"  # the sentinels among the pieces, as in Google's files
    inside.write_bytes(SEQIO[32].sp_model)
    same = (OURS[32], SEQIO[0], SEQIO[32], SentencePiece(str(inside)))
    assert [vocabulary.digest(other) for other in same] == [expected] * 4
    assert vocabulary.digest(seqio.PassThroughVocabulary(9)) == ""
    whole = pathlib.Path(FILE).read_bytes()
    in_the_normalisation = whole[:150_000] + bytes([whole[150_000] ^ 1]) + whole[150_001:]
    (tmp_path / "flipped.model").write_bytes(in_the_normalisation)
    flipped = SentencePiece(str(tmp_path / "flipped.model"))
    assert flipped.pieces == OURS[0].pieces and vocabulary.digest(flipped) != expected
