"""A SentencePiece vocabulary without TensorFlow, whose import takes longer than a first prediction.

Ids and texts are those of `seqio.SentencePieceVocabulary`, which tasks need: their text is
tokenised within tf.data.
"""

from collections.abc import Iterable

from etils import epath

from mpt_jax.errors import UserError


class SentencePiece:
    """Text to ids and back.

    Args:
        file: a SentencePiece model, on a disk or in a bucket (gs://).
        extra_ids: T5's sentinels `<extra_id_0>`, ... to add, the first with the highest id.

    Attributes:
        file: as given.
        vocab_size: number of ids, sentinels included.
        extra_ids: as given.
        pad_id, eos_id, unk_id: special ids.

    Raises:
        UserError: no such file, or no SentencePiece model.
    """

    pad_id = 0

    def __init__(self, file: str, extra_ids: int = 0):
        import sentencepiece
        from google.protobuf.message import DecodeError
        from sentencepiece import sentencepiece_model_pb2 as protos

        try:
            model = protos.ModelProto.FromString(epath.Path(file).read_bytes())
            for i in reversed(range(extra_ids)):
                kind = protos.ModelProto.SentencePiece.USER_DEFINED
                model.pieces.add(piece=f"▁<extra_id_{i}>", score=0.0, type=kind)
            pieces = sentencepiece.SentencePieceProcessor()
            pieces.LoadFromSerializedProto(model.SerializeToString())
        except (OSError, DecodeError, RuntimeError) as error:
            raise UserError(
                f"{file} cannot be read as a SentencePiece model ({error}): give the vocabulary "
                "file of the backbone, spiece.model."
            ) from error
        self._pieces, self.file = pieces, file
        self.extra_ids = extra_ids
        self.vocab_size: int = pieces.GetPieceSize()
        self.eos_id: int = pieces.eos_id()
        self.unk_id: int = pieces.unk_id()

    @property
    def pieces(self) -> list[str]:
        """The pieces by id, sentinels included."""
        return [self._pieces.IdToPiece(i) for i in range(self.vocab_size)]

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without an end token."""
        return self._pieces.EncodeAsIds(text)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids` up to their first end token; ids beyond the vocabulary are unknown."""
        known = [i if i < self.vocab_size else self.unk_id for i in ids]
        end = known.index(self.eos_id) + 1 if self.eos_id in known else len(known)
        return self._pieces.DecodeIds(known[:end])
