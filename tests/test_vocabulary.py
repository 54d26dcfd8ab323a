import pytest
import seqio
from hypothesis import given, settings
from hypothesis import strategies as st

from mpt_jax import assets
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


@pytest.mark.parametrize("content", [None, b"", b"text", b"\x0a\xff\xff\xff\xff\x0f"])
def test_a_file_that_is_no_model(content, tmp_path):
    file = tmp_path / "spiece.model"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match="spiece.model cannot be read as a SentencePiece model"):
        SentencePiece(str(file), 2)
