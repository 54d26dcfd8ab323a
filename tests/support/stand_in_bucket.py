"""A bucket `gs://` that is a folder: what Python and native code read and write there is led to it.

Three things reach a real bucket in a run: TensorFlow's file functions (behind etils.epath, event
files), TensorFlow's checkpoints of iterators, and tensorstore (the arrays of a checkpoint). Each is
redirected where it leaves Python. Whatever writes otherwise, by `open` or `os`, makes a local
folder named `gs:` in the working directory, or fails.
"""

import os
import pathlib

import tensorflow as tf
from orbax.checkpoint._src.path import gcs_utils
from tensorflow.python.lib.io import file_io
from tensorflow.python.util import compat

_PREFIX = "gs://"


def install(folder: pathlib.Path, monkeypatch) -> None:
    """Make `folder` the place of all buckets: `gs://a/b` is `folder/a/b`."""

    def place(path) -> str:
        text = os.fsdecode(path)
        return f"{folder}/{text.removeprefix(_PREFIX)}" if text.startswith(_PREFIX) else text

    for name in ("path_to_bytes", "path_to_str"):
        monkeypatch.setattr(compat, name, _led(getattr(compat, name), place))

    def matching(pattern):
        found = file_io.get_matching_files(place(pattern))
        return [name.replace(f"{folder}/", _PREFIX, 1) for name in found]

    monkeypatch.setattr(tf.io.gfile, "glob", matching)
    monkeypatch.setattr(tf.io, "TFRecordWriter", _led(tf.io.TFRecordWriter, place))
    for name in ("write", "read"):
        native = getattr(tf.train.Checkpoint, name)
        monkeypatch.setattr(tf.train.Checkpoint, name, _led(native, place, position=1))

    monkeypatch.setattr(
        gcs_utils, "get_kvstore_for_gcs", lambda path: {"driver": "file", "path": place(path)}
    )
    # Asked of the bucket by Google's client, which is not installed for the tests.
    monkeypatch.setattr(gcs_utils, "is_hierarchical_namespace_enabled", lambda path: False)


def _led(function, place, position=0):
    """`function` with its path argument, where that is one, led to the folder."""

    def run(*args, **kwargs):
        args = list(args)
        if len(args) > position and isinstance(args[position], (str, bytes, os.PathLike)):
            args[position] = place(args[position])
        return function(*args, **kwargs)

    return run
