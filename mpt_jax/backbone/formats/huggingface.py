"""Hugging Face's T5, mT5 and umT5: `config.json` and `model.safetensors`, whole or in shards.

Hugging Face keeps a matrix as [outputs, inputs] and the bias as [buckets, heads], T5X the other way
round; the numbers are the same. The embedding may be stored up to three times and the output
projection next to it; copies are compared and dropped.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mpt_jax import checksums, files
from mpt_jax.backbone import tensor_file
from mpt_jax.backbone.config import T5Config
from mpt_jax.backbone.formats import families
from mpt_jax.backbone.formats.families import Family
from mpt_jax.backbone.formats.sizes import EMBEDDING
from mpt_jax.backbone.weights import LOGITS, Tensor, Weights
from mpt_jax.errors import UserError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
CONFIG = "config.json"

_EMBEDDINGS = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
_LM_HEAD = "lm_head.weight"
# In Google's first checkpoints and read by nobody, transformers included.
_UNUSED = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
_ROWS = 4096  # of an embedding that are compared at a time

_FIELDS = {  # ours -> Hugging Face's
    "vocab_size": "vocab_size",
    "emb_dim": "d_model",
    "num_heads": "num_heads",
    "head_dim": "d_kv",
    "mlp_dim": "d_ff",
    "num_encoder_layers": "num_layers",
    "num_decoder_layers": "num_decoder_layers",
    "relpos_buckets": "relative_attention_num_buckets",
    "relpos_max_distance": "relative_attention_max_distance",
    "layer_norm_epsilon": "layer_norm_epsilon",
}
# Other ids than these are refused: SeqIO pads with 0 and feeds it first.
_FIXED_IDS = {"pad_token_id": 0, "decoder_start_token_id": 0}
_DEFAULTS = {  # of what a config.json may leave out
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
    "layer_norm_epsilon": 1e-6,
}
# `gelu_new` is the approximation by tanh, which T5X calls gelu; their `gelu` is another function.
_ACTIVATIONS = {
    "relu": "relu",
    "gelu_new": "gelu",
    "gelu_pytorch_tanh": "gelu",
    "silu": "silu",
    "swish": "silu",
}


def _names() -> Iterator[tuple[str, str]]:
    """(T5X's name, Hugging Face's), `{}` standing for the layer."""
    yield EMBEDDING, _EMBEDDINGS[0]
    yield LOGITS, _LM_HEAD
    parts = {
        "encoder": (("attention", "SelfAttention"),),
        "decoder": (
            ("self_attention", "SelfAttention"),
            ("encoder_decoder_attention", "EncDecAttention"),
        ),
    }
    norms = {
        "encoder": ("attention", "mlp"),
        "decoder": ("self_attention", "cross_attention", "mlp"),
    }
    for stack, attentions in parts.items():
        layer, block = f"{stack}/layers_{{}}", f"{stack}.block.{{}}.layer"
        yield f"{stack}/{stack}_norm/scale", f"{stack}.final_layer_norm.weight"
        relpos = "layer.0.SelfAttention.relative_attention_bias.weight"
        yield f"{stack}/relpos_bias/rel_embedding", f"{stack}.block.0.{relpos}"
        yield f"{layer}/relpos_bias/rel_embedding", f"{stack}.block.{{}}.{relpos}"
        for i, norm in enumerate(norms[stack]):
            yield f"{layer}/pre_{norm}_layer_norm/scale", f"{block}.{i}.layer_norm.weight"
        for i, (ours, theirs) in enumerate(attentions):
            for name in ("query", "key", "value", "out"):
                yield f"{layer}/{ours}/{name}/kernel", f"{block}.{i}.{theirs}.{name[0]}.weight"
        for name in ("wi", "wi_0", "wi_1", "wo"):
            dense = f"{block}.{len(attentions)}.DenseReluDense.{name}.weight"
            yield f"{layer}/mlp/{name}/kernel", dense


_THEIRS = dict(_names())
_OURS = {theirs: ours for ours, theirs in _THEIRS.items()}


def open_weights(folder: str, file: str, values: Mapping[str, Any]) -> Weights:
    """The weights of a folder of Hugging Face's.

    Args:
        folder: with `config.json`.
        file: in it, the tensors or the index of their shards.
        values: the content of `config.json`.

    Raises:
        UserError: another kind of model, a broken file, copies of one tensor that differ.
    """
    config = os.path.join(folder, CONFIG)
    family = families.family_of(config, values)
    families.kind_of_vocabulary(folder)
    found = _of_shards(folder, file) if file.endswith(".json") else tensor_file.open_file(file)[0]
    scaled = families.scaling(family, values)
    stated = {
        **_stated(config, values),
        "logits_via_embedding": scaled is not None,
        "relpos_bias_per_layer": family.relpos_bias_per_layer,
    }
    found.pop(_UNUSED, None)
    tensors = {EMBEDDING: embedding} if (embedding := _embedding(file, found)) else {}
    head = found.pop(_LM_HEAD, None)
    if head is None and not families.is_tied(values):
        raise UserError(
            f"{file} lacks the tensor {_LM_HEAD!r}, though {config} has tie_word_embeddings = "
            "false: set it to true where the embedding is the head, or take the whole file."
        )
    if scaled and head and embedding:
        if not _equal(head, embedding):
            raise _scaled_head(file, config, family, scaled)
    elif head:
        tensors[LOGITS] = head.transposed()
    elif not scaled and embedding:
        tensors[LOGITS] = embedding.transposed()  # tied, but not scaled as T5X scales tied ones
    for name, tensor in found.items():
        ours = t5x_name(name, family.relpos_bias_per_layer)
        if ours is None:
            raise UserError(f"{file} holds an extra tensor {name!r}: T5 has none of that name.")
        tensors[ours] = tensor.transposed() if _is_transposed(ours, tensor) else tensor
    return Weights(file, tensors, stated, native=native_name)


def native_name(name: str) -> str:
    """Hugging Face's name for T5X's; a name that no T5 has stays as it is."""
    layer = re.search(r"/layers_(\d+)/", name)
    template = re.sub(r"/layers_\d+/", "/layers_{}/", name, count=1)
    return _THEIRS[template].format(layer and layer[1]) if template in _THEIRS else name


def t5x_name(name: str, relpos_bias_per_layer: bool = False) -> str | None:
    """T5X's name for Hugging Face's; None for a name that no T5 has.

    With a bias per layer, that of the first layer is not the stack's.
    """
    if name in _OURS and not (relpos_bias_per_layer and ".relative_attention_bias." in name):
        return _OURS[name]
    if ".relative_attention_bias." in name and not relpos_bias_per_layer:
        return None
    layer = re.search(r"\.block\.(\d+)\.", name)
    template = re.sub(r"\.block\.\d+\.", ".block.{}.", name, count=1)
    return _OURS[template].format(layer[1]) if layer and template in _OURS else None


def write(directory: str, weights: Weights, config: T5Config) -> None:
    """Write a folder that transformers' T5ForConditionalGeneration, or that of umT5, loads.

    Raises:
        OSError: the files cannot be written.
        UserError: activations that Hugging Face's T5 does not have, or a tensor cannot be read.
    """
    values = _values(config)
    tensors = {}
    for name, tensor in weights.tensors.items():
        turned = _is_transposed(name, tensor)
        tensors[native_name(name)] = tensor.transposed() if turned else tensor
    with open(os.path.join(directory, WEIGHTS), "wb") as stream:
        tensor_file.write(stream, tensors, {"format": "pt"})
    with open(os.path.join(directory, CONFIG), "w", encoding="utf-8") as stream:
        json.dump(checksums.sealed(values), stream, indent=2)
        stream.write("\n")


def _is_transposed(t5x_name: str, tensor: Tensor) -> bool:
    return t5x_name.endswith(("/kernel", "/rel_embedding")) and len(tensor.shape) == 2


def _of_shards(folder: str, index: str) -> dict[str, Tensor]:
    """The tensors that an index names, each in the shard that it names."""
    places = files.read_json(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(p, str) for p in places.values()):
        raise UserError(f"{index} has no weight_map of tensors to files: copy it again.")
    shards = {}
    for shard in sorted(set(places.values())):
        if not re.fullmatch(r"[\w.-]+\.safetensors", shard, re.ASCII):
            raise UserError(
                f"{index} names the shard {shard!r}: shards are .safetensors files in its folder."
            )
        shards[shard] = tensor_file.open_file(os.path.join(folder, shard))[0]
    for name, shard in places.items():
        if name not in shards[shard]:
            raise UserError(f"{os.path.join(folder, shard)} lacks the tensor {name!r} of {index}.")
    return {name: shards[shard][name] for name, shard in places.items()}


def _embedding(file: str, found: dict[str, Tensor]) -> Tensor | None:
    """Takes the embedding and its copies out of `found`."""
    copies = {name: found.pop(name) for name in _EMBEDDINGS if name in found}
    first = next(iter(copies), None)
    for name, tensor in copies.items():
        if name != first and not _equal(tensor, copies[first]):
            raise UserError(f"{file}: {name!r} is not {first!r}; T5 has one embedding.")
    return copies[first] if first else None


def _equal(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of rank 2 hold the same numbers."""
    if one.shape != other.shape or len(one.shape) != 2:
        return False
    end, width = one.shape
    parts = ((slice(i, min(i + _ROWS, end)), slice(0, width)) for i in range(0, end, _ROWS))
    return all(np.array_equal(one.read(part), other.read(part)) for part in parts)


