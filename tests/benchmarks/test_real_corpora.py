import json

import pytest
from real import corpora

from mpt_jax.errors import UserError


def add(folder, name, split, **row):
    with (folder / name / f"{split}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def test_rows_that_a_target_is_evaluated_on_are_left_out_of_the_sources(real_folder, tmp_path):
    shared = {"sentence": "Neither FUNNY nor sad nor long", "label": "negative"}
    add(real_folder, "sst5", "test", **shared)
    add(real_folder, "mr", "train", **{**shared, "sentence": "Neither funny nor sad nor long!"})
    add(real_folder, "sst2", "train", **{**shared, "sentence": "neither funny nor sad, nor long"})
    pair = {"sentence1": "One dog barks", "sentence2": "A dog is barking"}
    swapped = {"sentence1": pair["sentence2"], "sentence2": pair["sentence1"]}
    add(real_folder, "sick_r", "validation", **pair, score=4.5)
    add(real_folder, "sick_e", "train", **swapped, label="entailment")
    half = {**pair, "sentence2": "Two cats are barking"}  # one of an evaluated pair: may stay
    add(real_folder, "sick_e", "train", **half, label="neutral")

    removed = corpora.copy(real_folder, tmp_path / "copy")
    assert {name: n for name, n in removed.items() if n} == {"sst2": 1, "mr": 1, "sick_e": 1}
    kept = corpora.read_rows(tmp_path / "copy" / "sick_e" / "train.jsonl")
    assert kept[-1]["sentence1"] == "one dog barks"
    assert corpora.read_rows(tmp_path / "copy" / "sst5" / "test.jsonl")[-1] == {
        "sentence": "neither funny nor sad nor long",
        "label": "negative",
    }
    assert not (tmp_path / "copy" / "sst2" / "test.jsonl").exists()

    texts, count = corpora.training_texts(tmp_path / "copy")
    found = texts["sick_e"]
    assert count == 1 and not any("one dog barks" in text for text in found)
    assert "two cats are barking" in found


def test_a_source_validates_on_nothing_that_is_trained_on_or_tested(real_folder, tmp_path):
    seen = {"sentence": "This one is trained on by a target.", "label": "negative"}
    add(real_folder, "sst5", "train", **seen)
    add(real_folder, "mr", "validation", **seen)
    tested = {"sentence": "And this one is in the test of one.", "label": "negative"}
    add(real_folder, "sst5", "test", **tested)
    add(real_folder, "mr", "validation", **tested)
    shared = {"sentence": "This is only validated on, by both.", "label": "negative"}
    add(real_folder, "sst5", "validation", **shared)
    add(real_folder, "sst2", "validation", **shared)
    removed = corpora.copy(real_folder, tmp_path / "copy")
    assert {name: n for name, n in removed.items() if n} == {"mr's validation": 2}


def test_a_corpus_without_a_test_file_is_split_by_its_inputs(real_folder, tmp_path):
    for i in range(300):
        meaning = f"name[place {i // 3}]"
        add(real_folder, "e2e", "train", meaning_representation=meaning, reference=f"text {i}")
    corpora.copy(real_folder, tmp_path / "copy")
    parts = {
        split: [
            row["meaning_representation"]
            for row in corpora.read_rows(tmp_path / "copy" / "e2e" / f"{split}.jsonl")
        ]
        for split in ("train", "validation", "test")
    }
    assert sum(map(len, parts.values())) == 300 + 2 * 24  # a test file is not read
    assert not set(parts["train"]) & {*parts["validation"], *parts["test"]}
    assert not set(parts["validation"]) & set(parts["test"])
    assert 5 < len(set(parts["validation"])) < 30 < len(set(parts["train"]))


def test_texts_are_of_train_alone_and_each_is_there_once(real_folder, tmp_path):
    add(real_folder, "sst5", "train", sentence="Sentence 0 of mr train", label="neutral")
    corpora.copy(real_folder, tmp_path / "copy")
    texts, removed = corpora.training_texts(tmp_path / "copy")
    found = [text for of_one in texts.values() for text in of_one]
    assert removed == 0 and len(set(found)) == len(found)
    known = [text for name in texts if name not in ("mpqa", "e2e") for text in texts[name]]
    assert all("train" in text and "validation" not in text for text in known)
    assert any("sentence1 3 of mrpc" in text and "sentence2 3 of mrpc" in text for text in known)
    assert any(text.startswith("reference") for text in texts["e2e"])


def test_missing_files_are_named(real_folder):
    (real_folder / "trec" / "train.jsonl").unlink()
    with pytest.raises(UserError, match=r"lacks 1 of \d+ files, the first is .*trec/train.jsonl"):
        corpora.check(real_folder)
