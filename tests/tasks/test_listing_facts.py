import functools

import pytest
import seqio
import tensorflow as tf

from mpt_jax.tasks.listing import facts as listing_facts

BYTES = seqio.Feature(seqio.ByteVocabulary(), add_eos=True)
TEXTS = {"inputs": ["one", "three", "thirteen"], "targets": ["yes", "no", "yes"]}


def task(rows, copy_pretokenized=True):
    def dataset(split, shuffle_files, seed=None):
        texts = {side: tf.constant(x[:rows], tf.string, [rows]) for side, x in TEXTS.items()}
        return tf.data.Dataset.from_tensor_slices(texts)

    tokenize = seqio.preprocessors.tokenize
    return seqio.Task(
        "toy",
        source=seqio.FunctionDataSource(dataset, ["train"], {"train": rows}),
        preprocessors=[
            functools.partial(tokenize, copy_pretokenized=copy_pretokenized),
            seqio.preprocessors.append_eos_after_trim,
        ],
        output_features={"inputs": BYTES, "targets": BYTES},
    )


@pytest.mark.parametrize("copy_pretokenized", [True, False])
def test_lengths_targets_and_examples(copy_pretokenized, monkeypatch):
    monkeypatch.setattr(listing_facts, "_BATCH", 2)
    facts = listing_facts.read_split(task(3, copy_pretokenized), "train", 2)
    assert facts.count == 3
    assert facts.lengths["inputs"].tolist() == [4, 6, 9]  # bytes and the end token
    assert facts.lengths["targets"].tolist() == [4, 3, 4]
    assert facts.targets == {"yes": 2, "no": 1}
    assert facts.examples == [
        {"inputs": "one", "targets": "yes"},
        {"inputs": "three", "targets": "no"},
    ]


def test_an_empty_split():
    facts = listing_facts.read_split(task(0), "train", 2)
    assert (facts.count, facts.examples, facts.lengths["inputs"].size) == (0, [], 0)
