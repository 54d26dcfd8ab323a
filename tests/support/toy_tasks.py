"""Two small SeqIO tasks over bytes for whole runs of the toy model, and one without rows.

Importing the module registers them, as a user's MIXTURE_OR_TASK_MODULE does.
"""

import functools

import numpy as np
import seqio
import tensorflow as tf

from mpt_jax.tasks.info import TaskInfo, register_info

ROWS = {"train": 24, "validation": 6, "test": 6}
WORDS = ("red", "blue", "green", "grey")
BYTES = seqio.Feature(seqio.ByteVocabulary(), add_eos=True)


def likeness(targets, predictions):
    """Percent; unlike accuracy it is above 0 for any text and moves from the first step on."""
    sums = np.array([[sum(text.encode()) for text in texts] for texts in (targets, predictions)])
    return {"likeness": 100 * np.mean(np.exp(-np.abs(sums[0] - sums[1]) / 1000))}


def inputs(name: str, split: str) -> list[str]:
    """The input texts of a split, all different."""
    return [f"{name[-1]}{split[0]}{i} {WORDS[i % 4]}" for i in range(ROWS[split])]


def _dataset(split, shuffle_files, seed=None, *, name, answers, rows):
    texts = inputs(name, split)[: rows[split]]
    columns = {"inputs": texts, "targets": [answers[i % len(answers)] for i in range(len(texts))]}
    return tf.data.Dataset.from_tensor_slices(
        {key: tf.constant(texts, tf.string, [len(texts)]) for key, texts in columns.items()}
    )


def _register(name: str, answers: tuple[str, ...], rows=ROWS) -> None:
    seqio.TaskRegistry.add(
        name,
        source=seqio.FunctionDataSource(
            functools.partial(_dataset, name=name, answers=answers, rows=rows),
            splits=tuple(rows),
            num_input_examples=rows,
        ),
        preprocessors=[
            functools.partial(seqio.preprocessors.tokenize, copy_pretokenized=True),
            seqio.preprocessors.append_eos_after_trim,
        ],
        output_features={"inputs": BYTES, "targets": BYTES},
        metric_fns=[likeness],
    )
    register_info(name, TaskInfo(answers, "likeness"))


_register("toy_a", WORDS)
_register("toy_b", ("yes", "no"))
_register("toy_long", ("a label of many bytes", "no"))
_register("toy_empty", WORDS, {"train": 0, "validation": 6, "test": 6})
