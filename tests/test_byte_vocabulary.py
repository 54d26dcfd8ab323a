"""ByT5's vocabulary of bytes, held against SeqIO's and transformers'."""

import json
import shutil

import golden_folders as golden
import jax
import numpy as np
import pytest
import seqio
import toy
from hypothesis import given, settings
from hypothesis import strategies as st

import mpt_jax
from mpt_jax import cli, initializers, vocabulary
from mpt_jax.backbone.formats import backbones
from mpt_jax.byte_vocabulary import Bytes, is_bytes
from mpt_jax.engine.data import pipeline
from mpt_jax.errors import UserError

FOLDER = str(golden.FAMILIES / "byt5")
OURS, SEQIO = Bytes(), seqio.ByteVocabulary(extra_ids=125)


@given(text=st.text(max_size=20), ids=st.lists(st.integers(0, 400), max_size=12))
@settings(max_examples=100, deadline=None)
def test_ids_and_texts_are_seqio_s(text, ids):
    assert OURS.encode(text) == list(SEQIO.encode(text))
    assert OURS.decode(ids) == SEQIO.decode(ids)
    assert OURS.decode(OURS.encode(text)) == text


def test_facts_are_seqio_s():
    for name in ("vocab_size", "extra_ids", "pad_id", "eos_id", "unk_id"):
        assert getattr(OURS, name) == getattr(SEQIO, name), name


def test_one_digest_whatever_the_sentinels():
    digests = {vocabulary.digest(kind) for kind in (OURS, SEQIO, Bytes(0), seqio.ByteVocabulary())}
    assert len(digests) == 1 and len(digests.pop()) == 16
    assert not is_bytes(backbones.tokenizer_of("mini"))
    assert pipeline._same(SEQIO, seqio.ByteVocabulary())


@given(text=st.text(max_size=40), count=st.integers(1, 9))
@settings(max_examples=50, deadline=None)
def test_the_first_ids_are_those_of_the_whole(text, count):
    found, whole = vocabulary.first_ids(OURS, text, count), OURS.encode(text)
    assert found[:count] == whole[:count] and (len(found) >= count or found == whole)


@pytest.fixture(name="context")
def _context():
    table = np.arange(384.0, dtype=np.float32)[:, None]
    return initializers.Context(table, OURS, ("t",), {"t": ("ja", "ß")}, "")


def test_a_prompt_starts_at_bytes(context):
    key = jax.random.key(0)
    sampled = np.sort(initializers.sampled_vocabulary(key, 256, context).ravel())
    np.testing.assert_array_equal(sampled, np.arange(3, 259))
    labels = initializers.class_labels(key, 2, context).ravel()
    np.testing.assert_allclose(labels, [np.mean(OURS.encode(word)) for word in ("ja", "ß")])
    text = initializers.text(key, 5, context, "né").ravel()
    np.testing.assert_array_equal(text, np.resize(OURS.encode("né"), 5))


def test_a_prompt_longer_than_there_are_bytes_is_refused(context):
    message = "length 257 cannot be sampled from 256 pieces: .*or use initializers.text"
    with pytest.raises(UserError, match=message):
        initializers.sampled_vocabulary(jax.random.key(0), 257, context)


# ---------------------------------------------------------------- found in a folder


def folder_with(path, **files):
    """The golden folder with only these of its tokenizer's files, by name without .json."""
    shutil.copytree(FOLDER, path, ignore=shutil.ignore_patterns("*token*"))
    for name, values in files.items():
        (path / f"{name}.json").write_text(json.dumps(values))
    return str(path)


def test_a_folder_says_so_in_either_file(tmp_path):
    config = json.loads((golden.FAMILIES / "byt5" / "config.json").read_text())
    by_config = folder_with(tmp_path / "a", config={**config, "tokenizer_class": "ByT5Tokenizer"})
    by_tokenizer = folder_with(
        tmp_path / "b", tokenizer_config={"tokenizer_class": "ByT5Tokenizer"}
    )
    for folder in (FOLDER, by_config, by_tokenizer):
        assert backbones.vocabulary_of(folder) == SEQIO
        assert backbones.tokenizer_of(folder).vocab_size == 384


