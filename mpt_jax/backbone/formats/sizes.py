"""The sizes of a backbone from the shapes of its tensors, held against what its folder states."""

import re
from typing import Any

from mpt_jax.backbone.config import T5Config
from mpt_jax.backbone.weights import LOGITS, Weights
from mpt_jax.errors import UserError

EMBEDDING = "token_embedder/embedding"
RELPOS = "encoder/relpos_bias/rel_embedding"
RELPOS_OF_LAYER = "encoder/layers_0/relpos_bias/rel_embedding"  # umT5's
QUERY = "encoder/layers_0/attention/query/kernel"
# The feed-forward layer's projections, one per activation of the two versions of T5.
VERSIONS = {"wi": ("relu",), "wi_0": ("gelu", "linear")}


def config_of(weights: Weights, **choices: Any) -> T5Config:
    """The configuration of the backbone with these tensors.

    What shapes do not tell, and the folder does not state, is as in T5: which activations (ReLU,
    or gated GELU where there are two projections), `relpos_max_distance`, `layer_norm_epsilon`.

    Args:
        weights: of any format.
        **choices: fields of `T5Config`, above all.

    Raises:
        UserError: no T5, a stated size that is not that of the tensors or out of range (named).
    """
    sizes = {field: size for field, (size, _) in _inferred(weights).items()}
    try:
        return T5Config.from_fields({**sizes, **weights.stated, **choices})
    except UserError as error:
        raise UserError(f"{weights.place}: {error}") from error


def _inferred(weights: Weights) -> dict[str, tuple[Any, str]]:
    """Field of `T5Config` -> (its value, the tensor that shows it); stated ones are compared."""
    if weights.tensors and not any(name.startswith("decoder/layers_") for name in weights.tensors):
        raise UserError(
            f"{weights.place} holds an encoder alone: a backbone is a T5 with its decoder."
        )
    vocab_size, emb_dim = _shape(weights, EMBEDDING, 2)
    per_layer = RELPOS_OF_LAYER in weights.tensors
    relpos = RELPOS_OF_LAYER if per_layer else RELPOS
    heads, buckets = _shape(weights, relpos, 2)
    _, joined = _shape(weights, QUERY, 2)
    if heads < 1 or joined % heads:
        raise UserError(
            f"{weights.place}: {weights.called(QUERY)} gives {joined} numbers to the {heads} heads "
            f"of {weights.called(relpos)}: no T5."
        )
    wi = next((name for name in VERSIONS if _wi(name) in weights.tensors), "wi")
    _, mlp_dim = _shape(weights, _wi(wi), 2)
    found = {
        "vocab_size": (vocab_size, EMBEDDING),
        "emb_dim": (emb_dim, EMBEDDING),
        "num_heads": (heads, relpos),
        "relpos_buckets": (buckets, relpos),
        "relpos_bias_per_layer": (per_layer, RELPOS_OF_LAYER),
        "head_dim": (joined // heads, QUERY),
        "mlp_dim": (mlp_dim, _wi(wi)),
        "mlp_activations": (VERSIONS[wi], _wi(wi)),
        "logits_via_embedding": (LOGITS not in weights.tensors, LOGITS),
        "num_encoder_layers": _layers(weights, "encoder", "pre_attention_layer_norm/scale"),
        "num_decoder_layers": _layers(weights, "decoder", "pre_self_attention_layer_norm/scale"),
    }
    for field, (size, tensor) in found.items():
        stated = weights.stated.get(field, size)
        # Shapes tell only the number of activations.
        if stated != size and (field != "mlp_activations" or len(stated) != len(size)):
            raise UserError(_lie(weights, field, stated, tensor))
    return found


def _wi(name: str) -> str:
    return f"encoder/layers_0/mlp/{name}/kernel"


def _shape(weights: Weights, name: str, rank: int) -> tuple[int, ...]:
    if name not in weights.tensors:
        raise UserError(f"{weights.place} is not a T5: it lacks the tensor {weights.called(name)}.")
    shape = weights.tensors[name].shape
    if len(shape) != rank:
        raise UserError(
            f"{weights.place} is not a T5: tensor {weights.called(name)} has shape {shape}."
        )
    return shape


def _layers(weights: Weights, stack: str, rest: str) -> tuple[int, str]:
    """Number of layers in a row from 0 on, and the tensor of the first one that is not there."""
    pattern = re.compile(rf"{stack}/layers_(\d+)/{rest}")
    there = {int(m[1]) for m in map(pattern.fullmatch, weights.tensors) if m}
    count = next(i for i in range(len(there) + 1) if i not in there)
    return count, f"{stack}/layers_{count}/{rest}"


def _lie(weights: Weights, field: str, stated: Any, tensor: str) -> str:
    there = weights.tensors.get(tensor)
    fact = f"has shape {there.shape}" if there else "is not there"
    return (
        f"{weights.place}: config.json states {field} = {stated!r}, but the tensor "
        f"{weights.called(tensor)} {fact}: one of the two belongs to another backbone."
    )
