"""ByT5's vocabulary: bytes of UTF-8 and no file (Xue et al. 2022); without TensorFlow.

Ids and texts are those of `seqio.ByteVocabulary`, which tasks need.
"""

import re
from collections.abc import Iterable
from typing import Any

NAME = "bytes"  # SPIECE_MODEL, where a folder does not say that it has this vocabulary
SENTINEL = re.compile(r"▁?<extra_id_\d+>")
SPECIAL = ("<pad>", "</s>", "<unk>")  # ids 0, 1 and 2; byte b has id b + 3
SENTINELS = 125  # that ByT5 has after its bytes, so that its embedding has 384 rows
PLAIN = len(SPECIAL) + 256  # ids without sentinels


class Bytes:
    """Text to ids and back.

    Args:
        extra_ids: sentinels after the bytes, which no text reaches.

    Attributes:
        vocab_size: number of ids, sentinels included.
        extra_ids: as given.
        pad_id, eos_id, unk_id, bos_id: special ids; there is no id that begins a text: -1.
    """

    pad_id, eos_id, unk_id, bos_id = 0, 1, 2, -1

    def __init__(self, extra_ids: int = SENTINELS):
        self.extra_ids = extra_ids
        self.vocab_size = PLAIN + extra_ids

    def has(self, token: str, number: int | None) -> bool:
        """Whether a token of a tokenizer's files is one of these, with that id where it has one.

        Transformers counts the sentinels upwards, T5X downwards; no text reaches them in either.
        """
        if SENTINEL.fullmatch(token):
            return number is None or PLAIN <= number < self.vocab_size
        return token in SPECIAL and number in (None, SPECIAL.index(token))

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without an end token."""
        return [byte + len(SPECIAL) for byte in text.encode("utf-8")]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids` up to their first end token; what is not of UTF-8 is left out."""
        ids = list(ids)
        end = ids.index(self.eos_id) if self.eos_id in ids else len(ids)
        found = bytes(i - len(SPECIAL) for i in ids[:end] if len(SPECIAL) <= i < PLAIN)
        return found.decode("utf-8", errors="ignore")


def is_bytes(vocabulary: Any) -> bool:
    """Whether a vocabulary is this one or SeqIO's, which need not be imported."""
    return any(kind.__name__ in ("Bytes", "ByteVocabulary") for kind in type(vocabulary).__mro__)
