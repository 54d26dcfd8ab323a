"""Training data of every kind, a dozen rows each, and what a fresh process reads from them.

    python tests/support/data_kinds.py           # saves and restores every kind before every step
    python tests/support/data_kinds.py FOLDER    # restores what `save` wrote; {kind: [digests]}

`save` writes the positions in one process; the second command restores each of them in another,
whose pipelines are built anew and whose global seeds are others.
"""

import functools
import hashlib
import json
import pathlib
import random
import sys
import tempfile

import numpy as np
import seqio
import tensorflow as tf
import tensorflow_datasets as tfds

from mpt_jax.engine.data.feature_converter import TaskIdFeatureConverter
from mpt_jax.engine.data.pipeline import DataIterator, DatasetConfig, train_dataset
from mpt_jax.tasks import local, row_source
from mpt_jax.tasks.mini.vocabulary import vocabulary
from mpt_jax.tasks.mixtures import bind_tasks

ROWS, BATCH, PASSES = 8, 4, 4
STEPS = ROWS // BATCH * PASSES + 1
CACHE_DIR = pathlib.Path(__file__).parents[1] / "golden" / "seqio_cache"
BYTES = seqio.Feature(seqio.ByteVocabulary())
PIECES = seqio.Feature(vocabulary())
TOKENIZE = functools.partial(seqio.preprocessors.tokenize, copy_pretokenized=True)
CACHE = seqio.CacheDatasetPlaceholder()
EOS = seqio.preprocessors.append_eos_after_trim
LENGTHS = {"inputs": 12, "targets": 12}


def texts(name, rows=ROWS):
    return [f"{name} {i:02}" for i in range(rows)]


def as_row(line):
    return {"inputs": line, "targets": line}


def to_rows(dataset):
    return dataset.map(as_row, tf.data.AUTOTUNE)


def odd(dataset):
    return dataset.filter(
        lambda row: tf.strings.to_number(tf.strings.substr(row["inputs"], -1, 1)) % 2 == 1
    )


def twice(dataset):
    def copies(row):
        marked = [{**row, "targets": row["targets"] + mark} for mark in "xy"]
        return tf.data.Dataset.from_tensor_slices(
            {side: [one[side] for one in marked] for side in row}
        )

    return dataset.flat_map(copies)


@seqio.map_over_dataset(num_seeds=1)
def with_noise(row, seed):
    noise = tf.random.stateless_uniform([], seed, 0, 1000, tf.int32)
    return {**row, "targets": row["targets"] + tf.strings.as_string(noise)}


def function_source(name, rows=ROWS):
    def dataset_fn(split, shuffle_files=False):
        return tf.data.Dataset.from_tensor_slices(as_row(texts(name, rows)))

    return seqio.FunctionDataSource(dataset_fn, ["train"], {"train": rows})


def generator_source(name):
    def dataset_fn(split, shuffle_files=False):
        return tf.data.Dataset.from_generator(
            lambda: map(as_row, texts(name)), output_signature=as_row(tf.TensorSpec([], tf.string))
        )

    return seqio.FunctionDataSource(dataset_fn, ["train"])


def lines_source(folder):
    for part in range(3):
        (folder / f"{part}.txt").write_text("".join(f"{t}\n" for t in texts("abc")[part::3]))
    return seqio.TextLineDataSource(
        {"train": f"{folder}/*.txt"}, num_input_examples={"train": ROWS}
    )


def write_examples(path, rows):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in rows:
            writer.write(seqio.utils.dict_to_tfexample(row).SerializeToString())


def records_source(folder):
    for part in range(3):
        rows = [as_row(np.array(t)) for t in texts("rec")[part::3]]
        write_examples(folder / f"{part}.tfrecord", rows)
    return seqio.TFExampleDataSource(
        {"train": f"{folder}/*.tfrecord"},
        as_row(tf.io.FixedLenFeature([], tf.string)),
        num_input_examples={"train": ROWS},
    )


