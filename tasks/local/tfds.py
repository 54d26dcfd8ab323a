"""Reads the rows of a dataset that TFDS has prepared, from its folder and without any network."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from mpt_jax.errors import UserError, did_you_mean
from mpt_jax.tasks.local.template import BadRow, NumberedRows, RawRow


def read_tfds(folder: pathlib.Path, split: str) -> NumberedRows:
    """The rows of a split ("train", "train[:90%]"), numbered from 1; never downloads.

    Raises:
      UserError: no prepared dataset there, no such split, a damaged file.
    """
    builder = _builder(folder)
    try:
        rows = builder.as_dataset(split=split, shuffle_files=False)
    except (ValueError, AssertionError) as error:
        known = list(builder.info.splits)
        raise UserError(
            f"cannot read the split {split!r} of {folder}, which has {', '.join(known)}"
            f"{did_you_mean(split, known)}: {str(error).splitlines()[0]}"
        ) from error
    try:
        for number, row in enumerate(rows.as_numpy_iterator(), 1):
            yield number, _row(row)
    except tf.errors.OpError as error:
        raise UserError(f"{folder} is damaged: {error.message}. Prepare it again.") from error


def _builder(folder: pathlib.Path) -> tfds.core.DatasetBuilder:
    if not (folder / "dataset_info.json").is_file():
        below = sorted(str(found.parent) for found in folder.glob("*/**/dataset_info.json"))
        hint = f" Perhaps one of these: {', '.join(below[:3])}." if below else ""
        raise UserError(
            f"there is no prepared TFDS dataset in {folder}: no dataset_info.json. Name the folder "
            f"of the dataset's version, as in my_dataset/1.0.0.{hint}"
        )
    return tfds.builder_from_directory(folder)


def _row(row: Mapping[str, Any]) -> RawRow | BadRow:
    try:
        return {field: _plain(value) for field, value in row.items()}
    except UnicodeDecodeError:
        return BadRow("its text is not UTF-8")


def _plain(value: Any) -> Any:
    """What JSON would hold for a value of TFDS: text, true/false, list, object, number as text."""
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {field: _plain(item) for field, item in value.items()}
    return bool(value) if isinstance(value, np.bool_) else str(value)
