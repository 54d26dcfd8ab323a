"""What the backbone of `real_data.py` is pretrained with, next to tasks.

All of training texts: a vocabulary; corrupted spans, as T5 has them; pairs of texts with the share
of words that they have in common, as BLEURT was pretrained (Sellam et al., 2020).
"""

import collections
import pathlib
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence

from real import corpora

from mpt_jax.tasks.learn_vocabulary import learn_vocabulary
from mpt_jax.tasks.mini.pretrain import corrupted

PIECES = 6000
ROUNDS = 4  # times that each text is hidden in, with other neighbours and other spans each time
PAIRS = 40_000
LONGEST = 16  # words of a text in a pair
STEPS = 5  # of a pair's score: 0 has no word in common, 5 all
WORDS = 40  # of a passage at most; a fifth of them are hidden


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

    In every other round each text is there twice in a row, so that what is hidden in one can be
    found in the other: to compare texts, a model must first learn to look words up.

    Args:
      texts: corpus -> its texts.
      path: the JSONL file.
    """
    corpora.write_rows(_corruption_rows(texts), path)


def write_overlap(texts: Mapping[str, Sequence[str]], path: pathlib.Path) -> None:
    """Write `PAIRS` rows "sentence1", "sentence2", "score": a text, and some of it in another.

    The score is `STEPS` times the share of the words of both that the other has too, rounded.

    Args:
      texts: corpus -> its texts.
      path: the JSONL file.
    """
    corpora.write_rows(_overlap_rows(texts), path)


def _corruption_rows(texts: Mapping[str, Sequence[str]]) -> Iterator[corpora.Row]:
    rng = random.Random("corruption")
    for number in range(ROUNDS):
        for of_one in texts.values():
            drawn = rng.sample(of_one, len(of_one))
            if number % 2:
                drawn = [f"{text} {text}" for text in drawn]
            for passage in passages(drawn):
                row = corrupted(rng, passage)
                yield {"inputs": row.inputs, "targets": row.targets}


def _overlap_rows(texts: Mapping[str, Sequence[str]]) -> Iterator[corpora.Row]:
    rng = random.Random("overlap")
    words = [text.split()[:LONGEST] for of_one in texts.values() for text in of_one]
    words = [each for each in words if len(each) > STEPS]
    for _ in range(PAIRS):
        one, other = rng.choice(words), rng.choice(words)
        kept = rng.random()
        two = [w if rng.random() < kept else rng.choice(other) for w in one]
        if rng.random() < 0.5:  # the order of the words does not count
            at = rng.randrange(len(two))
            two = two[at:] + two[:at]
        common = (collections.Counter(one) & collections.Counter(two)).total()
        pair = [" ".join(one), " ".join(two)]
        score = round(STEPS * common / len(one))
        yield {"sentence1": pair[0], "sentence2": pair[1], "score": score}


def passages(texts: Iterable[str]) -> Iterator[str]:
    """Of texts one after another, as many as have at most `WORDS` words; a longer one is cut."""
    words: list[str] = []
    for text in texts:
        added = text.split()
        if words and len(words) + len(added) > WORDS:
            yield " ".join(words)
            words = []
        words += added
        while len(words) > WORDS:
            yield " ".join(words[:WORDS])
            words = words[WORDS:]
    if words:
        yield " ".join(words)
