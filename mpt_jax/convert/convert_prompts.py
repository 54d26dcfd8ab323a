"""Prompts, LoRA and (IA)³ from one format into another: our file, PEFT's adapters, NumPy files."""

import os
from collections.abc import Sequence

import safetensors

from mpt_jax import files
from mpt_jax.errors import UserError
from mpt_jax.product import belonging, description, product_file
from mpt_jax.product import tasks as bank_tasks
from mpt_jax.product.description import ProductInfo
from mpt_jax.product.formats import foreign, npy, peft
from mpt_jax.product.leaves import Bank

OURS, PEFT, NPY = FORMATS = ("mpt_jax", "peft", "npy")
# How the names of pickled backbones begin.
_OF_BACKBONES = ("pytorch_model", "model")


def format_of(src: str) -> str | None:
    """The format of the prompts at `src`, told by its files; None: there are none.

    A pickle counts as what it would be, so that it is refused with the way out. In a bucket (gs://)
    only our own files are known, by their name.
    """
    if "://" in src:
        return OURS if src.endswith((product_file.PROMPTS, product_file.ADAPTER)) else None
    name = os.path.basename(src)
    if os.path.isdir(src):
        for file, found in (
            (peft.CONFIG, PEFT),
            (product_file.PROMPTS, OURS),
            (product_file.ADAPTER, OURS),
        ):
            if os.path.exists(os.path.join(src, file)):
                return found
        return None
    if not os.path.isfile(src):
        return None
    if name == peft.CONFIG or name.startswith("adapter_model."):
        return PEFT
    if name.endswith(".safetensors"):
        return OURS if _is_product(src) else None
    if name.endswith(foreign.PICKLES):
        return None if name.startswith(_OF_BACKBONES) else NPY
    try:
        with open(src, "rb") as stream:
            found = stream.read(len(npy.MAGIC)) == npy.MAGIC
    except OSError:
        return None
    return NPY if found or name.endswith(".npy") else None


def convert(
    src: str, dst: str, to: str, tasks: Sequence[str] | None = None, backbone: str | None = None
) -> None:
    """Write the prompts at `src` to `dst` in the format `to`.

    Args:
        src: a prompt file or run folder, an adapter's folder, a NumPy file.
        dst: a prompt file or the folder for it; an adapter's folder; a file NAME.npy.
        to: one of `FORMATS`.
        tasks: of our prompts, those to write; of others, the names of all.
        backbone: path of the backbone that others' prompts were trained on.

    Raises:
        UserError: nothing that is read or written here, and what to do instead.
    """
    if to not in FORMATS:
        raise UserError(f"{src} holds prompts; they are written --to={', '.join(FORMATS)}.")
    bank, info = read(src, tasks, backbone)
    if to == OURS and dst.endswith(".safetensors"):
        directory, name = os.path.split(dst)
        product_file.save(directory, bank, info, name, setting="")
    elif to == OURS:
        with files.new_folder(dst) as folder:
            name = product_file.name_for(bank)
            product_file.save(os.fspath(folder), bank, info, name, setting="")
    elif to == PEFT:
        peft.write(dst, bank, info)
    elif dst.endswith(".npy"):
        npy.write(dst, bank, info)
    else:
        raise UserError(f"{dst} must be the name of a NumPy file: call it {dst.rstrip('/')}.npy.")


def read(src: str, tasks: Sequence[str] | None, backbone: str | None) -> tuple[Bank, ProductInfo]:
    """The prompts at `src`, or its adapters of tasks; arguments and errors as `convert`."""
    found = format_of(src)
    if found == OURS:
        return _read_ours(src, tasks, backbone)
    foreign.refuse_pickle(src, peft.WEIGHTS if found == PEFT else f"{os.path.splitext(src)[0]}")
    if found is None:
        raise UserError(
            f"{src} holds no prompts: give a prompt file or run folder, the folder of an adapter "
            f"({peft.CONFIG}) or a NumPy file."
        )
    if backbone is None:
        raise UserError(
            f"{src} does not say which backbone it was trained on: name it with --backbone=PATH."
        )
    if found == PEFT:
        return peft.read(src, tasks, backbone)
    if tasks and len(tasks) > 1:
        raise UserError(f"{src} holds the prompt of one task, and --tasks names {len(tasks)}.")
    return npy.read(src, tasks[0] if tasks else "task_0", backbone)


def _read_ours(src: str, tasks: Sequence[str] | None, backbone: str | None):
    bank, info = product_file.load(src)
    bank_tasks.check_is_bank(src, bank, info)
    if backbone is not None:
        from mpt_jax.backbone.formats import backbones  # imports jax

        config = backbones.config_of(backbone)
        sizes = (config.emb_dim, config.vocab_size)
        belonging.check_backbone(src, info, *sizes, *backbones.identify(backbone))
        belonging.check_arithmetic(src, info, config.arithmetic)
    return bank_tasks.choose(bank, info, tasks) if tasks else (bank, info)


def _is_product(file: str) -> bool:
    """Whether a safetensors file is of a run that tuned something else than the whole backbone."""
    try:
        with safetensors.safe_open(file, framework="np") as handle:
            info = description.from_header(handle.metadata() or {})
    except (safetensors.SafetensorError, OSError, ValueError):
        return os.path.basename(file) in (product_file.PROMPTS, product_file.ADAPTER)
    return info.method != "full"
