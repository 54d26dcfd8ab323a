"""FLOPs of a step as its mathematics needs them, whatever the compiler makes of it."""

from collections.abc import Mapping
from typing import Any

from flax import traverse_util

from mpt_jax.backbone import store
from mpt_jax.backbone.config import T5Config
from mpt_jax.engine.optimizers import FROZEN


def forward_flops(config: T5Config, length: int, targets: int) -> int:
    """FLOPs of one example's forward pass: 2 per multiply-add of its matrix products.

    Softmax, norms, activations and additions are left out; they are what a good program hides.

    Args:
        config: the backbone.
        length: encoder positions, prompt and text (P+T).
        targets: decoder positions S.
    """
    width, joined = config.emb_dim, config.num_heads * config.head_dim
    mlp = 2 * (len(config.mlp_activations) + 1) * width * config.mlp_dim  # per position
    projection = 2 * width * joined  # per position; query, key, value, out

    def attended(queries: int, keys: int) -> int:
        return 2 * 2 * queries * keys * joined  # scores, and their mix of the values

    encoder_layer = length * (4 * projection + mlp) + attended(length, length)
    decoder_layer = (
        targets * (4 * projection + mlp)
        + attended(targets, targets)
        + (2 * targets + 2 * length) * projection  # keys and values of all encoder positions
        + attended(targets, length)
    )
    logits = 2 * targets * width * config.vocab_size
    return (
        config.num_encoder_layers * encoder_layer
        + config.num_decoder_layers * decoder_layer
        + logits
    )


def passes(labels: Mapping[str, Any], shapes: Mapping[str, Any], distils: bool) -> float:
    """How many forward passes' worth of FLOPs a training step takes.

    One forward, one back through the activations, one of a teacher; and the gradients of the
    backbone's own matrices, as far as these train. Layers that are computed twice to save memory
    (`remat`) count once.

    Args:
        labels: nested dict of learning-rate groups, or FROZEN.
        shapes: the parameters' shapes, in such a dict.
        distils: whether there are teachers.
    """
    flat = traverse_util.flatten_dict(labels)
    matrices = {
        path: leaf.size
        for path, leaf in traverse_util.flatten_dict(dict(shapes)).items()
        if path[0] in store.BACKBONE_TREES and path[-1] == "kernel"
    }
    tuned = sum(size for path, size in matrices.items() if flat[path] != FROZEN)
    return 2 + distils + tuned / sum(matrices.values())