def _scaled_head(file: str, config: str, family: Family, setting: str) -> UserError:
    """A separate head behind a scaled output: T5X scales only for a tied head."""
    which = " (Google's umT5 was; transformers 5 writes true)" if family is families.UMT5 else ""
    return UserError(
        f"{file}: {_LM_HEAD!r} is not {_EMBEDDINGS[0]!r}, but {config} has the decoder's output "
        f"divided by sqrt(d_model) ({setting}), which is read with the embedding as head alone: "
        f"set {setting} = false there if the model was trained without that{which}, else divide "
        f"{_LM_HEAD!r} by sqrt(d_model) too."
    )


def _stated(config: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `T5Config` from a `config.json`."""
    values = {**_DEFAULTS, **values}
    if values.get("num_decoder_layers") is None:
        values["num_decoder_layers"] = values.get("num_layers")
    missing = [theirs for theirs in _FIELDS.values() if theirs not in values]
    if missing:
        raise UserError(f"{config} lacks {', '.join(missing)}.")
    for name, ours in _FIXED_IDS.items():
        if values.get(name) not in (None, ours):
            raise UserError(
                f"{config}: {name} is {values[name]!r}; only backbones with {ours} there are read, "
                "as every published T5 has it."
            )
    stated = {ours: values[theirs] for ours, theirs in _FIELDS.items()}
    stated["eos_id"] = values.get("eos_token_id")
    return {**stated, "mlp_activations": _activations(config, values)}


def _activations(config: str, values: Mapping[str, Any]) -> tuple[str, ...]:
    projection = str(values.get("feed_forward_proj", "relu"))
    kind, _, name = projection.rpartition("-")
    name = "gelu_new" if projection == "gated-gelu" else name
    name = str(values.get("dense_act_fn", name))
    gated = values.get("is_gated_act", kind == "gated")
    if kind not in ("", "gated") or name not in _ACTIVATIONS:
        raise UserError(
            f"{config}: feed_forward_proj {projection!r} with dense_act_fn {name!r} is not one "
            "of T5's; known are relu, gated-gelu (by tanh), gated-silu."
        )
    return (_ACTIVATIONS[name], "linear") if gated else (_ACTIVATIONS[name],)


def _values(config: T5Config) -> dict[str, Any]:
    """The `config.json` of a backbone."""
    kinds = {
        ("relu",): ("relu", "relu"),
        ("gelu",): ("gelu_new", "gelu_new"),
        ("silu",): ("silu", "silu"),
        ("relu", "linear"): ("gated-relu", "relu"),
        ("gelu", "linear"): ("gated-gelu", "gelu_new"),
        ("silu", "linear"): ("gated-silu", "silu"),
    }
    if config.mlp_activations not in kinds:
        raise UserError(f"Hugging Face's T5 has no feed-forward layer {config.mlp_activations}.")
    projection, activation = kinds[config.mlp_activations]
    family = families.UMT5 if config.relpos_bias_per_layer else families.T5
    return {
        "architectures": [family.model],
        "model_type": family.model_type,
        "is_encoder_decoder": True,
        **{theirs: getattr(config, ours) for ours, theirs in _FIELDS.items()},
        "dropout_rate": config.dropout_rate,
        "feed_forward_proj": projection,
        "dense_act_fn": activation,
        "is_gated_act": len(config.mlp_activations) == 2,
        **families.heads(family, config.logits_via_embedding),
        **_FIXED_IDS,
        "eos_token_id": config.eos_id or 1,  # T5's, if there was no vocabulary to ask
    }
