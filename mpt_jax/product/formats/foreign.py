"""What all readers of other people's prompts need: no pickle, bounded files, a description."""

import dataclasses
import os
from collections.abc import Collection, Sequence

import numpy as np

from mpt_jax.backbone import tensor_file
from mpt_jax.errors import UserError, did_you_mean
from mpt_jax.product.description import TASK_NAME, ProductInfo
from mpt_jax.product.leaves import Bank, is_per_task

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")


def refuse_pickle(path: str, target: str) -> None:
    """Refuse a file that only torch reads, with the way to make `target` of it (UserError)."""
    if path.endswith(PICKLES):
        raise UserError(
            f"{path} is a pickle, which may run any program when it is read. If you trust it: "
            f"tensors = torch.load({os.path.basename(path)!r}, weights_only=True), then "
            f"safetensors.torch.save_file(tensors, {target!r}), or numpy.save of one prompt [P, D]."
        )


def read_tensors(
    file: str, names: Collection[str] | None = None
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors of a safetensors file as float32, and the free-form part of its header.

    Args:
        file: on a disk.
        names: of the tensors, which must be there and no others; None: any.

    Raises:
        UserError: damaged, a missing or extra tensor, or one that float32 cannot hold.
    """
    found, metadata = tensor_file.open_file(file)
    names = found.keys() if names is None else names
    for name in sorted(set(names) ^ found.keys()):
        what = "lacks the tensor" if name in names else "holds an extra tensor"
        raise UserError(f"{file} {what} {name!r}.{did_you_mean(name, found)}")
    for name, tensor in found.items():
        if tensor.dtype not in tensor_file.DTYPES:
            raise UserError(
                f"{file}: the tensor {name!r} is {tensor.dtype}, not one of "
                f"{', '.join(tensor_file.DTYPES)}: save it as float32."
            )
    return {name: found[name].whole().astype(np.float32) for name in names}, metadata


def describe(
    path: str,
    bank: Bank,
    tasks: Sequence[str] | None,
    backbone: str,
    told: ProductInfo | None = None,
) -> ProductInfo:
    """The description of prompts that another program has made or kept.

    Args:
        path: its file, for messages.
        bank: `shared`, `task_u`, `task_v`, or `task_prompts`, on this host.
        tasks: names of its K tasks; None: as `told`, else task_0, task_1, ...
        backbone: path of the backbone that it was trained on.
        told: the description in a file that we wrote.

    Raises:
        UserError: values that are not finite, other names than tasks, another width than the
            backbone's, or no backbone.
    """
    length, width = (bank["shared"] if "shared" in bank else bank["task_prompts"][0]).shape
    rank = bank["task_u"].shape[2] if "task_u" in bank else 0
    method = "mpt" if rank else "prompt_tuning"
    return describe_as(path, method, (length, width, rank), bank, tasks, backbone, told)


def describe_as(
    path: str,
    method: str,
    sizes: tuple[int, int | None, int],
    bank: Bank,
    tasks: Sequence[str] | None,
    backbone: str,
    told: ProductInfo | None = None,
) -> ProductInfo:
    """As `describe`, of what `method` trains.

    Args:
        sizes: P, D (None: the backbone's) and R.
    """
    for name, leaf in bank.items():
        if not np.isfinite(leaf).all():
            raise UserError(f"{path} is damaged: {name!r} holds values that are not finite.")
    count = next(len(leaf) for name, leaf in bank.items() if is_per_task(name))
    names = tuple(tasks or [f"task_{i}" for i in range(count)])
    _check_names(path, names, count)

    from mpt_jax.backbone.formats import backbones  # imports jax

    config = backbones.config_of(backbone)
    length, width, rank = sizes
    found = ProductInfo(
        method=method,
        tasks=names,
        length=length,
        width=config.emb_dim if width is None else width,
        rank=rank,
        vocabulary_size=0,
        backbone="",
        feature_lengths={},
        label_words={},
        input_forms={},
        step=0,
        metrics={},
    )
    if told is not None and tasks is None and _sizes(told) == _sizes(found):
        found = told
    if found.width != config.emb_dim:
        raise UserError(
            f"{path} holds prompts of width {found.width}, the backbone {backbone} has "
            f"{config.emb_dim}: give the backbone that they were trained on with --backbone=PATH."
        )
    identity = backbones.identify(backbone)
    return dataclasses.replace(
        found,
        vocabulary_size=config.vocab_size,
        backbone=identity.fingerprint,
        backbone_bits=identity.bits,
        arithmetic=config.arithmetic,
    )


def _sizes(info: ProductInfo) -> tuple[int, ...]:
    return len(info.tasks), info.length, info.width, info.rank


def _check_names(path: str, names: Sequence[str], count: int) -> None:
    if len(names) != count or len(set(names)) < count:
        raise UserError(
            f"{path} holds the prompts of {count} task{'s' * (count != 1)}, and --tasks names "
            f"{len(set(names))}: name each of them, in their order."
        )
    for name in names:
        if not TASK_NAME.fullmatch(name):
            raise UserError(f"{name!r} is not a task name: use letters, digits and _ . : -")
