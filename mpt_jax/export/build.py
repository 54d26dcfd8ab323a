"""The folder that `t5x export` writes.

    model.jax_export       the program: StableHLO, serialized by jax.export
    weights.safetensors    its first argument, backbone and prompt bank
    spiece.model           the vocabulary, except for bytes (ByT5)
    export.json            names, shapes, tasks
    prompts.safetensors    the prompt file, for this package (prompts.json describes it)
    README.md              the model card

The weights are an argument of the program rather than constants in it: so the program stays small
for any size of T5 (constants would end at the 2 GB of a protocol buffer), the weights may be mapped
from their file and laid out on several devices, and other prompts of the same shapes need no other
program.
"""  # noqa: D208  (the list is a picture of the folder)

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from mpt_jax import api, files, hosts
from mpt_jax.backbone import tensor_file
from mpt_jax.backbone.formats import vocabularies
from mpt_jax.backbone.tensor_file import Tensor
from mpt_jax.byte_vocabulary import is_bytes
from mpt_jax.export import card
from mpt_jax.product import product_file

PROGRAM = "model.jax_export"
WEIGHTS = "weights.safetensors"
ABOUT = "export.json"
CARD = "README.md"
FORMAT = "mpt_jax.export/1"


def build(
    prompts: str,
    folder: str,
    *,
    backbone: str,
    platforms: Sequence[str],
    dtype: str = "float32",
    method_module: str | None = None,
) -> None:
    """Write a model, its prompts and its card, all or nothing.

    Args:
        prompts: prompt file, adapter file or run folder.
        folder: new or empty.
        backbone: as `api.load`.
        platforms: of jax.export: "cpu", "cuda", "tpu".
        dtype: of the weights and the computation.
        method_module: as `api.load`.

    Raises:
        UserError: bad files, as `api.load`; a folder that is not empty or cannot be written.
    """
    with files.new_folder(folder) as place:
        loaded = api.load(backbone, prompts, dtype=dtype, method_module=method_module)
        weights = traverse_util.flatten_dict(hosts.fetch(loaded.predictor.params), sep="/")
        with (place / WEIGHTS).open("wb") as stream:
            tensor_file.write(stream, {name: Tensor.of(x) for name, x in weights.items()})
        program = greedy_program(loaded, weights, platforms)
        (place / PROGRAM).write_bytes(program)
        if not is_bytes(vocabulary := loaded.predictor.model.input_vocabulary):
            shutil.copyfile(vocabulary.file, place / vocabularies.FILE)
        about = _about(loaded, weights, platforms)
        (place / ABOUT).write_text(json.dumps(about, indent=2) + "\n")
        _copy_product(prompts, place)
        sizes = {file.name: os.path.getsize(file) for file in place.iterdir()}
        (place / CARD).write_bytes(card.write(loaded.info, about, sizes).encode("utf-8"))


def greedy_program(
    loaded: api.LoadedModel, weights: Mapping[str, np.ndarray], platforms: Sequence[str]
) -> bytes:
    """The serialized program (weights, tokens [b, t], task_ids [b]) -> (ids [b, S], scores [b]).

    Any b and t; S is the target length of `loaded`. It decodes greedily.
    """
    model, length = loaded.predictor.model, loaded.lengths["targets"]

    def generate(weights: Mapping, tokens: jax.Array, task_ids: jax.Array):
        batch = {
            "encoder_input_tokens": tokens,
            "decoder_input_tokens": jnp.zeros((tokens.shape[0], length), jnp.int32),
            "task_ids": task_ids,
        }
        params = traverse_util.unflatten_dict(weights, sep="/")
        ids, aux = model.predict_batch_with_aux(params, batch)
        return ids, aux["scores"]

    rows, width = jax.export.symbolic_shape("b, t")
    shapes = (
        {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in weights.items()},
        jax.ShapeDtypeStruct((rows, width), jnp.int32),
        jax.ShapeDtypeStruct((rows,), jnp.int32),
    )
    return jax.export.export(jax.jit(generate), platforms=platforms)(*shapes).serialize()


def _about(
    loaded: api.LoadedModel, weights: Mapping[str, np.ndarray], platforms: Sequence[str]
) -> dict[str, Any]:
    """What a program needs to know that has only this folder."""
    vocabulary = loaded.predictor.model.input_vocabulary
    file = None if is_bytes(vocabulary) else vocabularies.FILE
    shapes = {name: {"shape": x.shape, "dtype": str(x.dtype)} for name, x in weights.items()}
    return {
        "format": FORMAT,
        "jax": jax.__version__,
        "platforms": list(platforms),
        "files": {"program": PROGRAM, "weights": WEIGHTS, "vocabulary": file},
        "tasks": list(loaded.tasks),  # task_ids count them from 0
        "label_words": loaded.info.label_words,
        "feature_lengths": loaded.lengths,
        "pad_id": vocabulary.pad_id,
        "eos_id": vocabulary.eos_id,
        "extra_ids": vocabulary.extra_ids,
        "inputs": {
            "weights": shapes,
            "tokens": {"shape": ["b", "t"], "dtype": "int32"},
            "task_ids": {"shape": ["b"], "dtype": "int32"},
        },
        "outputs": {
            "ids": {"shape": ["b", loaded.lengths["targets"]], "dtype": "int32"},
            "scores": {"shape": ["b"], "dtype": "float32"},
        },
    }


def _copy_product(prompts: str, folder: os.PathLike) -> None:
    """The prompt or adapter file, kilobytes; a whole backbone is in the weights already."""
    product = product_file.resolve(prompts)
    if os.path.basename(product) not in (product_file.PROMPTS, product_file.ADAPTER):
        return
    for file in (product, os.path.splitext(product)[0] + ".json"):
        if os.path.exists(file):
            shutil.copy(file, folder)
