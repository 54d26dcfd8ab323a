"""A SentencePiece vocabulary without TensorFlow, whose import takes longer than a first prediction.

Ids and texts are those of `seqio.SentencePieceVocabulary`, which tasks need: their text is
tokenised within tf.data. What is asked of any vocabulary is here too; ByT5's is `byte_vocabulary`.
"""

import functools
import hashlib
import math
from collections.abc import Iterable
from typing import Any

from etils import epath

from mpt_jax import files
from mpt_jax.byte_vocabulary import SENTINEL, is_bytes
from mpt_jax.errors import UserError

_SHORT = 4096  # characters; a text up to there is not worth cutting
_CHARACTERS = 16  # of a token, at most, in most texts
PAD_ID = 0  # what SeqIO fills batches with, and what T5's decoder is fed first


def end_id(vocabulary: Any, stated: int | None = None) -> int:
    """The id that ends a text, of a vocabulary that this package can use.

    Args:
        vocabulary: SeqIO's, a `SentencePiece` or `Bytes`.
        stated: what the backbone's configuration says of it; None: nothing.

    Raises:
        UserError: it cannot be read, padding has another id than 0, there is no end token, or
            another than stated.
    """
    pieces = _read(vocabulary)
    pad = pieces.pad_id() if pieces else vocabulary.pad_id  # SeqIO says 0 whatever the file says
    end = vocabulary.eos_id
    if pad != PAD_ID:
        raise UserError(
            f"{_name(vocabulary)} has {'no padding' if pad < 0 else f'its padding at id {pad}'} "
            "and another piece at id 0, which SeqIO pads with: such a piece would be taken for "
            "padding. Use a vocabulary learnt as T5's, spm_train --pad_id=0 --eos_id=1 --unk_id=2 "
            "--bos_id=-1, and a backbone trained with it."
        )
    if end is None or end <= 0:
        raise UserError(
            f"{_name(vocabulary)} has no end token, so that no answer could end: use one that was "
            "learnt with it (spm_train --eos_id=1)."
        )
    if stated not in (None, end):
        raise UserError(
            f"{_name(vocabulary)} ends a text with id {end}, but the backbone's configuration "
            f"states {stated} (eos_token_id, T5Config.eos_id): one of the two is of another "
            "backbone."
        )
    return end


def _read(vocabulary: Any) -> Any | None:
    """`_sentencepiece` of a vocabulary whose file SeqIO may not have read yet."""
    from google.protobuf.message import DecodeError

    try:
        return _sentencepiece(vocabulary)
    except (*files.storage_errors(), DecodeError, RuntimeError) as error:
        raise UserError(
            f"{_name(vocabulary)} cannot be read ({error}): name the SentencePiece model of the "
            "backbone, SPIECE_MODEL."
        ) from error


def digest(vocabulary: Any) -> str:
    """16 hex digits that tell which ids a text gets, sentinels left out, whatever file it was.

    They cover every piece, its score, and the normalisation of the text. "" for a vocabulary that
    is neither of SentencePiece nor of bytes.
    """
    if is_bytes(vocabulary):
        return hashlib.sha256(b"bytes").hexdigest()[:16]
    pieces = _sentencepiece(vocabulary)
    return _digest(pieces) if pieces else ""


@functools.lru_cache(maxsize=8)
def _digest(pieces: Any) -> str:
    from sentencepiece import sentencepiece_model_pb2 as protos

    model = protos.ModelProto.FromString(pieces.serialized_model_proto())
    found = hashlib.sha256(model.normalizer_spec.SerializeToString(deterministic=True))
    found.update(bytes([model.trainer_spec.model_type, model.trainer_spec.byte_fallback]))
    for piece in model.pieces:
        if not SENTINEL.fullmatch(piece.piece):
            found.update(piece.SerializeToString(deterministic=True))
    return found.hexdigest()[:16]


def _check_pieces(model: Any) -> None:
    """Raises a ValueError for what SentencePiece itself would only stumble over later."""
    for piece in model.pieces:
        if isinstance(piece.piece, bytes):  # what protobuf gives where it is not UTF-8
            raise ValueError(f"the piece {piece.piece!r} is not text")
        if not math.isfinite(piece.score):
            raise ValueError(f"the score of {piece.piece!r} is {piece.score}")


