"""The tensors of PEFT's LoRA and (IA)³ adapters of a T5, in and out, bit by bit.

    base_model.model.MODULE.lora_A.weight [r, D]    `lora_a` [1, D, r], transposed
    base_model.model.MODULE.lora_B.weight [F, r]    `lora_b` [1, r, F], transposed
    base_model.model.MODULE.ia3_l [F, 1]            `ia3_output` [1, F]
    base_model.model.MODULE.ia3_l [1, D]            `ia3_input` [1, D] of a feed-forward module

MODULE is a projection in Hugging Face's words. `lora_scale` is in the configuration, as lora_alpha
and r. What an adapter changes in another way is refused.
"""  # noqa: D208  (the list is a picture of the file)

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mpt_jax.errors import UserError
from mpt_jax.product.formats import foreign
from mpt_jax.product.leaves import TASK_TREE, Bank

LORA, IA3 = "LORA", "IA3"
METHODS = {LORA: "lora", IA3: "ia3"}  # peft_type -> method
_TENSOR = re.compile(r"base_model\.model\.(.+)\.(lora_A\.weight|lora_B\.weight|ia3_l)")
# Starts of A and B that leave the backbone as it is; others move numbers from it into them.
_STARTS = (True, False, "gaussian", "eva", "orthogonal")
_INERT = {  # field -> values with which an adapter is what is said above
    "bias": ("none",),
    "init_lora_weights": _STARTS,
    **dict.fromkeys(
        (
            "alora_invocation_tokens",
            "alpha_pattern",
            "arrow_config",
            "kasa_config",
            "layer_replication",
            "lora_bias",
            "modules_to_save",
            "monteclora_config",
            "target_parameters",
            "trainable_token_indices",
            "use_bdlora",
            "use_dora",
            "use_qalora",
            "velora_config",
        ),
        (None, False, {}, []),
    ),
}


def read(
    folder: str, config: Mapping[str, Any], file: str, backbone: str
) -> tuple[Bank, int, dict[str, str]]:
    """The leaves of an adapter of one task, its r (0 for (IA)³), and the text in its header.

    Args:
        folder: of the adapter, for messages.
        config: its configuration, of one of the kinds in `METHODS`.
        file: its weights.
        backbone: path of the backbone that it was trained on.

    Raises:
        UserError: an adapter that adds anything else, is damaged or does not fit the backbone.
    """
    for name, values in _INERT.items():
        if name in config and config[name] not in values:
            raise UserError(
                f"{folder} has {name} = {config[name]!r}, which is not read: only plain LoRA and "
                "(IA)³ are. Merge it with PEFT (merge_and_unload) and read the T5 that comes of it."
            )
    tensors, metadata = foreign.read_tensors(file)
    from mpt_jax.backbone.formats import backbones, huggingface  # imports jax

    kernels = backbones.open_weights(backbone).tensors
    bank = {}
    for name, tensor in tensors.items():
        match = _TENSOR.fullmatch(name)
        kernel = match and huggingface.t5x_name(f"{match[1]}.weight")
        if kernel is None or not kernel.endswith("/kernel") or "/layers_" not in kernel:
            raise UserError(
                f"{file} holds an extra tensor {name!r}: only the projections of attention and "
                "feed-forward layers are adapted here."
            )
        if kernel not in kernels:
            raise UserError(f"{file} adapts {match[1]!r}, which the backbone {backbone} has not.")
        leaf = _leaf(file, name, match[2], tensor, kernels[kernel].shape)
        at = f"{TASK_TREE}/{kernel.removesuffix('/kernel')}"
        bank |= {f"{at}/{ours}": value for ours, value in leaf.items()}
    if not bank:
        raise UserError(f"{file} adapts nothing.")
    if _is_lora(bank):
        return _with_scales(folder, file, config, bank), config["r"], metadata
    return bank, 0, metadata


