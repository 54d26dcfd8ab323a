"""Inference on the real T5X: our settings as the arguments of `t5x.infer.infer`."""

import os
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf
from t5x import infer as t5x_infer
from t5x import utils

from mpt_jax import files, hosts
from mpt_jax.engine.inference.infer import open_lines, record
from mpt_jax.engine.inference.output_lines import as_json
from mpt_jax.engine.inference.predictor import Prediction, Row
from mpt_jax.engine.settings import Inference
from mpt_jax.errors import UserError
from mpt_jax.real_t5x.model import Model
from mpt_jax.real_t5x.partitioner import Partitioner
from mpt_jax.real_t5x.restore import restore_config
from mpt_jax.tasks.mixtures import TASK_IDS

_SPLIT = "infer"


def infer(settings: Inference) -> None:
    """`engine.inference.infer` on T5X.

    Raises:
        UserError: as there.
    """
    t5x_infer.infer(**arguments(settings))


def arguments(settings: Inference) -> dict[str, Any]:
    """The arguments of `t5x.infer.infer`.

    Raises:
        UserError: bad settings, before any work is done.
    """
    restore, model = restore_config(settings), settings.model
    lines = open_lines(settings)
    rows = list(lines.rows())
    hosts.on_first(lambda: _check_output(settings.output))
    if cut := sum(row.truncated for row in rows):
        hosts.warn(lines.reader.truncation(cut, len(rows)))
    predictions = _Predictions(model, rows, settings.output)
    return {
        "mode": "predict_with_aux",
        "model": Model(model),
        "dataset_cfg": utils.DatasetConfig(
            mixture_or_task_name=_register(model, rows),
            task_feature_lengths=settings.task_feature_lengths,
            split=_SPLIT,
            batch_size=settings.batch_size,
            shuffle=False,
            seed=0,
        ),
        "restore_checkpoint_cfg": restore,
        "partitioner": Partitioner(settings.partitioner),
        "output_dir": predictions.folder.name,
        "checkpoint_period": -(-len(rows) // settings.batch_size),  # all lines are one chunk
        "checkpoint_ds_iter": False,
        "write_fn": predictions.keep,
        "merge_fn": predictions.put_out,
        "summarize_config_fn": lambda **_: None,
    }


def _check_output(output: str | None) -> None:
    if output is None:
        return
    if os.path.exists(f"{output}.partial"):
        raise UserError(
            f"{output}.partial is of a stopped run of --engine=mpt_jax: continue it there, or "
            "delete it."
        )
    if os.path.isfile(output) and os.path.getsize(output):
        raise UserError(
            f"{output} holds the answers of a finished run: delete it, or choose another OUTPUT."
        )
    files.check_writable(output, setting="OUTPUT")


def _register(model: Any, lines: Sequence[Row]) -> str:
    """Registers a task of the lines, tokenised, for the rest of the process; its name."""

    def rows(split: str, shuffle_files: bool, seed: int | None = None) -> tf.data.Dataset:
        del split, shuffle_files, seed
        return tf.data.Dataset.from_generator(
            lambda: (
                {
                    "inputs": np.array(row.ids, np.int32),
                    "targets": np.zeros((0,), np.int32),
                    TASK_IDS: np.array([row.task_id], np.int32),
                }
                for row in lines
            ),
            output_signature={
                feature: tf.TensorSpec([None], tf.int32)
                for feature in ("inputs", "targets", TASK_IDS)
            },
        ).apply(tf.data.experimental.assert_cardinality(len(lines)))

    vocabularies = {"inputs": model.input_vocabulary, "targets": model.output_vocabulary}
    features = {
        side: seqio.Feature(vocabulary, add_eos=False) for side, vocabulary in vocabularies.items()
    }
    ids = seqio.PassThroughVocabulary(size=len(model.tasks))
    name = f"lines_{uuid.uuid4().hex}"
    seqio.TaskRegistry.add(
        name,
        source=seqio.FunctionDataSource(rows, splits=(_SPLIT,)),
        preprocessors=[],
        output_features={**features, TASK_IDS: seqio.Feature(ids, add_eos=False, rank=1)},
    )
    return name


class _Predictions:
    """What T5X predicts, in our form; T5X calls both functions in the first process.

    Attributes:
        folder: for what T5X writes on the way; removed with this object.
    """

    def __init__(self, model: Any, rows: Sequence[Row], output: str | None):
        self._model = model
        self._rows = rows
        self._output = output
        self._records: list[str] = []
        self.folder = tempfile.TemporaryDirectory()

    def keep(self, path: str, inferences: tuple[Sequence, Mapping], *unused: Any) -> None:
        """T5X's `write_fn`, called once: all lines are one chunk."""
        del path, unused
        ids, aux = inferences
        decode = self._model.output_vocabulary.decode
        for row, answer, score in zip(self._rows, ids, aux["scores"], strict=True):
            said = Prediction(decode(np.asarray(answer).tolist()), float(score))
            found = record(self._model.tasks, row, said)
            self._records.append(f"{as_json(found)}\n")

    def put_out(self, *unused: Any) -> None:
        """T5X's `merge_fn`."""
        del unused
        text = "".join(self._records)
        if self._output is None:
            sys.stdout.write(text)
        else:
            files.write_whole(self._output, text, setting="OUTPUT")
