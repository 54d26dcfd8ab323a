"""Checkpoints of a run: what trains, its optimizer's state, the step, and the data's position.

Orbax writes them in the background and makes them visible by a rename when they are whole, so a
killed run leaves no half checkpoint. The frozen backbone is not in them.

    <directory>/checkpoint_<step>/state   one array per leaf of the TrainState
                                 /sums    JSON: a checksum per array
                                 /data    the tf.data iterator (one file set per process)
"""

import dataclasses
import functools
import logging
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from etils import epath

from mpt_jax import files, hosts
from mpt_jax.engine.data.position import DataPositionHandler, RestoreDataPosition, SaveDataPosition
from mpt_jax.engine.initialize import RestoreCheckpointConfig
from mpt_jax.errors import UserError

_STATE, _SUMS, _DATA = "state", "sums", "data"


@dataclasses.dataclass(frozen=True)
class SaveCheckpointConfig:
    """How often to save, and how much to keep.

    Attributes:
        period: steps between checkpoints; None: no checkpoint at all, as in T5X.
        keep: the number of newest checkpoints that stay; None: all.
    """

    period: int | None
    keep: int | None = 2  # one damaged file then costs a period, not the run

    def __post_init__(self):
        for name in ("period", "keep"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int) and value >= 1):
                raise UserError(
                    f"utils.SaveCheckpointConfig.{name} must be a whole number of at least 1, or "
                    f"None; got {value!r}."
                )


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """Saving and restoring in one, as T5X binds it; `save` None: no checkpoints."""

    save: SaveCheckpointConfig | None
    restore: RestoreCheckpointConfig | None = None


class _CorruptError(UserError):
    """A checkpoint that cannot be read, where one of another run is plain bad input."""


class Checkpointer:
    """Saves and restores a run's state under one directory.

    A failure of a save in the background is raised by the next call of any method.
    """

    def __init__(self, directory: str | os.PathLike, save_cfg: SaveCheckpointConfig):
        """Opens the directory, which is made if it does not exist.

        Raises:
            UserError: it cannot be made or read; it is in a bucket, without Google's client.
        """
        self.directory = files.absolute(directory)
        self._unreadable: list[int] = []
        _silence_orbax()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=save_cfg.keep, step_prefix="checkpoint", cleanup_tmp_directories=True
        )
        handlers = {
            _STATE: ocp.StandardCheckpointHandler(),
            _SUMS: ocp.JsonCheckpointHandler(),
            _DATA: DataPositionHandler(),
        }
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._manager = ocp.CheckpointManager(
                self.directory, options=options, item_handlers=handlers
            )
        except ImportError as error:
            raise UserError(
                f"{self.directory} is in a bucket, and what orbax reads it with is not installed "
                f"({error}): pip install google-cloud-storage."
            ) from error
        except files.storage_errors() as error:
            raise UserError(
                f"Cannot use {self.directory} for checkpoints: {_cause(error)}. Choose a MODEL_DIR"
                " that can be written."
            ) from error

    def save(self, step: int, state: Any, data_iterator: Any = None) -> None:
        """Saves in the background; a step that is saved already is left as it is.

        The state may be donated and the iterator advanced as soon as this returns.

        Args:
            step: number of steps taken.
            state: TrainState (any pytree of arrays).
            data_iterator: tf.data iterator whose position is saved.

        Raises:
            UserError: this or an earlier checkpoint could not be written.
        """
        leaves = _named_leaves(state)
        items = {
            _STATE: ocp.args.StandardSave(leaves),
            _SUMS: ocp.args.JsonSave(_checksums(leaves)),
        }
        if data_iterator is not None:
            items[_DATA] = SaveDataPosition(data_iterator)
        self._wait()
        try:
            while self._unreadable:  # the run has gone on without them
                self._manager.delete(self._unreadable.pop())
            if step in self._manager.all_steps():
                return
            self._manager.save(step, args=ocp.args.Composite(**items), force=True)
        except Exception as error:  # orbax and tensorstore raise many types for one full disk
            raise self._write_error(error) from error

    def latest_step(self) -> int | None:
        """The newest checkpoint's step, or None."""
        self._wait()
        return self._manager.latest_step()

    def resume(self, state_like: Any, tf_iterator: Any) -> tuple[int, Any]:
        """Reads the newest checkpoint that can be read, and says which ones cannot.

        Those are removed with the next save. Every process gets the same one.

        Args:
            state_like: as in `restore`.
            tf_iterator: as in `restore_iterator`.

        Returns:
            (step, state).

        Raises:
            UserError: none can be read, or none fits the state.
        """
        self._wait()
        first = None
        for step in sorted(self._manager.all_steps(), reverse=True):
            failure = None
            try:
                state = self.restore(state_like, step)
                self.restore_iterator(tf_iterator, step)
            except UserError as error:
                failure = error
            if not hosts.agree_on_any(failure is not None):
                if first is not None:
                    hosts.note(f"{first} Going on from {self._folder(step).name}, before it.")
                return step, state
            self._unreadable.append(step)
            first = first or failure or UserError("another process cannot read its checkpoint.")
        if isinstance(first, _CorruptError):
            raise UserError(
                f"{first} No earlier one can be used either: put back a copy of one, or start "
                "again with another MODEL_DIR."
            )
        raise first or UserError(f"There is no checkpoint in {self.directory}.")

    def restore(self, state_like: Any, step: int) -> Any:
        """Reads a checkpoint, bit for bit.

        Args:
            state_like: the state's structure: arrays, or ShapeDtypeStructs with shardings; the
                restored leaves lie as these do.
            step: of a checkpoint that is there.

        Returns:
            the state.

        Raises:
            UserError: it is truncated or corrupt, or holds other leaves or shapes than the state.
        """
        self._wait()
        wanted = _named_leaves(state_like)
        target = {
            name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
            for name, leaf in wanted.items()
        }
        try:
            saved = self._manager.item_metadata(step)[_STATE].tree
        except Exception as error:  # whatever a parser says of a broken file
            raise self._corrupt(step, _cause(error)) from error
        self._check_leaves(step, saved, wanted)
        try:
            items = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(target), sums=ocp.args.JsonRestore()
                ),
            )
            leaves, checksums = items[_STATE], dict(items[_SUMS])
        except Exception as error:  # as above
            raise self._corrupt(step, _cause(error)) from error
        for name, checksum in _checksums(leaves).items():
            if checksums.get(name) != checksum:
                raise self._corrupt(step, f"the checksum of {name} differs")
        tree = jax.tree.structure(state_like)
        return tree.unflatten([leaves[name] for name in wanted])

    def restore_iterator(self, tf_iterator: Any, step: int) -> None:
        """Sets a tf.data iterator to the saved position.

        Args:
            tf_iterator: iterator of a pipeline built as the saved one was.
            step: of a checkpoint that is there.

        Raises:
            UserError: its data position cannot be read.
        """
        self._wait()
        try:
            self._manager.restore(
                step, args=ocp.args.Composite(data=RestoreDataPosition(tf_iterator))
            )
        except Exception as error:  # as above, and TensorFlow's own types
            cause = f"data position: {_cause(error)}; another version of mpt_jax or TensorFlow may"
            raise self._corrupt(step, f"{cause} have written it") from error

    def close(self) -> None:
        """Waits for the save in the background."""
        self._wait()
        self._manager.close()

    def _wait(self) -> None:
        try:
            self._manager.wait_until_finished()
        except Exception as error:  # as in `save`
            raise self._write_error(error) from error

    def _check_leaves(self, step: int, saved: dict[str, Any], wanted: dict[str, Any]) -> None:
        """Refuses a checkpoint of another configuration before a byte of it is read."""
        remedy = "Resume with the configuration that wrote it, or choose another MODEL_DIR."
        if differing := sorted(saved.keys() ^ wanted.keys()):
            name = differing[0]
            where = "lacks" if name in wanted else "holds, and this run does not know,"
            raise UserError(
                f"{self._folder(step)} {where} {name} (leaves that differ: {len(differing)})."
                f" {remedy}"
            )
        for name, leaf in wanted.items():
            had, has = (
                (tuple(side.shape), jnp.dtype(side.dtype).name) for side in (saved[name], leaf)
            )
            if had != has:
                raise UserError(
                    f"{self._folder(step)} holds {name} as {had[1]}{list(had[0])}, this run needs"
                    f" {has[1]}{list(has[0])}. {remedy}"
                )

    def _folder(self, step: int) -> epath.Path:
        return self.directory / f"checkpoint_{step}"

    def _corrupt(self, step: int, cause: str) -> UserError:
        return _CorruptError(
            f"The checkpoint {self._folder(step)} is truncated or corrupt ({cause})."
        )

    def _write_error(self, error: Exception) -> UserError:
        return UserError(
            f"Cannot write a checkpoint in {self.directory}: {_cause(error)}. Earlier checkpoints"
            " are intact; free some space or make the directory writable, and start again."
        )


