"""Prompts as other programs write them, small; and a backbone that answers at once."""

import json
import pathlib

import numpy as np
import pytest
import safetensors.numpy
import toy
import toy_start

from mpt_jax.backbone import fingerprints
from mpt_jax.backbone.formats import backbones
from mpt_jax.product.formats import peft

LENGTH, WIDTH = 3, toy.CONFIG.emb_dim
FINGERPRINT = "0123456789abcdef"
BACKBONE = "backbone"  # a path that is not read: see `answer_at_once`


def answer_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any path is the toy backbone."""
    monkeypatch.setattr(backbones, "config_of", lambda path, **choices: toy.CONFIG)
    identity = fingerprints.Identity(FINGERPRINT, "")
    monkeypatch.setattr(backbones, "identify", lambda path: identity)


def leaves(tasks: int = 2, rank: int = 1, seed: int = 0) -> dict[str, np.ndarray]:
    """A random bank of multitask prompt tuning."""
    return toy_start.factors(tasks, LENGTH, rank, seed, WIDTH)


def adapter(folder: pathlib.Path, *, drop=(), dtype=np.float32, **config) -> str:
    """An adapter of multitask prompt tuning with `leaves()`; returns its folder.

    Args:
        folder: made where it is missing.
        drop: fields and tensors that are left out.
        dtype: of the tensors.
        **config: fields of the configuration, instead of those that fit.
    """
    bank = leaves()
    tensors = {
        "prompt_embeddings": bank["shared"],
        "prefix_task_cols": bank["task_u"],
        "prefix_task_rows": bank["task_v"],
    }
    config = {
        "peft_type": "MULTITASK_PROMPT_TUNING",
        "task_type": "SEQ_2_SEQ_LM",
        "num_virtual_tokens": LENGTH,
        "num_tasks": 2,
        "num_ranks": 1,
        "num_transformer_submodules": 1,
        "token_dim": WIDTH,
        "base_model_name_or_path": "../../../etc/passwd",
        **config,
    }
    folder.mkdir(exist_ok=True)
    kept = {name: x.astype(dtype) for name, x in tensors.items() if name not in drop}
    safetensors.numpy.save_file(kept, folder / peft.WEIGHTS)
    text = json.dumps({name: x for name, x in config.items() if name not in drop})
    (folder / peft.CONFIG).write_text(text)
    return str(folder)
