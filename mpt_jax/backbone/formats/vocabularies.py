"""The SentencePiece vocabulary of a backbone, and how many sentinels it lacks.

T5's vocabulary is its pieces and 100 sentinels, `<extra_id_99>` first and `<extra_id_0>` last.
Google's file (`cc_all.32000.100extra`) and mT5's have them among the pieces; Hugging Face's
`spiece.model` of T5 has not, its tokenizer adds them, at the same ids as SeqIO does.
"""

import dataclasses
import os

from mpt_jax import files
from mpt_jax.backbone.config import T5Config
from mpt_jax.backbone.formats import added_tokens
from mpt_jax.errors import UserError
from mpt_jax.vocabulary import SENTINEL, SentencePiece, end_id

FILE = "spiece.model"
SETTINGS = "tokenizer_config.json"  # where Hugging Face notes the number of sentinels
SENTINELS = 100  # that T5 has, where it is not noted


def extra_ids_of(file: str, rows: int | None = None) -> int:
    """How many sentinels a SentencePiece file lacks, which SeqIO and `mpt_jax.vocabulary` add.

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


def with_end(config: T5Config, file: str) -> T5Config:
    """The configuration with the end token of a backbone's vocabulary.

    Raises:
        UserError: it is not a SentencePiece file that fits the backbone, or lacks tokens of it.
    """
    vocabulary = SentencePiece(file, extra_ids_of(file, config.vocab_size))
    added_tokens.check(os.path.dirname(file), vocabulary)
    return dataclasses.replace(config, eos_id=end_id(vocabulary, config.eos_id))


def _noted(file: str) -> int:
    settings = os.path.join(os.path.dirname(file), SETTINGS)
    noted = files.read_json(settings) if os.path.isfile(settings) else {}
    extra_ids = noted.get("extra_ids", SENTINELS)
    if not isinstance(extra_ids, int) or not 0 <= extra_ids <= 10_000:
        raise UserError(
            f"{settings} states extra_ids = {extra_ids!r}: it is a number of sentinels."
        )
    return extra_ids