def check_whole(text: str, place: str) -> None:
    """Refuses a text with a part of a character, which no vocabulary takes (UserError)."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(f"{place} holds half a character (a lone \\ud8.. escape).") from error


def first_ids(vocabulary: Any, text: str, count: int) -> list[int]:
    """The ids of `text`, without an end token: at least the first `count`, or all there are.

    Of a long text a beginning is enough, as long as it ends where a word does: no piece of T5's
    vocabularies goes over a space, so that the ids before it are those of the whole text. A
    vocabulary that has such pieces, and one that is not of SentencePiece, takes the whole. Of bytes
    each character has one at least.
    """
    if is_bytes(vocabulary):
        return vocabulary.encode(text[:count])
    size = max(_SHORT, _CHARACTERS * count)
    while size < len(text) and _ends_pieces_at_spaces(vocabulary):
        end = text.find(" ", size)
        while end > 0 and text[end - 1].isspace():  # a run of spaces may be a piece
            end = text.find(" ", end + 1)
        if end < 0:
            break
        ids = vocabulary.encode(text[:end])
        if len(ids) >= count:
            return list(ids)
        size = 2 * end
    return list(vocabulary.encode(text))


def _ends_pieces_at_spaces(vocabulary: Any) -> bool:
    pieces = _sentencepiece(vocabulary)
    return pieces is not None and _are_words(pieces)


@functools.lru_cache(maxsize=8)
def _are_words(pieces: Any) -> bool:
    """Whether "▁", which stands for a space, begins a piece wherever it is in one."""
    return all("▁" not in pieces.IdToPiece(i)[1:] for i in range(pieces.GetPieceSize()))


def _sentencepiece(vocabulary: Any) -> Any | None:
    """SentencePiece's own object in a vocabulary; None where it is of another kind."""
    tokenizer = getattr(vocabulary, "tokenizer", None)
    return tokenizer if hasattr(tokenizer, "IdToPiece") else None


def _name(vocabulary: Any) -> str:
    file = getattr(vocabulary, "sentencepiece_model_file", getattr(vocabulary, "file", None))
    return f"the vocabulary {file or type(vocabulary).__name__}"


class SentencePiece:
    """Text to ids and back.

    Args:
        file: a SentencePiece model, on a disk or in a bucket (gs://).
        extra_ids: T5's sentinels `<extra_id_0>`, ... to add, the first with the highest id.

    Attributes:
        file: as given.
        vocab_size: number of ids, sentinels included.
        extra_ids: as given.
        pad_id, eos_id, unk_id, bos_id: special ids; -1 where there is no such piece.
        tokenizer: SentencePiece's own object.

    Raises:
        UserError: no such file, not SentencePiece, or a model without T5's special ids (`end_id`).
    """

    pad_id = PAD_ID

    def __init__(self, file: str, extra_ids: int = 0):
        import sentencepiece
        from google.protobuf.message import DecodeError
        from sentencepiece import sentencepiece_model_pb2 as protos

        try:
            model = protos.ModelProto.FromString(epath.Path(file).read_bytes())
            for i in reversed(range(extra_ids)):
                kind = protos.ModelProto.SentencePiece.USER_DEFINED
                model.pieces.add(piece=f"▁<extra_id_{i}>", score=0.0, type=kind)
            _check_pieces(model)
            pieces = sentencepiece.SentencePieceProcessor()
            pieces.LoadFromSerializedProto(model.SerializeToString())
        except (OSError, DecodeError, RuntimeError, ValueError) as error:
            raise UserError(
                f"{file} cannot be read as a SentencePiece model ({error}): give the vocabulary "
                "file of the backbone, spiece.model."
            ) from error
        self.tokenizer, self.file = pieces, file
        self.extra_ids = extra_ids
        self.vocab_size: int = pieces.GetPieceSize()
        self.eos_id: int = pieces.eos_id()
        self.unk_id: int = pieces.unk_id()
        self.bos_id: int = pieces.bos_id()
        end_id(self)

    @functools.cached_property
    def pieces(self) -> list[str]:
        """The pieces by id, sentinels included."""
        return [self.tokenizer.IdToPiece(i) for i in range(self.vocab_size)]

    def has(self, token: str, number: int | None) -> bool:
        """Whether a token of a tokenizer's files is a piece, with that id where it has one."""
        if number is None:
            return token in self._names
        return 0 <= number < self.vocab_size and self.pieces[number].removeprefix("▁") == token

    @functools.cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(piece.removeprefix("▁") for piece in self.pieces)

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without an end token."""
        return self.tokenizer.EncodeAsIds(text)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids` up to their first end token; ids beyond the vocabulary are unknown."""
        known = [i if i < self.vocab_size else self.unk_id for i in ids]
        end = known.index(self.eos_id) + 1 if self.eos_id in known else len(known)
        return self.tokenizer.DecodeIds(known[:end])
