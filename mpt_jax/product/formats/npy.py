"""One prompt [P, D] as a NumPy file, as google-research/prompt-tuning publishes and reads it.

There it is `numpy_checkpoints/checkpoint_STEP/encoder.prompt.prompt.prompt`, without a suffix. It
is mapped, so that a header that promises more than there is allocates nothing.
"""

import hashlib
import io
import os

import numpy as np

from mpt_jax import files
from mpt_jax.errors import UserError
from mpt_jax.product import tasks as bank_tasks
from mpt_jax.product.description import ProductInfo
from mpt_jax.product.formats import foreign
from mpt_jax.product.leaves import Bank

MAGIC = b"\x93NUMPY"
DIGEST = ".sha256"  # after the name of the file that it is the digest of
_DTYPES = ("<f4", "<f2")  # both of which float32 holds without loss


def read(path: str, task: str, backbone: str) -> tuple[Bank, ProductInfo]:
    """The prompt of a NumPy file as the bank of one task.

    Args:
        path: the file.
        task: its name.
        backbone: path of the backbone that it was trained on.

    Returns:
        `task_prompts` [1, P, D] float32, and its description.

    Raises:
        UserError: no NumPy file, damaged, no float prompt [P, D], or of another backbone.
    """
    try:
        _check_digest(path)
        prompt = _array(path)
    except Exception as error:  # whatever NumPy says of a damaged header
        raise UserError(f"{path} is not a NumPy file of a prompt [P, D]: {error}.") from error
    bank = {"task_prompts": prompt[None]}
    return bank, foreign.describe(path, bank, [task], backbone)


def write(path: str, bank: Bank, info: ProductInfo) -> None:
    """Write the composed prompt of a bank of one task, or the one that all tasks share.

    Its digest goes next to it, as `sha256sum --check PATH.sha256` reads it: the format has no place
    for one.

    Args:
        path: the file.
        bank: its leaves.
        info: its description.

    Raises:
        UserError: more than one prompt, or the file cannot be written.
    """
    bank_tasks.check_expressible(bank, info)
    if len(info.tasks) > 1 and bank.keys() != {"shared"}:
        raise UserError(
            f"a NumPy file holds one prompt, and the bank {len(info.tasks)}: choose one with "
            "--tasks=NAME."
        )
    if "task_prompts" in bank:
        prompt = bank["task_prompts"][0]
    else:
        prompt = bank["shared"]
        if "task_u" in bank:
            prompt = prompt * (bank["task_u"][0] @ bank["task_v"][0])
    content = io.BytesIO()
    np.save(content, np.ascontiguousarray(prompt, np.float32), allow_pickle=False)
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    noted = f"{digest}  {os.path.basename(path)}\n"
    files.write_together({path + DIGEST: noted, path: content.getvalue()}, setting="")


def _check_digest(path: str) -> None:
    """Raises a ValueError if the file has a digest next to it that differs from its own."""
    if not os.path.isfile(path + DIGEST):
        return
    with open(path + DIGEST, "rb") as noted, open(path, "rb") as stream:
        if noted.read(64).lower() != hashlib.file_digest(stream, "sha256").hexdigest().encode():
            raise ValueError(f"its digest is not that of {path}{DIGEST}: copy both again")


def _array(path: str) -> np.ndarray:
    """The array [P, D] float32 of a file; raises a ValueError if it has none."""
    mapped = np.lib.format.open_memmap(path, mode="r")  # Python objects cannot be mapped
    if mapped.dtype.str not in _DTYPES:
        raise ValueError(f"its dtype is {mapped.dtype.str!r}, save it as float32")
    if mapped.ndim != 2 or not mapped.size:
        raise ValueError(f"its shape is {mapped.shape}")
    if mapped.offset + mapped.nbytes != os.path.getsize(path):
        raise ValueError(f"it is too long for its shape {mapped.shape}")
    return np.array(mapped, np.float32, order="C")
