"""How many texts are cut is told once, of the rows that are read to check the labels anyway."""

import functools

import pytest
import seqio
import tensorflow as tf

from mpt_jax.engine.data import pipeline
from mpt_jax.tasks import cut_rows, spelling
from mpt_jax.tasks.listing.facts import read_split

BYTES = seqio.ByteVocabulary()
LIMITS = {"inputs": 6, "targets": 3}
TEXTS = ["a" * (i % 9) for i in range(spelling.SAMPLE + 50)]  # 6 bytes and more are cut


@pytest.fixture(name="task", params=[True, False])
def _task(monkeypatch, request):
    """A task of `TEXTS`; of texts that end, and of texts that do not."""
    for registry in (seqio.TaskRegistry, seqio.MixtureRegistry):
        monkeypatch.setattr(registry, "_REGISTRY", {})

    def dataset(split, shuffle_files, seed=None):
        return tf.data.Dataset.from_tensor_slices({"inputs": TEXTS, "targets": ["a"] * len(TEXTS)})

    steps = [seqio.preprocessors.append_eos_after_trim]
    return seqio.TaskRegistry.add(
        "toy",
        source=seqio.FunctionDataSource(dataset, ["train"], {"train": len(TEXTS)}),
        preprocessors=[seqio.preprocessors.tokenize, *steps],
        output_features=dict.fromkeys(LIMITS, seqio.Feature(BYTES, add_eos=request.param)),
    )


def test_they_are_told_from_those_that_just_fit(task, capsys, monkeypatch):
    uncut = read_split(task, "train", 0).lengths["inputs"][: spelling.SAMPLE]
    expected = int((uncut > LIMITS["inputs"]).sum())
    assert 0 < expected < (uncut >= LIMITS["inputs"]).sum()
    samples = []
    sample = spelling.sample
    monkeypatch.setattr(
        spelling, "sample", lambda *a, **k: samples.append(sample(*a, **k)) or samples[-1]
    )
    pipeline.check_vocabularies(
        pipeline.DatasetConfig("toy", LIMITS, "train", 2, True, 0), BYTES, BYTES
    )
    assert capsys.readouterr().err == (
        f"t5x: note: {expected} of the first 100 inputs in 'train' of task 'toy' are longer than "
        "the 6 tokens of TASK_FEATURE_LENGTHS['inputs'], and are cut.\n"
    )
    assert len(samples) == 1  # the rows are read once


def test_without_the_text_it_is_not_known(task):
    (tokenize, *steps) = task.preprocessors
    seqio.TaskRegistry.remove("toy")
    silent = seqio.TaskRegistry.add(
        "toy",
        source=task.source,
        preprocessors=[functools.partial(tokenize, copy_pretokenized=False), *steps],
        output_features=task.output_features,
    )
    rows = spelling.sample(silent, "train", LIMITS)
    assert cut_rows.count(silent, rows, "inputs", LIMITS["inputs"]) == 0
