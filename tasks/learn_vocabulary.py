"""Learns a SentencePiece vocabulary as T5's are: unigram, pad 0, eos 1, unk 2, no bos."""

import io
from collections.abc import Iterable
from typing import Any

import sentencepiece


def learn_vocabulary(texts: Iterable[str], pieces: int, **options: Any) -> bytes:
    """The serialised model; letters are folded to lower case, texts normalised as by NFKC.

    Args:
        texts: what it is learnt from.
        pieces: their number, the three special ones included.
        **options: others of SentencePiece's trainer.
    """
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        vocab_size=pieces,
        model_type="unigram",
        normalization_rule_name="nmt_nfkc_cf",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,  # the same model every time
        minloglevel=2,
        **options,
    )
    return model.getvalue()
