"""Backbones whose vocabulary has its special pieces at other ids than T5's."""

import dataclasses
import io
import json
import pathlib

import exchanged_ids
import jax
import numpy as np
import pytest
import sentencepiece
import seqio
import toy
import toy_prompts
import toy_run
from safetensors.numpy import load_file, save_file

import mpt_jax
from mpt_jax.backbone.formats import backbones
from mpt_jax.convert import convert_backbones
from mpt_jax.engine import initialize
from mpt_jax.engine.data import pipeline
from mpt_jax.errors import UserError
from mpt_jax.methods.prompt_tuning import PromptTuning
from mpt_jax.tasks import local
from mpt_jax.vocabulary import SentencePiece

END, UNKNOWN = 1, 2  # of the mini vocabulary, as of T5's
TEXTS = ["the judge bought it .", "what did é buy ?", "law", "<extra_id_0> law ."]


@pytest.fixture(name="folders", scope="module")
def _folders(tmp_path_factory):
    """The same backbone twice, the second with the ids of end and unknown exchanged."""
    place = tmp_path_factory.mktemp("ids")
    toy_prompts.write(place / "ours")
    weights = place / "ours" / "model.safetensors"
    tensors = load_file(weights)
    tensors[exchanged_ids.LOGITS][:, END] *= 5.0  # so that answers do end
    save_file(tensors, weights)
    exchanged_ids.write(place / "ours", place / "theirs", END, UNKNOWN)
    return str(place / "ours"), str(place / "theirs")


@pytest.mark.parametrize("options", [{}, {"num_beams": 4}], ids=["greedy", "beams"])
def test_a_backbone_with_two_ids_exchanged_answers_as_before(options, folders):
    lengths = {"inputs": 12, "targets": 8}
    ours, theirs = (mpt_jax.load(path, lengths=lengths, **options) for path in folders)
    answers, expected = (loaded.predict_with_scores(TEXTS) for loaded in (theirs, ours))
    assert [answer.text for answer in answers] == [answer.text for answer in expected]
    assert min(len(ours.reader.vocabulary.encode(answer.text)) for answer in expected) < 6
    scores = ([answer.score for answer in found] for found in (answers, expected))
    np.testing.assert_allclose(*scores, rtol=1e-5)
    labels = [loaded.score(TEXTS, ["law", "the judge"]) for loaded in (ours, theirs)]
    np.testing.assert_allclose(*(found.log_likelihoods for found in labels), rtol=1e-5)


def test_and_learns_as_before(folders, tmp_path):
    rows = [{"text": text, "label": ("law", "the judge")[i % 2]} for i, text in enumerate(TEXTS)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    trained = [_trained(folder, tmp_path) for folder in folders]
    jax.tree.map(lambda *both: np.testing.assert_allclose(*both, atol=1e-5), *trained)


def _trained(folder, place):
    """The prompt after three steps on the rows in `place`."""
    vocabulary = backbones.vocabulary_of(folder)
    files = {"train": "rows.jsonl", "validation": "rows.jsonl"}
    task = local.Task("ids", files, "{text}", "{label}", ["accuracy"], folder=str(place))
    cfg = pipeline.DatasetConfig("ids", {"inputs": 9, "targets": 6}, "train", 4, False, 0)
    local.register([task], vocabulary)
    model = toy.model(PromptTuning(prompt_length=3), ("ids",))
    model = dataclasses.replace(
        model,
        config=backbones.config_of(folder),
        input_vocabulary=vocabulary,
        output_vocabulary=vocabulary,
    )
    read = {name: leaf.whole() for name, leaf in backbones.open_weights(folder).tensors.items()}
    params = {}
    for name, leaf in read.items():
        *path, last = name.split("/")
        place = params
        for part in path:
            place = place.setdefault(part, {})
        place[last] = leaf
    run = toy_run.Run(model, initialize.start(model, params, jax.random.key(0)))
    batches = pipeline.train_batches(cfg, model.FEATURE_CONVERTER_CLS, shard=seqio.ShardInfo(0, 1))
    for _ in range(3):
        run.step(next(batches))
    return run.trainable


def test_converted_it_states_its_end_token(folders, tmp_path):
    for number, (folder, end) in enumerate(zip(folders, (END, UNKNOWN), strict=True)):
        theirs = str(tmp_path / f"hf{number}")
        convert_backbones.convert(folder, theirs, "huggingface")
        stated = json.loads((pathlib.Path(theirs) / "config.json").read_text())
        names = ("eos_token_id", "pad_token_id", "decoder_start_token_id")
        assert [stated[name] for name in names] == [end, 0, 0]
        assert backbones.config_of(theirs).eos_id == end
        convert_backbones.convert(theirs, str(tmp_path / f"back{number}"), "mpt_jax")
        assert backbones.config_of(str(tmp_path / f"back{number}")).eos_id == end


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"eos_token_id": 2}, "ends a text with id 1, but the backbone's configuration states 2"),
        ({"pad_token_id": 3}, "pad_token_id is 3; only backbones with 0 there"),
        ({"decoder_start_token_id": 250}, "decoder_start_token_id is 250; only"),
        ({"eos_token_id": [1, 2]}, r"eos_id must be a positive integer, got \[1, 2\]"),
    ],
)
def test_a_configuration_with_other_ids_is_refused(stated, message, folders, tmp_path):
    convert_backbones.convert(folders[0], str(tmp_path / "hf"), "huggingface")
    config = tmp_path / "hf" / "config.json"
    values = {**json.loads(config.read_text()), **stated}
    del values["checksum"]  # as somebody who changes it must
    config.write_text(json.dumps(values))
    with pytest.raises(UserError, match=message):
        mpt_jax.load(str(tmp_path / "hf"), lengths={"inputs": 12, "targets": 8})


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ({}, "has no padding and another piece at id 0"),  # unk 0, bos 1, eos 2
        ({"pad_id": 3}, "has its padding at id 3 and another piece at id 0"),
        ({"pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1}, "has no end token"),
        ({"pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3}, None),
    ],
)
def test_a_vocabulary_that_cannot_be_used_is_refused(ids, message, tmp_path):
    content = io.BytesIO()
    texts = iter(["the judge bought a law", "what did the judge buy"] * 5)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=texts, model_writer=content, vocab_size=19, minloglevel=2, **ids
    )
    file = tmp_path / "spiece.model"
    file.write_bytes(content.getvalue())
    theirs = seqio.SentencePieceVocabulary(str(file))
    uses = (
        lambda: SentencePiece(str(file)).eos_id,
        lambda: backbones.vocabulary_of(None, str(file)).eos_id,
        lambda: (
            dataclasses.replace(
                toy.model(), config=toy.CONFIG, input_vocabulary=theirs, output_vocabulary=theirs
            ).config.eos_id
        ),
    )
    for use in uses:
        if message is None:
            assert use() == ids["eos_id"]
        else:
            with pytest.raises(UserError, match=message):
                use()


@pytest.mark.parametrize("content", [None, b"no model", b"\x0a\xff\xff\xff\xff\x0f"])
def test_a_vocabulary_that_cannot_be_read_is_named(content, tmp_path):
    if content is not None:
        (tmp_path / "spiece.model").write_bytes(content)
    theirs = seqio.SentencePieceVocabulary(str(tmp_path / "spiece.model"))
    with pytest.raises(UserError, match="spiece.model cannot be read .*SPIECE_MODEL"):
        dataclasses.replace(toy.model(), input_vocabulary=theirs)
