"""One prompt [P, D] as a NumPy file, as google-research/prompt-tuning publishes and reads it.

There it is `numpy_checkpoints/checkpoint_STEP/encoder.prompt.prompt.prompt`, without a suffix. Read
here without NumPy's own reader, which evaluates a header as Python and allocates what it asks for.
"""

import hashlib
import io
import os
import re

import numpy as np

from mpt_jax import files
from mpt_jax.errors import UserError
from mpt_jax.product import tasks as bank_tasks
from mpt_jax.product.formats import foreign
from mpt_jax.product.leaves import Bank
from mpt_jax.product.prompt_file import PromptInfo

MAGIC = b"\x93NUMPY"
DIGEST = ".sha256"  # after the name of the file that it is the digest of
_DTYPES = {"<f4": np.float32, "<f2": np.float16}  # both of which float32 holds without loss
_HEADER = re.compile(
    r"\{'descr': '(?P<dtype>[^']*)', 'fortran_order': (?P<columns>True|False), "
    r"'shape': \((?P<shape>[\d, ]*)\), \} *\n"
)
_LARGEST_HEADER = 10_000


def read(path: str, task: str, backbone: str) -> tuple[Bank, PromptInfo]:
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
        with open(path, "rb") as stream:
            prompt = _array(stream, os.path.getsize(path))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a NumPy file of a prompt [P, D]: {error}.") from error
    bank = {"task_prompts": prompt[None]}
    return bank, foreign.describe(path, bank, [task], backbone)


def write(path: str, bank: Bank, info: PromptInfo) -> None:
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


def _array(stream: io.BufferedReader, size: int) -> np.ndarray:
    """The array [P, D] float32 of a file of `size` bytes; raises a ValueError if it has none."""
    start = stream.read(8)
    if start[:6] != MAGIC or len(start) < 8 or start[6] not in (1, 2, 3):
        raise ValueError("its first bytes are others")
    length = int.from_bytes(stream.read(2 if start[6] == 1 else 4), "little")
    if length > _LARGEST_HEADER:
        raise ValueError(f"a header of {length:,} bytes")
    match = _HEADER.fullmatch(stream.read(length).decode("latin-1"))
    if match is None:
        raise ValueError("its header is damaged")
    if match["dtype"] not in _DTYPES:
        raise ValueError(f"its dtype is {match['dtype']!r}, save it as float32")
    shape = tuple(int(n) for n in match["shape"].replace(" ", "").split(",") if n)
    if len(shape) != 2 or not all(shape):
        raise ValueError(f"its shape is {shape}")
    dtype = np.dtype(_DTYPES[match["dtype"]])
    if shape[0] * shape[1] * dtype.itemsize != size - stream.tell():
        raise ValueError(f"it is cut off or too long for its shape {shape}")
    flat = np.frombuffer(stream.read(), dtype).astype(np.float32)
    return flat.reshape(shape, order="F" if match["columns"] == "True" else "C")
