"""How `mpt_jax/assets/mini/spiece.model`, the mini suite's vocabulary, is made.

    python -m mpt_jax.tasks.mini.make_vocabulary OUTPUT.model

The same command gives the same pieces; the committed file is what runs use.
"""

import io
import pathlib
import sys
from collections.abc import Iterator

import sentencepiece

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
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=corpus(),
        model_writer=model,
        vocab_size=PIECES,
        model_type="unigram",
        normalization_rule_name="nmt_nfkc_cf",
        split_by_unicode_script=False,  # `premise:` is one piece
        required_chars=_CHARACTERS,
        user_defined_symbols=[f"▁{word}" for word in world_words()],
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


if __name__ == "__main__":
    pathlib.Path(sys.argv[1]).write_bytes(train())
