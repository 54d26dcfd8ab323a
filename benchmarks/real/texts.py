"""What the backbone of `real_data.py` is pretrained with: a vocabulary, and corrupted spans."""

import pathlib
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence

from real import corpora

from mpt_jax.tasks.learn_vocabulary import learn_vocabulary
from mpt_jax.tasks.mini.pretrain import corrupted

PIECES = 8000
ROUNDS = 4  # times that each text is hidden in, with other neighbours and other spans each time
WORDS = 44  # of a passage; a fifth of them hidden: about 52 ids of input and 18 of target


def vocabulary(texts: Mapping[str, Sequence[str]]) -> bytes:
    """A serialised SentencePiece model: unigram, lower-casing, pad 0, eos 1, unk 2, no sentinels.

    It has `PIECES` pieces, or fewer where the texts have not as many.

    Args:
      texts: corpus -> its texts.
    """
    return learn_vocabulary(
        (text for of_one in texts.values() for text in of_one),
        PIECES,
        hard_vocab_limit=False,
        character_coverage=1.0,  # e2e's references have prices in £
    )


def write_corruption(texts: Mapping[str, Sequence[str]], path: pathlib.Path) -> None:
    """Write rows of span corruption, "inputs" and "targets", of all passages in `ROUNDS` orders.

    Args:
      texts: corpus -> its texts.
      path: the JSONL file.
    """
    corpora.write_rows(_corruption_rows(texts), path)


def _corruption_rows(texts: Mapping[str, Sequence[str]]) -> Iterator[corpora.Row]:
    rng = random.Random("corruption")
    for _ in range(ROUNDS):
        for of_one in texts.values():
            for passage in passages(rng.sample(of_one, len(of_one))):
                row = corrupted(rng, passage)
                yield {"inputs": row.inputs, "targets": row.targets}


def passages(texts: Iterable[str]) -> Iterator[str]:
    """The texts, one after another, cut after every `WORDS` words; the last passage is the rest."""
    words: list[str] = []
    for text in texts:
        words += text.split()
        while len(words) >= WORDS:
            yield " ".join(words[:WORDS])
            words = words[WORDS:]
    if words:
        yield " ".join(words)
