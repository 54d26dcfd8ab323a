"""What a backbone's folder says of itself: its configuration, vocabulary and fingerprint."""

import dataclasses
import os
import pathlib
from typing import TYPE_CHECKING, Any

import jax

from mpt_jax import vocabulary
from mpt_jax.backbone import network, store
from mpt_jax.backbone.config import T5Config
from mpt_jax.errors import UserError

if TYPE_CHECKING:
    import seqio

VOCABULARY = "spiece.model"


def config_of(path: str, **choices: Any) -> T5Config:
    """The sizes of the backbone at `path`.

    Args:
        path: INITIAL_CHECKPOINT_PATH.
        **choices: fields of `T5Config` that are no sizes: dtype, dropout_rate, remat, scan_layers.

    Raises:
        UserError: no backbone there.
    """
    file = pathlib.Path(path) / store.CONFIG
    if not file.is_file():
        raise UserError(f"{path!r} is no backbone folder: it has no {store.CONFIG}.")
    return dataclasses.replace(T5Config.from_json(file.read_text(encoding="utf-8")), **choices)


def vocabulary_of(path: str) -> "seqio.SentencePieceVocabulary":
    """The vocabulary that lies beside the weights, with T5's sentinels where it lacks them.

    Raises:
        UserError: there is none.
    """
    import seqio

    return seqio.SentencePieceVocabulary(*_sentencepiece(path))


def tokenizer_of(path: str) -> vocabulary.SentencePiece:
    """The same vocabulary, with no need of TensorFlow; not for SeqIO tasks.

    Raises:
        UserError: as `vocabulary_of`; the file is no SentencePiece model.
    """
    return vocabulary.SentencePiece(*_sentencepiece(path))


def _sentencepiece(path: str) -> tuple[str, int]:
    """The vocabulary's file, and how many sentinels have to be added to it."""
    file = os.path.join(path, VOCABULARY)
    if not os.path.isfile(file):
        raise UserError(f"{path!r} has no {VOCABULARY}: copy that of the backbone there.")
    return file, 32 if vocabulary.SentencePiece(file).vocab_size == 960 else 0


def fingerprint_of(path: str) -> str:
    """`store.fingerprint` of the backbone at `path`, as prompt files carry it."""
    config = config_of(path)
    module = network.Transformer(config)
    tokens = jax.ShapeDtypeStruct((1, 1), "int32")
    shapes = jax.eval_shape(module.init, jax.random.key(0), tokens, tokens)["params"]
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    layout = jax.tree.map(lambda _: device, shapes)
    return store.fingerprint(store.load(path, shapes, layout))
