"""What a method knows when it starts, without a model: random embeddings, files of prompts."""

import dataclasses

import numpy as np
import seqio

from mpt_jax import initializers
from mpt_jax.product import product_file
from mpt_jax.product.description import ProductInfo

VOCABULARY = seqio.ByteVocabulary(extra_ids=5)  # 3 special ids, 256 bytes, 5 sentinels
SIZE = VOCABULARY.vocab_size
WIDTH = 6
TASKS = ("nli", "qa")


def start(tasks=TASKS, label_words=None, **fields) -> initializers.Context:
    """The start of a run on an embedding [SIZE + 8, WIDTH] whose last rows are only filling."""
    embedding = np.random.default_rng(0).normal(size=(SIZE + 8, WIDTH)).astype(np.float32)
    words = {task: (label_words or {}).get(task, ()) for task in tasks}
    context = initializers.Context(embedding, VOCABULARY, tuple(tasks), words, backbone="abc")
    return dataclasses.replace(context, **fields)


def factors(num_tasks=3, length=4, rank=1, seed=1, width=WIDTH) -> dict[str, np.ndarray]:
    """A random bank of multitask prompt tuning, as `prompts.factorized_shapes`."""
    rng = np.random.default_rng(seed)
    shapes = {
        "shared": (length, width),
        "task_u": (num_tasks, length, rank),
        "task_v": (num_tasks, rank, width),
    }
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def write(directory, bank, **fields) -> str:
    """A prompt file of the tasks a, b, ... for the backbone of `start`; its path."""
    tasks = next((len(leaf) for name, leaf in bank.items() if name != "shared"), 1)
    length = bank["shared"].shape[0] if "shared" in bank else bank["task_prompts"].shape[1]
    info = ProductInfo(
        method="mpt",
        tasks=tuple("abcdef"[:tasks]),
        length=length,
        width=WIDTH,
        rank=bank["task_u"].shape[2] if "task_u" in bank else 0,
        vocabulary_size=SIZE + 8,
        backbone="abc",
        feature_lengths={},
        label_words={},
        input_forms={},
        step=0,
        metrics={},
    )
    return product_file.save(str(directory), bank, dataclasses.replace(info, **fields))
