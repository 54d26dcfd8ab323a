"""Inference on the real T5X: our settings as the arguments of `t5x.infer.infer`."""

import tempfile
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf
from t5x import infer as t5x_infer
from t5x import utils

from mpt_jax.engine.checkpoints import RestoreCheckpointConfig
from mpt_jax.engine.inference import prediction, put_out, read_inputs, text_batch
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.real_t5x.model import Model
from mpt_jax.real_t5x.partitioner import Partitioner
from mpt_jax.real_t5x.restore import restore_config
from mpt_jax.tasks.mixtures import TASK_IDS

_SPLIT = "infer"


def infer(**settings: Any) -> None:
    """`engine.inference.infer` on T5X.

    Raises:
        UserError: as there.
    """
    t5x_infer.infer(**arguments(**settings))


def arguments(
    *,
    model: Any,
    restore_checkpoint_cfg: RestoreCheckpointConfig,
    partitioner: PjitPartitioner,
    inputs: str,
    task_feature_lengths: Mapping[str, int],
    batch_size: int,
    task: str | None = None,
    output: str | None = None,
) -> dict[str, Any]:
    """The arguments of `t5x.infer.infer` for those of `engine.inference.infer`.

    Raises:
        UserError: bad settings, before any work is done.
    """
    partitioner.check_batch_size(batch_size)
    task_id, lines = read_inputs(model.tasks, task, inputs, output)
    name = _register(model, lines, task_id, task_feature_lengths)
    predictions = _Predictions(model, task_id, lines, output)
    return {
        "mode": "predict_with_aux",
        "model": Model(model),
        "dataset_cfg": utils.DatasetConfig(
            mixture_or_task_name=name,
            task_feature_lengths=task_feature_lengths,
            split=_SPLIT,
            batch_size=batch_size,
            shuffle=False,
            seed=0,
        ),
        "restore_checkpoint_cfg": restore_config(
            model, partitioner, restore_checkpoint_cfg, task_feature_lengths, batch_size
        ),
        "partitioner": Partitioner(partitioner),
        "output_dir": predictions.folder.name,
        "checkpoint_period": -(-len(lines) // batch_size),  # all lines are one chunk
        "checkpoint_ds_iter": False,
        "write_fn": predictions.keep,
        "merge_fn": predictions.put_out,
        "summarize_config_fn": lambda **_: None,
    }


def _register(model: Any, lines: Sequence[str], task_id: int, lengths: Mapping[str, int]) -> str:
    """Registers a task of the lines, tokenised, for the rest of the process; its name."""
    tokens = text_batch(model, lines, task_id, lengths)["encoder_input_tokens"]

    def rows(split: str, shuffle_files: bool, seed: int | None = None) -> tf.data.Dataset:
        del split, shuffle_files, seed
        return tf.data.Dataset.from_generator(
            lambda: (
                {
                    "inputs": row[row != 0],
                    "targets": np.zeros((0,), np.int32),
                    TASK_IDS: np.array([task_id], np.int32),
                }
                for row in tokens
            ),
            output_signature={
                feature: tf.TensorSpec([None], tf.int32)
                for feature in ("inputs", "targets", TASK_IDS)
            },
        ).apply(tf.data.experimental.assert_cardinality(len(tokens)))

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

    def __init__(self, model: Any, task_id: int, lines: Sequence[str], output: str | None):
        self._model = model
        self._task_id = task_id
        self._lines = lines
        self._output = output
        self._records: list[str] = []
        self.folder = tempfile.TemporaryDirectory()

    def keep(self, path: str, inferences: tuple[Sequence, Mapping], *unused: Any) -> None:
        """T5X's `write_fn`, called once: all lines are one chunk."""
        del path, unused
        ids, aux = inferences
        self._records = [
            prediction(self._model, self._task_id, text, np.asarray(row), score)
            for text, row, score in zip(self._lines, ids, aux["scores"], strict=True)
        ]

    def put_out(self, *unused: Any) -> None:
        """T5X's `merge_fn`."""
        del unused
        put_out("".join(self._records), self._output)