def write(bank: Bank, tasks: Sequence[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The tensors of an adapter, and the fields of its configuration.

    Args:
        bank: of LoRA or (IA)³, of one task.
        tasks: the tasks it holds.

    Raises:
        UserError: several tasks; ranks, scales or places that differ between layers.
    """
    if len(tasks) != 1:
        raise UserError(
            f"PEFT keeps one task in an adapter, and the bank holds {len(tasks)}: choose one with "
            "--tasks=NAME."
        )
    from mpt_jax.backbone.formats import huggingface  # imports jax

    tensors, targets, inputs, ranks, scales = {}, set(), set(), set(), set()
    for name, leaf in bank.items():
        _, _, path = name.partition("/")
        module, _, kind = path.rpartition("/")
        theirs = huggingface.native_name(f"{module}/kernel").removesuffix(".weight")
        at, short = f"base_model.model.{theirs}", theirs.rpartition(".")[2]
        targets.add(short)
        if kind == "lora_scale":
            scales.add(leaf.item())
        elif kind in ("lora_a", "lora_b"):
            ranks.add(leaf.shape[2 if kind == "lora_a" else 1])
            tensors[f"{at}.lora_{kind[-1].upper()}.weight"] = leaf[0].T
        else:
            inputs |= {short} if kind == "ia3_input" else set()
            tensors[f"{at}.ia3_l"] = leaf if kind == "ia3_input" else leaf.T
    mixed = {name.split("/")[-2] for name in bank if name.endswith("/ia3_output")}
    mixed &= {name.split("/")[-2] for name in bank if name.endswith("/ia3_input")}
    if len(ranks) > 1 or len(scales) > 1 or mixed:
        raise UserError(
            "the ranks, scales or places of this adapter differ between its modules: only our own "
            "format holds it, --to=mpt_jax."
        )
    common = {"fan_in_fan_out": False, "modules_to_save": None, "target_modules": sorted(targets)}
    if not ranks:
        config = {"peft_type": IA3, "feedforward_modules": sorted(inputs), "init_ia3_weights": True}
    else:
        (rank,), (scale,) = ranks, scales
        config = {
            "bias": "none",
            "init_lora_weights": True,
            "lora_alpha": _alpha(scale, rank),
            "lora_dropout": 0.0,
            "peft_type": LORA,
            "r": rank,
        }
    found = {name: np.ascontiguousarray(x, np.float32) for name, x in tensors.items()}
    return found, {**common, **config}


def _is_lora(bank: Bank) -> bool:
    return any(name.endswith(("/lora_a", "/lora_b")) for name in bank)


def _leaf(file: str, name: str, kind: str, tensor: np.ndarray, kernel: tuple[int, ...]):
    """The leaf of a tensor by its name, after its shape was held against the kernel's [D, F]."""
    inputs, outputs = kernel
    shape = tensor.shape if tensor.ndim == 2 and tensor.size else (0, 0)
    if kind == "lora_A.weight" and shape[1] == inputs:
        return {"lora_a": tensor.T[None]}
    if kind == "lora_B.weight" and shape[0] == outputs:
        return {"lora_b": tensor.T[None]}
    if kind == "ia3_l" and shape == (outputs, 1):
        return {"ia3_output": tensor.T}
    if kind == "ia3_l" and shape == (1, inputs):
        return {"ia3_input": tensor}
    raise UserError(
        f"{file}: {name!r} has the shape {tensor.shape}, which does not fit a projection from "
        f"{inputs} to {outputs} numbers of the backbone."
    )


def _with_scales(
    folder: str, file: str, config: Mapping[str, Any], bank: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The bank with the scale of each A and B, which must be pairs."""
    rank, alpha, patterned = (config.get(n) for n in ("r", "lora_alpha", "rank_pattern"))
    if type(rank) is not int or rank < 1 or not _is_finite(alpha):
        raise UserError(f"{folder} has r = {rank!r} and lora_alpha = {alpha!r}: it is damaged.")
    found = dict(bank)
    for module in sorted({name.rpartition("/")[0] for name in bank}):
        a, b = (bank.get(f"{module}/lora_{x}") for x in "ab")
        if a is None or b is None or a.shape[2] != b.shape[1]:
            raise UserError(f"{file} has no A and B of one rank for {module}: it is damaged.")
        own = a.shape[2]
        if own != rank and not patterned:
            raise UserError(f"{file} has rank {own} for {module}, its configuration r = {rank}.")
        root = math.sqrt(own) if config.get("use_rslora") else own
        found[f"{module}/lora_scale"] = np.array([alpha / root], np.float32)
    return found


def _is_finite(number: Any) -> bool:
    return type(number) in (int, float) and math.isfinite(number)


def _alpha(scale: float, rank: int) -> float:
    """The lora_alpha that gives this float32 scale; a whole number if one does."""
    alpha = scale * rank
    whole = np.float32(round(alpha) / rank) == np.float32(scale)
    return round(alpha) if whole else alpha
