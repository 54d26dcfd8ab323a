"""Writes seqio_cache/: a task of eight rows, as SeqIO's own tool leaves it.

Run once, in a separate environment, since the tool needs Apache Beam:

    python -m venv beam
    beam/bin/pip install seqio tensorflow-datasets apache-beam crcmod
    beam/bin/python tests/golden/make_seqio_cache.py --tasks=cached --min_shards=3 \
        --output_cache_dir=tests/golden/seqio_cache
"""

import functools

import seqio
import tensorflow as tf
from seqio.scripts import cache_tasks_main

BYTES = seqio.Feature(seqio.ByteVocabulary())


def _rows(split, shuffle_files=False, seed=None):
    texts = [f"cached {i:02}" for i in range(8)]
    return tf.data.Dataset.from_tensor_slices({"inputs": texts, "targets": texts})


seqio.TaskRegistry.add(
    "cached",
    source=seqio.FunctionDataSource(_rows, ["train"], {"train": 8}),
    preprocessors=[
        functools.partial(seqio.preprocessors.tokenize, copy_pretokenized=True),
        seqio.CacheDatasetPlaceholder(),
        seqio.preprocessors.append_eos_after_trim,
    ],
    output_features={"inputs": BYTES, "targets": BYTES},
)

if __name__ == "__main__":
    cache_tasks_main.console_entry_point()
