import collections
import random

import sentencepiece
from real import corpora, texts

from mpt_jax.tasks.mini.pretrain import corrupted


def test_passages_hold_all_words_in_order():
    given = [f"{i} " * (1 + i % 7) for i in range(60)]
    found = list(texts.passages(given))
    assert " ".join(found) == " ".join(" ".join(given).split())
    assert {len(passage.split()) for passage in found[:-1]} == {texts.WORDS}


def test_a_short_passage_can_be_corrupted():
    for words in range(1, 6):
        row = corrupted(random.Random(0), " ".join("abcdef"[:words]))
        assert "<extra_id_0>" in row.inputs and row.targets.startswith("<extra_id_0> ")


def test_each_round_hides_every_text(tmp_path):
    texts.write_corruption({"one": ["a b c", "d e f"], "two": ["g h"]}, tmp_path / "rows.jsonl")
    rows = corpora.read_rows(tmp_path / "rows.jsonl")
    words = collections.Counter(" ".join(r["inputs"] + " " + r["targets"] for r in rows).split())
    assert {words[word] for word in "abcdefgh"} == {texts.ROUNDS}


def test_the_vocabulary_is_lower_case_and_knows_rare_letters():
    many = {"one": [f"a price of £{i} for {'abc'[i % 3] * 3}" for i in range(300)] + ["é"]}
    model = sentencepiece.SentencePieceProcessor(model_proto=texts.vocabulary(many))
    assert (model.pad_id(), model.eos_id(), model.unk_id()) == (0, 1, 2)
    assert model.decode(model.encode("A PRICE of £7 é")) == "a price of £7 é"
    assert model.vocab_size() <= texts.PIECES
