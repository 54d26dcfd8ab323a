"""The position of a tf.data iterator as an item of an orbax checkpoint.

Orbax knows arrays and JSON; this handler adds the iterator (shuffle buffers, generators and counts
included), so that a resumed run reads the same examples in the same order. Each process has its
own iterator and writes its own files. TensorFlow is imported only when there is one to save.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp


class DataPositionHandler(ocp.CheckpointHandler):
    """Writes and reads `tf.train.Checkpoint(iterator=...)`, synchronously.

    Not in the background: the position must be taken before the next batch is.
    """

    def save(self, directory: Path, args: "SaveDataPosition") -> None:
        """Writes this process's files into `directory`, which exists."""
        _tf_checkpoint(args.iterator).write(_prefix(directory))

    def restore(self, directory: Path, args: "RestoreDataPosition") -> Any:
        """Sets the given iterator to the saved position, and returns it."""
        _tf_checkpoint(args.iterator).read(_prefix(directory)).assert_consumed()
        return args.iterator


@ocp.args.register_with_handler(DataPositionHandler, for_save=True)
@dataclasses.dataclass
class SaveDataPosition(ocp.args.CheckpointArgs):
    """Saves the position of `iterator` (a tf.data iterator)."""

    iterator: Any


@ocp.args.register_with_handler(DataPositionHandler, for_restore=True)
@dataclasses.dataclass
class RestoreDataPosition(ocp.args.CheckpointArgs):
    """Sets `iterator`, of a pipeline built as the saved one was, to the saved position."""

    iterator: Any


def _tf_checkpoint(iterator: Any) -> Any:
    import tensorflow as tf

    return tf.train.Checkpoint(iterator=iterator)


def _prefix(directory: Path) -> str:
    return str(directory / f"process_{jax.process_index()}")
