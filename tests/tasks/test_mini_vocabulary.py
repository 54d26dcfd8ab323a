import pytest

from mpt_jax.tasks.mini import lexicon, make_vocabulary, pretrain, suite
from mpt_jax.tasks.mini import vocabulary as mini_vocabulary


@pytest.fixture(scope="module")
def vocabulary():
    return mini_vocabulary.vocabulary()


def test_ids(vocabulary):
    assert vocabulary.vocab_size == mini_vocabulary.PIECES + mini_vocabulary.EXTRA_IDS == 992
    assert (vocabulary.pad_id, vocabulary.eos_id, vocabulary.unk_id) == (0, 1, 2)
    text = "on <extra_id_0> , Anna sold 5 ."
    ids = vocabulary.encode(text)
    assert ids[1] == vocabulary.vocab_size - 1
    assert len(ids) == 7
    assert vocabulary.decode(ids) == text.lower()


def test_every_word_of_the_world_is_one_piece(vocabulary):
    rows = pretrain.instruction_rows(5000, "vocabulary test")
    rows += [row for name in suite.SUITE for row in suite.split_rows(name, "test")]
    words = {word for row in rows for word in f"{row.inputs} {row.targets}".split()}
    split = {word for word in words if len(vocabulary.encode(word)) != 1}
    assert split <= set(lexicon.COMMON)


def test_training_gives_a_model_of_that_size(tmp_path, monkeypatch):
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(model_proto=make_vocabulary.train())
    assert model.get_piece_size() == mini_vocabulary.PIECES
