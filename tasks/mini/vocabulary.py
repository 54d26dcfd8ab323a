"""The mini suite's SentencePiece vocabulary, which `make_vocabulary` learns of the mini world."""

import functools
from typing import TYPE_CHECKING

from mpt_jax import assets

if TYPE_CHECKING:
    import seqio

PIECES = 960
EXTRA_IDS = 32  # sentinels; 992 ids in all


@functools.cache
def vocabulary() -> "seqio.SentencePieceVocabulary":
    """The vocabulary of the mini tasks and backbone: pad 0, eos 1, unk 2, sentinels at the end."""
    import seqio

    return seqio.SentencePieceVocabulary(assets.path("mini/spiece.model"), extra_ids=EXTRA_IDS)