def tfds_source(folder):
    if not (folder / "stored").exists():
        tfds.disable_progress_bar()
        features = {side: tfds.features.Text() for side in LENGTHS}
        tfds.dataset_builders.store_as_tfds_dataset(
            "stored",
            "1.0.0",
            tfds.features.FeaturesDict(features),
            {"train": [(i, as_row(text)) for i, text in enumerate(texts("tfds"))]},
            data_dir=folder,
        )
    return seqio.TfdsDataSource("stored:1.0.0", str(folder), splits=["train"])


def add(name, source, steps=(), *, cache=True, feature=BYTES, after=()):
    seqio.TaskRegistry.remove(name) if name in seqio.TaskRegistry.names() else None
    seqio.TaskRegistry.add(
        name,
        source=source,
        preprocessors=[*steps, TOKENIZE, *([CACHE] if cache else []), *after, EOS],
        output_features={"inputs": feature, "targets": feature},
        shuffle_buffer_size=7,
    )
    return name


def add_local(folder):
    lines = [json.dumps(as_row(text)) for text in texts("loc")]
    (folder / "train.jsonl").write_text("\n".join(lines))
    splits = {"train": "train.jsonl", "validation": "train.jsonl"}
    task = local.Task("files", splits, "{inputs}", "{targets}", ["accuracy"], folder=str(folder))
    local.register([task], BYTES.vocabulary)
    return "files"


def add_cached():
    """A task of which the cache alone has rows: what SeqIO's own tool left of it."""

    def no_rows(split, shuffle_files=False):
        raise AssertionError("the source of a cached task is read")

    seqio.set_global_cache_dirs([str(CACHE_DIR)])
    return add("cached", seqio.FunctionDataSource(no_rows, ["train"]))


def several(**changes):
    names = [add(f"one_{rows}", function_source(f"one_{rows}", rows)) for rows in (3, 5, 8)]
    return bind_tasks(names, **changes)


def mixture():
    tasks = [
        (add("mix_a", function_source("mix_a")), 1),
        (add("mix_b", function_source("b"), cache=False), 3),
    ]
    if "a_mixture" in seqio.MixtureRegistry.names():
        seqio.MixtureRegistry.remove("a_mixture")
    seqio.MixtureRegistry.add("a_mixture", tasks)
    return "a_mixture"


STREAMED, CACHED = {"memory_rows": 5}, {"use_cached": True}
# kind -> (folder -> name(s) or mixture, settings)
KINDS = {
    "full": (lambda _: add("full", function_source("full"), feature=PIECES), {}),
    "full, no cache step": (lambda _: add("plain", function_source("plain"), cache=False), {}),
    "few-shot": (lambda _: bind_tasks(add("few", function_source("few", 30)), few_shot=ROWS), {}),
    "filter": (lambda _: add("odd", function_source("odd", 2 * ROWS), [odd]), {}),
    "filter, late": (lambda _: add("late", function_source("l", 2 * ROWS), [odd], cache=False), {}),
    "one to many": (lambda _: add("many", function_source("m", 4), [twice]), {}),
    "random": (lambda _: add("noise", function_source("n"), [with_noise]), {}),
    "random, late": (lambda _: add("noisy", function_source("n"), [with_noise], cache=False), {}),
    "generator": (lambda _: add("gen", generator_source("gen")), {}),
    "local": (add_local, {}),
    "lines": (lambda folder: add("lines", lines_source(folder), [to_rows]), {}),
    "records": (lambda folder: add("records", records_source(folder)), {}),
    "tfds": (lambda folder: add("tfds", tfds_source(folder)), {}),
    "cached": (lambda _: add_cached(), CACHED),
    "several": (lambda _: several(), {}),
    "sampled": (lambda _: several(min_tasks_per_batch=2, batch_size=BATCH, seed=3), {}),
    "mixture": (lambda _: mixture(), {}),
    "not shuffled": (lambda _: add("sorted", function_source("sorted")), {"shuffle": False}),
    "streamed function": (lambda _: add("large", function_source("large")), STREAMED),
    "streamed filter": (lambda _: add("large_odd", function_source("o"), [odd]), STREAMED),
    "streamed local": (add_local, STREAMED),
    "streamed lines": (lambda folder: add("lines", lines_source(folder), [to_rows]), STREAMED),
    "streamed records": (lambda folder: add("records", records_source(folder)), STREAMED),
    "streamed tfds": (lambda folder: add("tfds", tfds_source(folder)), STREAMED),
    "streamed cached": (lambda _: add_cached(), {**CACHED, **STREAMED}),
    "host 1 of 2": (lambda _: add("two", function_source("two")), {"host": 1}),
    "host 1 of 2, local": (add_local, {"host": 1}),
    "host 0 of 2, streamed": (
        lambda folder: add("lines", lines_source(folder), [to_rows]), {**STREAMED, "host": 0}
    ),
    "host 1 of 2, sampled": (
        lambda _: several(min_tasks_per_batch=2, batch_size=BATCH, seed=3), {"host": 1}
    ),
}  # fmt: skip


