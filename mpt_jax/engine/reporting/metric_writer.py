"""Writes a run's numbers: `metrics.jsonl` for programs, TensorBoard events for eyes."""

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from typing import Literal

from mpt_jax import files, run_layout
from mpt_jax.engine.records import history
from mpt_jax.errors import UserError

Kind = Literal["train", "eval"]


class MetricWriter:
    """Appends scalars to `metrics.jsonl` and to a TensorBoard event file.

    A line of `metrics.jsonl` is `{"step": 10, "kind": "train", "loss": 1.25, ...}`, its metrics
    sorted by name and then its checksum; a value that is not finite is null, since JSON has no
    NaN. Nothing depends on
    the clock, so a resumed run writes the same file as one that never stopped. The folder may be
    remote (gs://). In a multi-host run only the first process makes one.
    """

    def __init__(self, model_dir: str | os.PathLike[str], *, resume_step: int = 0):
        """Opens the files; what they hold of steps after `resume_step` will be written again.

        Args:
            model_dir: the run folder; it exists.
            resume_step: the step that the run goes on from; 0 for a new run.

        Raises:
            UserError: the folder cannot be written, or its file is damaged.
        """
        import tensorflow as tf

        self._tf = tf
        self._open = contextlib.ExitStack()
        self._path = files.absolute(model_dir) / run_layout.HISTORY
        events = files.absolute(model_dir) / run_layout.EVENTS
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        try:
            self._drop_after(model_dir, resume_step)
            events.mkdir(parents=True, exist_ok=True)
            self._lines = self._open.enter_context(self._path.open("a"))
            self._events = self._open.enter_context(tf.io.TFRecordWriter(str(events / name)))
            self._write_event(file_version="brain.Event:2")
            # TensorBoard then forgets what an earlier attempt wrote of later steps.
            start = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
            self._write_event(step=resume_step + 1, session_log=start)
        except files.storage_errors() as error:
            raise self._unwritable(error) from error

    def __enter__(self) -> "MetricWriter":
        return self

    def __exit__(self, *exc_info) -> None:
        self.close()

    def write(self, step: int, kind: Kind, metrics: Mapping[str, float]) -> None:
        """Writes `metrics` (name -> number; `task/metric` for a task's) of `step`, flushed.

        Raises:
            UserError: the disk is full or the folder went away.
        """
        values = {name: float(metrics[name]) for name in sorted(metrics)}
        line = {"step": int(step), "kind": kind, **values}
        summary = self._tf.compat.v1.Summary(
            value=[
                self._tf.compat.v1.Summary.Value(tag=f"{kind}/{name}", simple_value=value)
                for name, value in values.items()
            ]
        )
        try:
            self._lines.write(files.to_sealed_json(line) + "\n")
            self._lines.flush()
            self._write_event(step=int(step), summary=summary)
        except files.storage_errors() as error:
            raise self._unwritable(error) from error

    def close(self) -> None:
        """Closes both files."""
        self._open.close()

    def _write_event(self, **fields) -> None:
        event = self._tf.compat.v1.Event(wall_time=time.time(), **fields)
        self._events.write(event.SerializeToString())
        self._events.flush()

    def _drop_after(self, model_dir: str | os.PathLike[str], step: int) -> None:
        """Removes the lines of steps after `step`, and a last line that a crash cut short."""
        if self._path.exists():
            kept = (line for line in history.read(model_dir) if line["step"] <= step)
            text = "".join(f"{files.to_sealed_json(line)}\n" for line in kept)
            files.write_whole(self._path, text)

    def _unwritable(self, error: Exception) -> UserError:
        return UserError(
            f"cannot write {self._path}: {files.reason(error)}. Free space there, or choose "
            "another folder with --gin.MODEL_DIR=FOLDER."
        )
