"""The vocabulary of a backbone: SentencePiece and the sentinels it lacks, or bytes.

T5's vocabulary is its pieces and 100 sentinels, `<extra_id_99>` first and `<extra_id_0>` last.
Google's file (`cc_all.32000.100extra`) and mT5's have them among the pieces; Hugging Face's
`spiece.model` of T5 has not, its tokenizer adds them, at the same ids as SeqIO does. ByT5 has no
file: its tokenizer_config.json says so, or SPIECE_MODEL = 'bytes'.
"""

import dataclasses
import json
import os
import shutil
from typing import TYPE_CHECKING

from etils import epath

from mpt_jax import byte_vocabulary, files
from mpt_jax.backbone.config import T5Config
from mpt_jax.backbone.formats import added_tokens, families
from mpt_jax.byte_vocabulary import Bytes
from mpt_jax.errors import UserError
from mpt_jax.vocabulary import SENTINEL, SentencePiece, end_id

if TYPE_CHECKING:
    import seqio

FILE = "spiece.model"
BYTES = families.BYTES  # what SPIECE_MODEL is called where there is no such file
SETTINGS = families.SETTINGS  # where Hugging Face notes the number of sentinels
SENTINELS = 100  # that T5 has, where it is not noted

_TOKENIZER = "tokenizer.json"  # what transformers 5 writes instead of a spiece.model


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Where a vocabulary is.

    Attributes:
        file: a SentencePiece model, on a disk or in a bucket (gs://); None: bytes.
        extra_ids: sentinels that it lacks, which SeqIO and `mpt_jax.vocabulary` add.
    """

    file: str | None
    extra_ids: int

    def tokenizer(self) -> SentencePiece | Bytes:
        """It, with no need of TensorFlow; not for SeqIO tasks."""
        if self.file is None:
            return Bytes(self.extra_ids)
        return SentencePiece(self.file, self.extra_ids)

    def of_seqio(self) -> "seqio.Vocabulary":
        """It, for SeqIO tasks."""
        import seqio

        if self.file is None:
            return seqio.ByteVocabulary(self.extra_ids)
        return seqio.SentencePieceVocabulary(self.file, self.extra_ids)


def find(folder: str | None, rows: int | None, spiece_model: str | None = None) -> Vocabulary:
    """The vocabulary in a backbone's folder, or another in its place.

    Args:
        folder: on a disk or in a bucket; None only with a `spiece_model`.
        rows: of the embedding, V; None where there is no backbone to compare with.
        spiece_model: SPIECE_MODEL, the file to take, or "bytes".

    Raises:
        UserError: there is none, one that does not fit the embedding, or not all of the tokens
            that the backbone was trained with.
    """
    if spiece_model == BYTES or (
        not spiece_model and families.kind_of_vocabulary(folder) == families.BYTES
    ):
        found = Vocabulary(None, _extra_ids_of_bytes(folder, rows))
    else:
        file = spiece_model or os.path.join(folder, FILE)
        if not epath.Path(file).is_file():
            raise _missing(file)
        found = Vocabulary(file, extra_ids_of(file, rows))
    tokenizer = found.tokenizer()
    folders = {folder, found.file and os.path.dirname(found.file)} - {None}
    for place in sorted(folders):
        added_tokens.check(place, tokenizer)
    return found


def is_there(folder: str) -> bool:
    """Whether a folder on a disk holds a vocabulary, or says that it needs none.

    Raises:
        UserError: it says that it has one that is not read.
    """
    bytes_alone = families.kind_of_vocabulary(folder) == families.BYTES
    return bytes_alone or os.path.isfile(os.path.join(folder, FILE))


def copy(folder: str, to: str) -> None:
    """Copies a folder's vocabulary, and what its tokenizer files say of it, into another."""
    for name in (FILE, SETTINGS):
        if os.path.isfile(file := os.path.join(folder, name)):
            shutil.copyfile(file, os.path.join(to, name))
    settings = os.path.join(to, SETTINGS)
    if families.kind_of_vocabulary(folder) == BYTES and not os.path.exists(settings):
        with open(settings, "w", encoding="utf-8") as stream:
            stream.write(json.dumps(families.SETTINGS_OF_BYTES) + "\n")


def extra_ids_of(file: str, rows: int | None = None) -> int:
    """How many sentinels a SentencePiece file lacks.

    Args:
        file: the path, on a disk or in a bucket (gs://).
        rows: of the embedding, V; None where there is no backbone to compare with.

    Raises:
        UserError: it is not a SentencePiece file, or has more ids than the embedding has rows.
    """
    pieces = SentencePiece(file).pieces
    extra_ids = 0 if any(map(SENTINEL.fullmatch, pieces)) else _noted(file)
    ids = len(pieces) + extra_ids
    if rows is not None and ids > rows:
        raise UserError(
            f"{file} has {len(pieces)} pieces and, with {extra_ids} sentinels, {ids} ids, but the "
            f"backbone's embedding has {rows} rows: it belongs to another backbone, or has another "
            f'number of sentinels, which a {SETTINGS} next to it can state: {{"extra_ids": 100}}.'
        )
    return extra_ids


def with_end(config: T5Config, vocabulary: Vocabulary) -> T5Config:
    """The configuration with the end token of a backbone's vocabulary.

    Raises:
        UserError: the configuration states another one.
    """
    return dataclasses.replace(config, eos_id=end_id(vocabulary.tokenizer(), config.eos_id))


def _extra_ids_of_bytes(folder: str | None, rows: int | None) -> int:
    """Sentinels after the bytes: ByT5's, or as many as the embedding has rows for."""
    if rows is None:
        return byte_vocabulary.SENTINELS
    if rows < byte_vocabulary.PLAIN:
        raise UserError(
            f"{folder} has an embedding of {rows} rows, and a vocabulary of bytes has "
            f"{byte_vocabulary.PLAIN} ids: it is of another backbone."
        )
    return min(byte_vocabulary.SENTINELS, rows - byte_vocabulary.PLAIN)


def _noted(file: str) -> int:
    settings = os.path.join(os.path.dirname(file), SETTINGS)
    noted = files.read_json(settings) if os.path.isfile(settings) else {}
    extra_ids = noted.get("extra_ids", SENTINELS)
    if not isinstance(extra_ids, int) or not 0 <= extra_ids <= 10_000:
        raise UserError(
            f"{settings} states extra_ids = {extra_ids!r}: it is a number of sentinels."
        )
    return extra_ids


def _missing(file: str) -> UserError:
    folder, name = os.path.split(file)
    instead = ""
    if name == FILE and epath.Path(folder, _TOKENIZER).is_file():
        instead = (
            f" The {_TOKENIZER} there, all that transformers 5 writes, is not read: copy {name} "
            "into the folder, from the model on the Hugging Face Hub that it was made from "
            "(google-t5/t5-base, google/mt5-base, ...)."
        )
    remedy = "Or name" if instead else "Name"
    return UserError(
        f"there is no {file}.{instead} {remedy} the vocabulary of the backbone, "
        "--gin.SPIECE_MODEL=FILE; that of T5, of all sizes and versions, is "
        "gs://t5-data/vocabs/cc_all.32000.100extra/sentencepiece.model; a ByT5 has no file: "
        f"--gin.SPIECE_MODEL={BYTES}."
    )
