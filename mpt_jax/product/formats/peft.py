"""PEFT's adapters of prompt tuning, of one task or several, LoRA and (IA)³, in and out, bit by bit.

An adapter is a folder with `adapter_config.json` and `adapter_model.safetensors`, whose tensors are
those of `peft_modules`, or

    prompt_embeddings [P, D]      `shared`, or the one of `task_prompts` [1, P, D]
    prefix_task_cols [K, P, R]    `task_u`
    prefix_task_rows [K, R, D]    `task_v`

for one encoder (`num_transformer_submodules` = 1). PEFT's default for T5 is 2: it also trains a
prompt in front of the decoder's inputs. Its `generate` uses only the encoder's half, and so do we.
"""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from mpt_jax import files
from mpt_jax.backbone import tensor_file
from mpt_jax.errors import UserError
from mpt_jax.product import description
from mpt_jax.product import tasks as bank_tasks
from mpt_jax.product.description import ProductInfo
from mpt_jax.product.formats import foreign, peft_modules
from mpt_jax.product.leaves import Bank, is_per_task

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
MULTITASK, SINGLE = "MULTITASK_PROMPT_TUNING", "PROMPT_TUNING"
TASK_TYPE = "SEQ_2_SEQ_LM"
_TENSORS = {
    MULTITASK: {
        "shared": "prompt_embeddings",
        "task_u": "prefix_task_cols",
        "task_v": "prefix_task_rows",
    },
    SINGLE: {"shared": "prompt_embeddings"},
}


def read(path: str, tasks: Sequence[str] | None, backbone: str) -> tuple[Bank, ProductInfo]:
    """The bank of an adapter, exactly, and its description.

    Args:
        path: the adapter's folder, or its weights.
        tasks: names for its K tasks; None: as we wrote them, else task_0, task_1, ...
        backbone: path of the backbone that it was trained on.

    Returns:
        `shared`, `task_u`, `task_v` of multitask prompt tuning; `task_prompts` of prompt tuning;
        the leaves of `methods.lora` and `methods.ia3`.

    Raises:
        UserError: no adapter of these kinds, damaged, a pickle, or of another backbone.
    """
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    if not os.path.isfile(os.path.join(folder, CONFIG)):
        raise UserError(f"no adapter of PEFT at {path!r}: its folder has no {CONFIG}.")
    config = files.read_json(os.path.join(folder, CONFIG))
    kind = config.get("peft_type")
    known = (*_TENSORS, *peft_modules.METHODS)
    if kind not in known:
        raise UserError(
            f"{folder} is an adapter of the kind {kind!r}: {', '.join(known)} are read."
        )
    task_type = config.get("task_type")
    if task_type != TASK_TYPE and (task_type is not None or kind in _TENSORS):
        raise UserError(
            f"{folder} has the task_type {config.get('task_type')!r}: only {TASK_TYPE} is for a T5."
        )
    file = os.path.join(folder, WEIGHTS)
    if not os.path.isfile(file):
        for name in os.listdir(folder):
            foreign.refuse_pickle(os.path.join(folder, name), WEIGHTS)
    if kind in peft_modules.METHODS:
        bank, rank, metadata = peft_modules.read(folder, config, file, backbone)
        method, sizes = peft_modules.METHODS[kind], (0, None, rank)
        told = _told(metadata)
        return bank, foreign.describe_as(folder, method, sizes, bank, tasks, backbone, told)
    tensors, metadata = foreign.read_tensors(file, _TENSORS[kind].values())
    bank = {ours: tensors[theirs] for ours, theirs in _TENSORS[kind].items()}
    bank = _encoder_half(folder, config, bank)
    if kind == SINGLE:
        bank = {"task_prompts": bank["shared"][None]}
    return bank, foreign.describe(folder, bank, tasks, backbone, _told(metadata))


def _told(metadata: dict[str, str]) -> ProductInfo | None:
    """The description that `write` has put into the header; None: PEFT wrote it."""
    try:
        return description.from_header(metadata)
    except ValueError:
        return None


