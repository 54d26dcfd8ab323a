"""SeqIO tasks as users register them, over files that `stress.kinds.write_data` has written.

MIXTURE_OR_TASK_MODULE of the runs that use them; the folder comes in the environment, since SeqIO
registers tasks when the module is imported.
"""

import functools
import os

import seqio
import tensorflow as tf
from toy_tasks import likeness

from mpt_jax.tasks.info import TaskInfo, register_info
from mpt_jax.tasks.mini import vocabulary

FOLDER = "STRESS_DATA"
WORDS = ("true", "false")


def _columns(dataset):
    def split(line):
        text, label = tf.unstack(tf.strings.split(line, "\t"), num=2)
        return {"inputs": "text: " + text, "targets": label}

    return dataset.map(split)


def _without_every_fourth(dataset):
    """As filters for length or language do: what is left of a pass is not a multiple of it."""
    return dataset.filter(lambda row: tf.strings.to_hash_bucket_fast(row["inputs"], 4) > 0)


def _twice(dataset):
    """As one row of MultiRC or ReCoRD becomes several examples."""

    def both(row):
        inputs = tf.stack([row["inputs"], tf.strings.join(["text: it is ", row["inputs"]])])
        pair = {"inputs": inputs, "targets": tf.repeat(row["targets"], 2)}
        return tf.data.Dataset.from_tensor_slices(pair)

    return dataset.flat_map(both)


def _register(name, source, *steps, cache=True):
    feature = seqio.Feature(vocabulary.vocabulary(), add_eos=True)
    placeholder = [seqio.CacheDatasetPlaceholder()] if cache else []
    tokenize = [seqio.preprocessors.tokenize, *placeholder]
    seqio.TaskRegistry.add(
        name,
        source=source,
        preprocessors=[*steps, *tokenize, seqio.preprocessors.append_eos_after_trim],
        output_features={"inputs": feature, "targets": feature},
        metric_fns=[likeness],
    )
    register_info(name, TaskInfo(WORDS, "likeness"))


def _lines(split, shuffle_files, seed=None):
    return tf.data.TextLineDataset(os.path.join(os.environ[FOLDER], f"{split}.tsv"))


_FOLDER = os.environ[FOLDER]
_FILES = {split: os.path.join(_FOLDER, f"{split}.tsv") for split in ("train", "validation")}
_SHARDS = {
    "train": os.path.join(_FOLDER, "train.tfrecord-?????-of-00003"),
    "validation": os.path.join(_FOLDER, "validation.tfrecord-00000-of-00001"),
}
_TEXTS = {name: tf.io.FixedLenFeature([], tf.string) for name in ("inputs", "targets")}

_register("text_lines", seqio.TextLineDataSource(_FILES), _columns)
_register("cached", seqio.TextLineDataSource(_FILES), _columns)
_register("not_cached", seqio.TextLineDataSource(_FILES), _columns, cache=False)
_register("function", seqio.FunctionDataSource(_lines, splits=tuple(_FILES)), _columns)
_register("filtered", seqio.TextLineDataSource(_FILES), _columns, _without_every_fourth)
_register("one_to_many", seqio.TextLineDataSource(_FILES), _columns, _twice)
_register(
    "tfrecords",
    seqio.TFExampleDataSource(
        _SHARDS, _TEXTS, reader_cls=functools.partial(tf.data.TFRecordDataset)
    ),
)
seqio.MixtureRegistry.add("own_rates", [("text_lines", 3.0), ("filtered", 1.0)])
