"""A backbone from one format into another, one tensor in memory at a time."""

import os
import re
from collections.abc import Callable

from mpt_jax import files
from mpt_jax.backbone import store
from mpt_jax.backbone.config import T5Config
from mpt_jax.backbone.formats import backbones, huggingface, vocabularies
from mpt_jax.backbone.weights import Weights
from mpt_jax.errors import UserError


def convert(
    src: str,
    dst: str,
    to: str,
    dtype: str | None = None,
    change: Callable[[Weights], Weights] = lambda weights: weights,
) -> str:
    """Writes the backbone at `src` into the new folder `dst`, whole or not at all.

    The numbers are those of `src`, bit for bit where `dtype` is None. The vocabulary next to it is
    copied. Of config.json only the fields of `T5Config` are kept.

    Args:
        src: as INITIAL_CHECKPOINT_PATH.
        dst: absent, or an empty folder; for T5X it is named `checkpoint_<step>`.
        to: "mpt_jax", "huggingface" or "t5x".
        dtype: of the stored weights; None: as they are.
        change: what is done to the weights on the way.

    Returns:
        its fingerprint.

    Raises:
        UserError: `src` is not a whole backbone, `dst` is taken or cannot be written.
    """
    step = _step(dst) if to == "t5x" else None
    found = backbones.open_weights(src)
    config = backbones.checked(found)
    source = backbones.folder_of(src)
    if vocabularies.is_there(source):
        vocabulary = vocabularies.find(source, config.vocab_size)
        config = vocabularies.with_end(config, vocabulary)
    found = change(found)
    found = found.cast(dtype) if dtype else found
    fingerprint = store.identify_weights(found).fingerprint  # reads and checks every value
    with files.new_folder(dst) as folder:
        _write(os.fspath(folder), found, config, to, step)
        vocabularies.copy(source, os.fspath(folder))
    return fingerprint


def _step(dst: str) -> int:
    name = os.path.basename(os.path.abspath(dst))
    if not (match := re.fullmatch(r"checkpoint_(\d{1,9})", name, re.ASCII)):
        raise UserError(
            f"T5X takes the step from the name of a checkpoint: call DST {dst}/checkpoint_0."
        )
    return int(match[1])


def _write(folder: str, found: Weights, config: T5Config, to: str, step: int | None) -> None:
    if to == "mpt_jax":
        store.write(folder, found.tensors, config)
    elif to == "huggingface":
        huggingface.write(folder, found, config)
    else:
        from mpt_jax.backbone.formats import t5x_legacy

        t5x_legacy.write(folder, found, step)
        store.write_config(folder, config)  # T5X reads past it; the way back needs it
