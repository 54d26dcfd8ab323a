import collections
import random

import sentencepiece
from real import corpora, texts

from mpt_jax.tasks.mini.pretrain import corrupted


def test_passages_hold_all_words_in_order_and_cut_only_long_texts():
    given = [f"{i} " * (1 + i % 7) for i in range(60)] + ["long " * (2 * texts.WORDS + 1)]
    found = list(texts.passages(given))
    assert " ".join(found) == " ".join(" ".join(given).split())
    assert max(len(passage.split()) for passage in found) == texts.WORDS
    for text in given[:-1]:
        assert any(text.strip() in passage for passage in found)


def test_a_short_passage_can_be_corrupted():
    for words in range(1, 6):
        row = corrupted(random.Random(0), " ".join("abcdef"[:words]))
        assert "<extra_id_0>" in row.inputs and row.targets.startswith("<extra_id_0> ")


def test_each_round_hides_every_text_and_every_other_one_twice(tmp_path):
    texts.write_corruption({"one": ["a b c", "d e f"], "two": ["g h"]}, tmp_path / "rows.jsonl")
    rows = corpora.read_rows(tmp_path / "rows.jsonl")
    words = collections.Counter(" ".join(r["inputs"] + " " + r["targets"] for r in rows).split())
    assert {words[word] for word in "abcdefgh"} == {texts.ROUNDS // 2 * 3}


def test_the_score_of_a_pair_is_the_share_of_common_words(tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "PAIRS", 200)
    given = [" ".join(f"{letter}{i}" for i in range(8)) for letter in "abcde"]
    texts.write_overlap({"one": given}, tmp_path / "rows.jsonl")
    rows = corpora.read_rows(tmp_path / "rows.jsonl")
    assert len(rows) == 200 and {row["score"] for row in rows} == set(range(texts.STEPS + 1))
    for row in rows:
        first, second = row["sentence1"].split(), row["sentence2"].split()
        assert first in [text.split() for text in given] and len(second) == len(first)
        common = (collections.Counter(first) & collections.Counter(second)).total()
        assert row["score"] == round(texts.STEPS * common / len(first))


def test_the_vocabulary_is_lower_case_and_knows_rare_letters():
    many = {"one": [f"a price of £{i} for {'abc'[i % 3] * 3}" for i in range(300)] + ["é"]}
    model = sentencepiece.SentencePieceProcessor(model_proto=texts.vocabulary(many))
    assert (model.pad_id(), model.eos_id(), model.unk_id()) == (0, 1, 2)
    assert model.decode(model.encode("A PRICE of £7 é")) == "a price of £7 é"
    assert model.vocab_size() <= texts.PIECES