def build(kind, folder):
    """The pipeline of a kind, built anew; `folder` is for its files."""
    provider, settings = KINDS[kind]
    settings = {
        "shuffle": True,
        "use_cached": False,
        "memory_rows": 10_000,
        "host": None,
    } | settings
    row_source.MEMORY_ROWS = settings["memory_rows"]
    folder.mkdir(parents=True, exist_ok=True)
    cfg = DatasetConfig(
        provider(folder),
        LENGTHS,
        "train",
        BATCH,
        settings["shuffle"],
        0,
        use_cached=settings["use_cached"],
    )
    host = settings["host"]
    shard = seqio.ShardInfo(0, 1) if host is None else seqio.ShardInfo(host, 2)
    try:
        return train_dataset(cfg, TaskIdFeatureConverter, shard=shard)
    finally:
        row_source.MEMORY_ROWS = 10_000


def digest(batch):
    content = b"".join(name.encode() + batch[name].tobytes() for name in sorted(batch))
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def save(kind, folder):
    """Writes a position before each step, and returns the batches [STEPS + 3] of that run."""
    batches = DataIterator(build(kind, folder / kind), None)
    found = []
    for step in range(STEPS + 3):
        if step < STEPS:
            checkpoint = tf.train.Checkpoint(iterator=batches.tf_iterator)
            checkpoint.write(str(folder / kind / "positions" / str(step)))
        found.append(next(batches))
    return found


def resumed(kind, folder):
    """[STEPS] lists: the digests of the batches after each saved position, to the end."""
    found, dataset = [], build(kind, folder / kind)
    for step in range(STEPS):
        batches = DataIterator(dataset, None)
        position = tf.train.Checkpoint(iterator=batches.tf_iterator)
        position.read(str(folder / kind / "positions" / str(step))).assert_consumed()
        found.append([digest(next(batches)) for _ in range(step, STEPS + 3)])
    return found


def try_all(folder):
    """Every kind within this process; what was identical, and the size of a position."""
    for kind in KINDS:
        whole = [digest(batch) for batch in save(kind, folder)]
        differ = [i for i, found in enumerate(resumed(kind, folder)) if found != whole[i:]]
        files = (folder / kind / "positions").glob("*.data*")
        largest = max(path.stat().st_size for path in files)
        print(f"{kind}: differ at {differ or 'no step'}; {largest:,} bytes", flush=True)


if __name__ == "__main__":
    tf.random.set_seed(99)
    random.seed(99)
    if len(sys.argv) == 1:
        with tempfile.TemporaryDirectory() as empty:
            try_all(pathlib.Path(empty))
    else:
        root = pathlib.Path(sys.argv[1])
        saved = [kind for kind in KINDS if (root / kind).exists()]
        sys.stdout.write(json.dumps({kind: resumed(kind, root) for kind in saved}))
