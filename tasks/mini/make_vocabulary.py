"""How `mpt_jax/assets/mini/spiece.model`, the mini suite's vocabulary, is made.

    python -m mpt_jax.tasks.mini.make_vocabulary OUTPUT.model

The same command gives the same pieces; the committed file is what runs use.
"""

import pathlib
import sys
from collections.abc import Iterator

from mpt_jax.tasks.learn_vocabulary import learn_vocabulary
from mpt_jax.tasks.mini import lexicon, pretrain, suite
from mpt_jax.tasks.mini.vocabulary import PIECES

_ROWS = 40_000
_REPEATS = 300
_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,:;?!'\"()-_/@&%$+=*#~"


def texts() -> Iterator[str]:
    """Texts that hold every word of the world (and no sentinels)."""
    for row in pretrain.instruction_rows(_ROWS, "vocabulary"):
        yield from (row.inputs, row.targets)
    for name in suite.SUITE:
        for row in suite.split_rows(name, "validation"):
            yield from (row.inputs, row.targets)


def corpus() -> Iterator[str]:
    """What the pieces are learnt from: the texts, and each word often enough to stay whole."""
    words = set()
    for text in texts():
        words.update(text.split())
        yield text
    for word in sorted(words):
        yield from [word] * _REPEATS


def world_words() -> list[str]:
    """All words of the world, in order: each is one piece, whatever its frequency."""
    words = {word for text in texts() for word in text.split()} | set("0123456789")
    return sorted(words - set(lexicon.COMMON))


def train() -> bytes:
    """The serialised SentencePiece model: unigram, lower-casing, pad 0, eos 1, unk 2."""
    return learn_vocabulary(
        corpus(),
        PIECES,
        split_by_unicode_script=False,  # `premise:` is one piece
        required_chars=_CHARACTERS,
        user_defined_symbols=[f"▁{word}" for word in world_words()],
    )


if __name__ == "__main__":
    pathlib.Path(sys.argv[1]).write_bytes(train())