def write(path: str, bank: Bank, info: ProductInfo) -> None:
    """Write a bank as an adapter that PEFT loads.

    The description goes into the header of the weights, where PEFT overlooks it.

    Args:
        path: the adapter's folder, new or empty.
        bank: of multitask prompt tuning; or one prompt, of one task or shared by all; or of LoRA or
            (IA)³, of one task.
        info: its description.

    Raises:
        UserError: more than these, whole prompts of several tasks, or unwritable files.
    """
    if all("/" in name and is_per_task(name) for name in bank):
        tensors, config = peft_modules.write(bank, info.tasks)
    else:
        tensors, config = _of_prompts(bank, info)
    common = {"base_model_name_or_path": None, "inference_mode": True, "task_type": TASK_TYPE}
    content = tensor_file.to_bytes(tensors, {"format": "pt", **description.header(info)})
    text = json.dumps({**common, **config}, indent=2, sort_keys=True) + "\n"
    with files.new_folder(path) as folder:
        (folder / WEIGHTS).write_bytes(content)
        (folder / CONFIG).write_text(text)


def _of_prompts(bank: Bank, info: ProductInfo) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The tensors of prompts, and the fields of their configuration."""
    bank_tasks.check_expressible(bank, info)
    if "task_u" in bank:
        kind, leaves = MULTITASK, bank
    elif "task_prompts" not in bank:
        kind, leaves = SINGLE, bank
    elif len(info.tasks) == 1:
        kind, leaves = SINGLE, {"shared": bank["task_prompts"][0]}
    else:
        raise UserError(
            f"PEFT keeps one whole prompt in an adapter, and the bank holds {len(info.tasks)}: "
            "choose one with --tasks=NAME."
        )
    tensors = {
        theirs: np.ascontiguousarray(leaves[ours], np.float32)
        for ours, theirs in _TENSORS[kind].items()
    }
    config = {
        "num_transformer_submodules": 1,
        "num_virtual_tokens": info.length,
        "peft_type": kind,
        "prompt_tuning_init": "RANDOM",
        "token_dim": info.width,
    }
    if kind == MULTITASK:
        config |= {"num_ranks": info.rank, "num_tasks": len(info.tasks)}
    return tensors, config


def _encoder_half(folder: str, config: dict[str, Any], bank: Bank) -> dict[str, np.ndarray]:
    """The leaves [P, ...] of the encoder, after their shapes were held against the config's."""
    sizes = {"num_virtual_tokens": None, "num_transformer_submodules": 2, "token_dim": None}
    sizes |= {"num_tasks": 1, "num_ranks": 1}
    for name, default in sizes.items():
        value = config.get(name)
        sizes[name] = default if value is None else value
    length, stacks = sizes["num_virtual_tokens"], sizes["num_transformer_submodules"]
    if type(length) is not int or length < 1 or stacks not in (1, 2):
        raise UserError(
            f"{folder}/{CONFIG}: num_virtual_tokens is {length!r} and num_transformer_submodules "
            f"{stacks!r}; a prompt has at least one token, a T5 one or two such parts."
        )
    rows, width = stacks * length, sizes["token_dim"]
    if width is None:  # it may be left out
        width = bank["shared"].shape[-1] if bank["shared"].ndim == 2 else 0
    expected = {
        "shared": (rows, width),
        "task_u": (sizes["num_tasks"], rows, sizes["num_ranks"]),
        "task_v": (sizes["num_tasks"], sizes["num_ranks"], width),
    }
    for name, leaf in bank.items():
        if leaf.shape != expected[name] or not leaf.size:
            raise UserError(
                f"{folder}: {_TENSORS[MULTITASK][name]!r} has the shape {leaf.shape}, {CONFIG} "
                f"says {expected[name]}."
            )
    if stacks == 1:
        return dict(bank)
    print(
        f"{folder}: the decoder's prompt (num_transformer_submodules=2) is left out, as PEFT's own "
        "generate leaves it out.",
        file=sys.stderr,
    )
    halves = {"shared": bank["shared"][:length]}
    if "task_u" in bank:
        halves |= {"task_u": bank["task_u"][:, :length], "task_v": bank["task_v"]}
    return halves
