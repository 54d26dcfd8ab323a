"""A backbone with a task's LoRA or (IA)³ folded into its kernels: it serves without this package.

W + scale A B      LoRA, of y = x W
diag(l) W          (IA)³ of what a projection takes in
W diag(l)          (IA)³ of what it puts out
"""  # noqa: D208  (the list is of formulas)

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mpt_jax.backbone.tensor_file import Index, Tensor
from mpt_jax.backbone.weights import Weights
from mpt_jax.convert import convert_backbones, convert_prompts
from mpt_jax.errors import UserError
from mpt_jax.product.leaves import TASK_TREE

_FOLDED = ("lora_a", "lora_b", "lora_scale", "ia3_input", "ia3_output")


def convert(
    src: str,
    dst: str,
    to: str,
    backbone: str,
    tasks: Sequence[str] | None = None,
    dtype: str | None = None,
) -> str:
    """Write the backbone with the adapter of one task in it into the new folder `dst`.

    Args:
        src: product of LoRA or (IA)³, or such an adapter of PEFT.
        dst, to: as `convert_backbones.convert`.
        backbone: path of the backbone that it was trained on.
        tasks: the one to take; None where there is only one.
        dtype: of the stored weights; None: float32, for a smaller type rounds the change away.

    Returns:
        the new backbone's fingerprint.

    Raises:
        UserError: another method's product, several tasks, another backbone, or as
            `convert_backbones.convert`.
    """
    bank, info = convert_prompts.read(src, tasks, backbone)
    if not all(name.startswith(f"{TASK_TREE}/") and name.endswith(_FOLDED) for name in bank):
        raise UserError(
            f"{src} is of the method {info.method!r}: only LoRA and (IA)³ can be merged into a "
            "backbone."
        )
    if len(info.tasks) != 1:
        raise UserError(
            f"{src} holds the tasks {', '.join(info.tasks)}, and a backbone is merged with one: "
            "choose it with --tasks=NAME."
        )
    changes: dict[str, dict[str, np.ndarray]] = {}
    for name, leaf in bank.items():
        module, _, kind = name.removeprefix(f"{TASK_TREE}/").rpartition("/")
        changes.setdefault(f"{module}/kernel", {})[kind] = leaf[0]

    def merged(weights: Weights) -> Weights:
        for name in changes:
            if name not in weights.tensors:
                raise UserError(f"{src} adapts {name}, which the backbone {backbone} has not.")
        tensors = {
            name: _changed(name, tensor, changes[name]) if name in changes else tensor
            for name, tensor in weights.tensors.items()
        }
        return dataclasses.replace(weights, tensors=tensors).cast(dtype or "float32")

    return convert_backbones.convert(backbone, dst, to, change=merged)


def _changed(name: str, kernel: Tensor, change: Mapping[str, np.ndarray]) -> Tensor:
    """The kernel [D, F] with a change in it, computed in float64 as a part of it is read."""
    found = {kind: np.asarray(leaf, np.float64) for kind, leaf in change.items()}
    inputs, outputs = kernel.shape
    fits = {
        "lora_a": lambda shape: shape[:1] == (inputs,),
        "lora_b": lambda shape: shape[1:] == (outputs,),
        "lora_scale": lambda shape: shape == (),
        "ia3_input": lambda shape: shape == (inputs,),
        "ia3_output": lambda shape: shape == (outputs,),
    }
    for kind, leaf in found.items():
        if not fits[kind](leaf.shape):
            raise UserError(
                f"the {kind} of {name} has the shape {leaf.shape}, which does not fit its kernel "
                f"{kernel.shape} in the backbone."
            )

    def read(index: Index) -> np.ndarray:
        rows, columns = index
        values = kernel.read(index).astype(np.float64)
        if "lora_a" in found:
            values += found["lora_scale"] * (found["lora_a"][rows] @ found["lora_b"][:, columns])
        if "ia3_input" in found:
            values *= found["ia3_input"][rows, None]
        if "ia3_output" in found:
            values *= found["ia3_output"][columns]
        return values.astype(np.float32)

    return Tensor(kernel.shape, "float32", read, kernel.chunks)
