"""What a backbone's folder says of itself, whatever its format."""

import json
import shutil

import golden_folders as golden
import pytest
import t5_golden

from mpt_jax import assets
from mpt_jax.backbone import store
from mpt_jax.backbone.formats import backbones, vocabularies
from mpt_jax.configuration import config as gin_config
from mpt_jax.errors import UserError
from mpt_jax.tasks.mini.vocabulary import vocabulary

MINI = assets.path("mini")


def test_our_own_folder(tmp_path):
    params, config = golden.tree_of("t5_v1_1"), t5_golden.CONFIGS["v1_1"]
    store.save(str(tmp_path), params, config)
    assert backbones.config_of(str(tmp_path)) == config
    assert backbones.identify(str(tmp_path)).fingerprint == store.identify(params).fingerprint
    (tmp_path / store.CONFIG).unlink()
    by_shapes = backbones.config_of(str(tmp_path), relpos_max_distance=10)
    assert by_shapes == config


def test_our_own_config_is_held_against_the_tensors(tmp_path):
    store.save(str(tmp_path), golden.tree_of("t5_v1_1"), t5_golden.CONFIGS["v1_1"])
    file = tmp_path / store.CONFIG
    file.write_text(json.dumps({**store.stated_in(str(tmp_path)), "num_heads": 4, "head_dim": 4}))
    with pytest.raises(UserError, match="num_heads = 4.*encoder/relpos_bias/rel_embedding"):
        backbones.config_of(str(tmp_path))


@pytest.mark.parametrize("path", ["nowhere", "."])
def test_not_a_backbone_folder(tmp_path, path):
    with pytest.raises(UserError, match="INITIAL_CHECKPOINT_PATH.*not a backbone folder"):
        backbones.open_weights(str(tmp_path / path))


def test_the_one_that_ships_has_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mini").mkdir()
    assert backbones.config_of("mini") == backbones.config_of(MINI)
    assert backbones.vocabulary_of("mini") == backbones.vocabulary_of(MINI)
    with pytest.raises(UserError, match=r"'\./mini' is not a backbone folder"):
        backbones.config_of("./mini")


def test_the_mini_vocabulary_has_the_sentinels_of_its_tasks():
    assert backbones.vocabulary_of(MINI) == vocabulary()
    assert backbones.vocabulary_of(MINI).extra_ids == 32


def test_sentinels_have_the_ids_that_transformers_gives_them():
    golden_ids = json.loads((golden.HUGGINGFACE / "sentinels.json").read_text())
    ours = backbones.vocabulary_of(MINI).encode(golden_ids["text"])
    assert [*ours, 1] == golden_ids["ids"]


def _sentencepiece_with_sentinels(file):
    """The mini pieces and 100 sentinels among them, as in Google's files."""
    from seqio import vocabularies as of_seqio

    content = of_seqio.SentencePieceVocabulary(f"{MINI}/spiece.model", extra_ids=100).sp_model
    file.write_bytes(content)


def test_how_many_sentinels_a_file_lacks(tmp_path):
    file = tmp_path / "spiece.model"
    shutil.copy(f"{MINI}/spiece.model", file)
    lacking = [vocabularies.extra_ids_of(str(file))]  # as of T5
    (tmp_path / vocabularies.SETTINGS).write_text('{"extra_ids": 40}')
    lacking.append(vocabularies.extra_ids_of(str(file)))
    _sentencepiece_with_sentinels(file)
    lacking.append(vocabularies.extra_ids_of(str(file)))
    assert lacking == [100, 40, 0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('{"extra_ids": 65}', r"960 pieces and, with 65 sentinels, 1025 ids.*1024 rows"),
        ('{"extra_ids": -1}', "extra_ids = -1"),
        ('{"extra_ids"', "not valid JSON"),
        ("[]", "no JSON object"),
    ],
)
def test_a_vocabulary_that_does_not_fit(tmp_path, settings, message):
    file = tmp_path / "spiece.model"
    shutil.copy(f"{MINI}/spiece.model", file)
    (tmp_path / vocabularies.SETTINGS).write_text(settings)
    with pytest.raises(UserError, match=message):
        backbones.vocabulary_of(MINI, spiece_model=str(file))


def test_a_vocabulary_that_is_none(tmp_path):
    file = tmp_path / "spiece.model"
    file.write_bytes(b"\x00garbage" * 9)
    with pytest.raises(UserError, match="cannot be read as a SentencePiece model"):
        backbones.vocabulary_of(MINI, spiece_model=str(file))
    with pytest.raises(UserError, match="there is no .*gone.model.*SPIECE_MODEL"):
        backbones.vocabulary_of(MINI, spiece_model="gone.model")
    with pytest.raises(UserError, match="INITIAL_CHECKPOINT_PATH"):
        backbones.vocabulary_of(None)


def test_a_folder_with_a_tokenizer_json_alone_says_where_the_vocabulary_comes_from(tmp_path):
    folder = tmp_path / "t5"
    shutil.copytree(MINI, folder)
    (folder / "spiece.model").unlink()
    (folder / "tokenizer.json").write_text('{"model": {"type": "Unigram"}}')
    for read in (backbones.vocabulary_of, backbones.tokenizer_of):
        with pytest.raises(UserError, match=r"no .*/t5/spiece.model. The tokenizer.json.* Hub"):
            read(str(folder))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"no .*/t5/spiece.model. Name the vocabulary"):
        backbones.vocabulary_of(str(folder))


def test_the_overlay_reads_sizes_and_vocabulary_from_the_folder():
    gin_config.parse(
        ["gin/mpt_infer.gin", "gin/models/checkpoint.gin"],
        [
            f"INITIAL_CHECKPOINT_PATH={MINI!r}",
            f"SPIECE_MODEL='{MINI}/spiece.model'",
            "backbones.config_of.dtype=bfloat16",
            "PROMPTS='given'",
            "INPUTS='given'",
        ],
    )
    import gin

    config = gin.query_parameter("models.EncoderDecoderModel.config").scoped_configurable_fn()
    assert config == backbones.config_of(MINI, dtype="bfloat16", dropout_rate=0.1)
    assert gin.query_parameter("VOCABULARY/macro.value").scoped_configurable_fn() == vocabulary()