def _named_leaves(state: Any) -> dict[str, Any]:
    """{"trainable/prompt_bank/shared": leaf, ...} in the order of the flattened state."""
    paths, _ = jax.tree_util.tree_flatten_with_path(state)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in paths}


def _checksums(leaves: dict[str, jax.Array]) -> dict[str, int]:
    """A number per leaf: tensorstore does not notice a flipped bit."""
    return {name: int(value) for name, value in jax.device_get(_bit_sums(leaves)).items()}


@jax.jit
def _bit_sums(leaves: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """For each leaf the sum of its elements' bits as unsigned integers, modulo 2^32."""

    def bit_sum(leaf: jax.Array) -> jax.Array:
        unsigned = jnp.dtype(f"uint{8 * leaf.dtype.itemsize}")
        return jnp.sum(leaf.view(unsigned).astype(jnp.uint32), dtype=jnp.uint32)

    return {name: bit_sum(leaf) for name, leaf in leaves.items()}


def _cause(error: Exception) -> str:
    """The beginning of an error's first line, without tensorstore's specification, or its type."""
    line = next(iter(str(error).strip().splitlines()), "")
    line = re.split(r" \[(?:tensorstore_spec|source locations|kvstore)\b|\{", line)[0].rstrip(". :")
    if not line:
        return type(error).__name__
    return line if len(line) <= 200 else f"{line[:197]}..."


def _silence_orbax() -> None:
    """Drops orbax's log records: its failures reach the user as one `UserError` each.

    The same for what tensorstore's threads print of other arrays after the first has failed.
    """
    logger = logging.getLogger("absl")
    if _not_from_orbax not in logger.filters:
        logger.addFilter(_not_from_orbax)
        sys.unraisablehook = functools.partial(_show_unraisable, sys.unraisablehook)


def _show_unraisable(following: Callable[[Any], None], unraisable: Any) -> None:
    is_late = str(unraisable.exc_value) == "Event loop is closed"
    code = getattr(unraisable.object, "cr_code", None)  # of a coroutine
    if not (is_late or (code and "orbax" in Path(code.co_filename).parts)):
        following(unraisable)


def _not_from_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in Path(record.pathname).parts
