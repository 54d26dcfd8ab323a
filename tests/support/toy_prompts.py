"""A toy backbone with a real vocabulary, and prompts of three tasks for it, as files."""

import dataclasses
import functools
import pathlib
import shutil

import jax
import numpy as np
import toy

from mpt_jax import assets
from mpt_jax.backbone import store
from mpt_jax.backbone.formats import backbones
from mpt_jax.backbone.network import Transformer
from mpt_jax.engine import initialize, saving
from mpt_jax.methods.mpt import MPT

CONFIG = dataclasses.replace(toy.ONE_LAYER, vocab_size=1024)
TASKS = ("nli", "qa", "sst")
LABEL_WORDS = {"nli": ("entailment", "neutral"), "sst": ("good", "very bad")}
LENGTHS = {"inputs": 20, "targets": 4}


@functools.cache
def backbone() -> dict:
    """Random parameters, standard normal."""
    tokens = jax.ShapeDtypeStruct((1, 1), "int32")
    shapes = jax.eval_shape(Transformer(CONFIG).init, jax.random.key(0), tokens, tokens)["params"]
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)


def write(folder: pathlib.Path, tasks=TASKS, method=None, **facts) -> str:
    """Writes both into `folder`, with random factors, so that the tasks differ; its path."""
    store.save(str(folder), backbone(), CONFIG)
    for name in ("spiece.model", "tokenizer_config.json"):
        shutil.copy(assets.path(f"mini/{name}"), folder / name)
    model = toy.model(
        method or MPT(prompt_length=3),
        tasks,
        label_words={t: w for t, w in LABEL_WORDS.items() if t in tasks},
        input_forms={"nli": "premise: {premise} hypothesis: {hypothesis}"},
    )
    own = backbones.tokenizer_of(str(folder))
    model = dataclasses.replace(model, config=CONFIG, input_vocabulary=own, output_vocabulary=own)
    params = initialize.start(model, backbone(), jax.random.key(2))
    rng = np.random.default_rng(1)
    for name, leaf in params.get("prompt_bank", {}).items():
        if leaf.ndim:  # a seed stays
            params["prompt_bank"][name] = 3 * rng.normal(size=leaf.shape)
    if "per_task" in params:
        params["per_task"] = jax.tree.map(
            lambda leaf: leaf + rng.normal(size=leaf.shape).astype(np.float32), params["per_task"]
        )
    results = {task: {"accuracy": 50.0} for task in tasks}
    saving.save(model, str(folder), params, step=7, results=results, feature_lengths=LENGTHS)
    return str(folder)
