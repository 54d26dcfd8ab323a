"""A backbone's first layers, which stand in for all: programs compile in a third of the time."""

import dataclasses
import pathlib
import re
import shutil

import safetensors.numpy
from flax import traverse_util

from mpt_jax.backbone import store
from mpt_jax.backbone.formats import backbones

ONE_LAYER = {"num_encoder_layers": 1, "num_decoder_layers": 1}
SETTINGS = [f"config.T5Config.{name}={value}" for name, value in ONE_LAYER.items()]


def copy(backbone: str, folder: pathlib.Path) -> None:
    """A copy of a backbone with the first layer of each side alone."""
    config = dataclasses.replace(backbones.config_of(backbone), **ONE_LAYER)
    tensors = safetensors.numpy.load_file(f"{backbone}/model.safetensors")
    kept = {path: leaf for path, leaf in tensors.items() if not re.search("/layers_[1-9]", path)}
    store.save(str(folder), traverse_util.unflatten_dict(kept, sep="/"), config)
    for name in ("spiece.model", "tokenizer_config.json"):
        if (file := pathlib.Path(backbone) / name).exists():
            shutil.copy(file, folder)