def test_a_folder_that_does_not_is_told_how_to_name_it(tmp_path):
    folder = folder_with(tmp_path / "folder")
    with pytest.raises(UserError, match=r"no .*spiece.model.* ByT5 has no file: .*MODEL=bytes\."):
        backbones.tokenizer_of(folder)
    assert backbones.vocabulary_of(folder, "bytes") == SEQIO
    with pytest.raises(UserError, match="60 rows, and a vocabulary of bytes has 259 ids"):
        backbones.tokenizer_of(str(golden.FAMILIES / "umt5"), "bytes")


def test_tokens_that_are_no_bytes_are_refused(tmp_path):
    folder = folder_with(
        tmp_path / "folder",
        tokenizer_config={"tokenizer_class": "ByT5Tokenizer"},
        added_tokens={"<extra_id_0>": 259, "<pad>": 0, "<sep>": 384},
    )
    with pytest.raises(UserError, match=r"tokens that ByT5's vocabulary lacks: '<sep>' \(384\)"):
        backbones.tokenizer_of(folder)


# ---------------------------------------------------------------- in use


def test_texts_are_answered_as_transformers_does():
    with np.load(f"{FOLDER}/outputs.npz") as stored:
        arrays = dict(stored)
    lengths = {"inputs": 30, "targets": 12}
    texts = arrays["inputs"].tolist()
    greedy = mpt_jax.load(FOLDER, lengths=lengths).predict(texts)
    assert greedy == arrays["plain/greedy/texts"].tolist()
    beams = mpt_jax.load(FOLDER, lengths=lengths, num_beams=4, length_penalty=0.6).predict(texts)
    assert beams == arrays["plain/beam_0.6/texts"].tolist()


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory):
    """A prompt tuned for two steps on the folder as Hugging Face has it."""
    folder = tmp_path_factory.mktemp("byt5") / "run"
    settings = {
        "INITIAL_CHECKPOINT_PATH": FOLDER,
        "MODEL_DIR": folder,
        "MIXTURE_OR_TASK_MODULE": "toy_tasks",
        "MIXTURE_OR_TASK_NAME": "toy_b",
        "TASK_FEATURE_LENGTHS": "{'inputs': 12, 'targets': 6}",
        "LENGTH_BUCKETS": None,
        "PROMPT_LENGTH": 4,
        "TRAIN_STEPS": 2,
        "WARMUP_STEPS": 1,
        "BATCH_SIZE": 8,
        "EVAL_BATCH_SIZE": 12,
    }
    files = ("gin/mpt_target.gin", "gin/methods/prompt_tuning.gin", "gin/models/checkpoint.gin")
    argv = [*(f"--gin_file={file}" for file in files)]
    argv += [f"--gin.{name}={value}" for name, value in settings.items()]
    assert cli.main(["train", *argv]) == 0
    return str(folder)


def test_a_prompt_is_trained_and_used(run, tmp_path):
    t5 = mpt_jax.load(FOLDER, run)
    assert t5.predict(["bt0 red"], task="toy_b") and t5.score(["bt0 red"], task="toy_b").best
    assert t5.info.vocabulary == vocabulary.digest(OURS)
    toy.save(tmp_path)  # as wide, with as many rows
    with pytest.raises(UserError, match="fingerprint"):
        mpt_jax.load(str(tmp_path), run, vocabulary="bytes")


def test_it_is_exported_without_a_vocabulary_s_file(run, tmp_path):
    out = tmp_path / "exported"
    assert cli.main(["export", run, str(out), f"--backbone={FOLDER}", "--platforms=cpu"]) == 0
    assert not (out / "spiece.model").exists()
    card = (out / "README.md").read_text()
    code = card.split("```python\n")[1].split("```")[0]
    assert "sentencepiece" not in card
    names = {}
    definitions = code[code.index("def encode") : code.index("texts, task")]
    exec(definitions, names)  # the whole runs in tests/test_export.py
    assert names["decode"](names["encode"]("né")) == "né"
