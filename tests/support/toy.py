"""A tiny model and random batches for tests: no file, no network, compiles in a second."""

import dataclasses
import functools

import jax
import numpy as np
import seqio

from mpt_jax.backbone import store
from mpt_jax.backbone.config import T5Config
from mpt_jax.engine import optimizers
from mpt_jax.methods.mpt import MPT
from mpt_jax.models import EncoderDecoderModel

CONFIG = T5Config(
    vocab_size=384,
    emb_dim=16,
    num_heads=2,
    head_dim=8,
    mlp_dim=24,
    num_encoder_layers=2,
    num_decoder_layers=2,
    mlp_activations=("gelu", "linear"),
    logits_via_embedding=False,
)
# What tests of whole runs need of it (toy.gin): it is traced and compiled in half the time.
ONE_LAYER = dataclasses.replace(CONFIG, num_encoder_layers=1, num_decoder_layers=1)
TASKS = ("nli", "qa", "sst")
SHAPES = {"encoder_input_tokens": (2, 6), "decoder_input_tokens": (2, 4)}


def model(method=None, tasks=TASKS, config=CONFIG, **fields) -> EncoderDecoderModel:
    return EncoderDecoderModel(
        config=config,
        method=method or MPT(prompt_length=4),
        tasks=tasks,
        input_vocabulary=seqio.ByteVocabulary(),
        output_vocabulary=seqio.ByteVocabulary(),
        optimizer_def=optimizers.adamw(0.1),
        **fields,
    )


@functools.cache
def backbone(seed: int = 0) -> dict:
    """Random parameters of the backbone alone."""
    init = jax.jit(lambda key: model().get_initial_variables(key, SHAPES)["params"])
    params = init(jax.random.key(seed))
    return {name: params[name] for name in ("encoder", "decoder", "token_embedder")}


def one_layer() -> dict:
    """Those of the first layer of each side."""
    trees = backbone().items()
    return {t: {n: leaf for n, leaf in tree.items() if n != "layers_1"} for t, tree in trees}


def save(folder) -> None:
    """Writes the backbone of one layer."""
    store.save(str(folder), one_layer(), ONE_LAYER)


def batch(task_ids, seed: int = 0, inputs: int = 6, targets: int = 4) -> dict:
    """Random tokens with ragged padding for the given task ids [B]."""
    rng = np.random.default_rng(seed)
    size = len(task_ids)

    def ragged(length):
        tokens = rng.integers(3, 250, size=(size, length))
        keep = np.arange(length) < rng.integers(1, length + 1, size=(size, 1))
        return (tokens * keep).astype(np.int32)

    encoder, target = ragged(inputs), ragged(targets)
    shifted = np.concatenate([np.zeros((size, 1), np.int32), target[:, :-1]], axis=1)
    return {
        "encoder_input_tokens": encoder,
        "decoder_input_tokens": shifted,
        "decoder_target_tokens": target,
        "decoder_loss_weights": (target > 0).astype(np.int32),
        "task_ids": np.asarray(task_ids, np.int32),
    }
