"""The product of a run: a safetensors file that carries its description.

What it holds decides its name, in the folder of the run: `prompts.safetensors`, a prompt bank;
`adapter.safetensors`, other parameters by their path; or the whole backbone,
`backbone/model.safetensors`. Of the first two, a `.json` next to it shows people the description.
"""

import os
from collections.abc import Sequence

import numpy as np
import safetensors
from etils import epath

from mpt_jax import files
from mpt_jax.backbone import tensor_file
from mpt_jax.errors import UserError
from mpt_jax.product import description
from mpt_jax.product.description import FORMAT, ProductInfo
from mpt_jax.product.leaves import AXES, Bank, is_per_task, rows_of

PROMPTS = "prompts.safetensors"
ADAPTER = "adapter.safetensors"
BACKBONE_FOLDER = "backbone"


def resolve(path: str) -> str:
    """The `.safetensors` file for a path that names it, or the run folder that holds it.

    Raises:
        UserError: neither is there.
    """
    names = (PROMPTS, ADAPTER, f"{BACKBONE_FOLDER}/model.safetensors")
    places = [os.path.join(path, name) for name in names] if epath.Path(path).is_dir() else [path]
    file = next((place for place in places if epath.Path(place).is_file()), None)
    if file is not None and file.endswith(".json"):
        raise UserError(
            f"{file} is the description of a prompt file: give the {PROMPTS} there, or its folder."
        )
    if file is None:
        raise UserError(
            f"no prompt file at {path!r}: give a {PROMPTS} or the folder of a finished run "
            "(source prompts are made by `t5x train --gin_file=gin/mpt_source.gin`)."
        )
    return file


def name_for(bank: Bank) -> str:
    """The name of the file of a product that is not a backbone."""
    return ADAPTER if any("/" in name for name in bank) else PROMPTS


def destination(path: str, bank: Bank) -> str:
    """The `.safetensors` file to write for a path that names it, or the folder to put it in."""
    return path if path.endswith(".safetensors") else os.path.join(path, name_for(bank))


def save(
    directory: str,
    bank: Bank,
    info: ProductInfo,
    name: str = PROMPTS,
    *,
    improved: Sequence[str] | None = None,
    setting: str = "MODEL_DIR",
) -> str:
    """Write both files into `directory`, as one; returns the safetensors path.

    The description travels in the safetensors header too, so that the two cannot be mismatched;
    `prompts.json` is the copy for people.

    Args:
        directory: made where it is missing.
        bank: the tensors by name, on this host.
        info: their description.
        name: of the safetensors file.
        improved: the tasks whose rows are written; the others keep those of the file that is there.
            None: all.
        setting: as in `files.write_whole`.

    Raises:
        UserError: they cannot be written, or the file whose rows are to be kept does not load.
    """
    path = os.path.join(directory, name)
    if improved is not None and len(improved) < len(info.tasks):
        bank = _updated(path, bank, info, improved)
    tensors = {name: np.asarray(leaf, np.float32, order="C") for name, leaf in bank.items()}
    content = tensor_file.to_bytes(tensors, description.header(info))
    text = files.to_json(description.as_json_object(info), indent=2) + "\n"
    shown = f"{os.path.splitext(path)[0]}.json"
    files.write_together({shown: text, path: content}, setting=setting)
    return path


def _updated(path: str, bank: Bank, info: ProductInfo, improved: Sequence[str]) -> Bank:
    """The bank, with the rows of the file at `path` for tasks that did not improve."""
    before, _ = load(path)
    updated, rows = dict(bank), rows_of(info.tasks, improved)
    for name in filter(is_per_task, bank):
        updated[name] = before[name].copy()
        updated[name][rows] = bank[name][rows]
    return updated


def load(path: str) -> tuple[dict[str, np.ndarray], ProductInfo]:
    """Read a prompt file (or the run folder that holds one).

    Returns:
        the tensors by name, float32, those of a bank shaped as in `prompts`, and the description.

    Raises:
        UserError: no file, truncated, damaged, another format, values that are not finite, or
            leaves that do not fit the description.
    """
    file = resolve(path)
    try:
        content = epath.Path(file).read_bytes()
        bank, metadata = tensor_file.content_of(content)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise UserError(
            f"{file} is truncated or corrupted ({error}): restore it from a copy, or train again."
        ) from error
    try:
        info = description.from_header(metadata)
    except ValueError as error:
        raise UserError(
            f"{file} is a safetensors file but not a prompt file of mpt_jax (format {FORMAT})."
        ) from error
    _check_shapes(file, bank, info)
    description.check_bounds(file, info)
    return bank, info


def tasks_in(file: str) -> tuple[str, ...] | None:
    """The tasks of a product, of which only the header is read; None where that is damaged.

    Args:
        file: as `resolve` gives it, on a disk.
    """
    try:
        with safetensors.safe_open(file, framework="np") as handle:
            return description.from_header(handle.metadata() or {}).tasks
    except (safetensors.SafetensorError, OSError, ValueError):
        return None


def _check_shapes(file: str, bank: Bank, info: ProductInfo) -> None:
    sizes = {
        "tasks": len(info.tasks),
        "prompt_length": info.length,
        "embed": info.width,
        "rank": info.rank,
    }
    for name, leaf in sorted(bank.items()):
        if leaf.dtype != np.float32:
            raise UserError(f"{file} is corrupted: {name!r} is {leaf.dtype}, not float32.")
        if not np.isfinite(leaf).all():
            raise UserError(
                f"{file} holds values that are not finite, in {name!r}: restore it from a copy, or "
                "train again."
            )
        if name not in AXES:  # the method's own: the rest is checked where it is put to use
            if is_per_task(name) and leaf.shape[:1] != (len(info.tasks),):
                raise UserError(
                    f"{file} is corrupted: {name!r} has shape {leaf.shape}, and there are "
                    f"{len(info.tasks)} tasks."
                )
            continue
        expected = tuple(sizes[axis] for axis in AXES[name])
        if leaf.shape != expected:
            raise UserError(
                f"{file} is corrupted: {name!r} has shape {leaf.shape}, its description says "
                f"{expected}."
            )
    if not bank:
        raise UserError(f"{file} holds no prompt.")
