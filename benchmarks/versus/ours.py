"""Our part of `versus_peft.py`: MPT over the same T5, by the engine's own steps."""

import argparse

import jax
import numpy as np
import seqio
from jobs import answer

from mpt_jax import process
from mpt_jax.backbone.formats import backbones
from mpt_jax.engine import initialize, optimizers
from mpt_jax.engine import step as step_lib
from mpt_jax.engine.data.length_buckets import cut_batch
from mpt_jax.engine.initialize import RestoreCheckpointConfig
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.methods.mpt import MPT
from mpt_jax.models import Batch, EncoderDecoderModel


class Ours:
    """A bank of prompts over a frozen T5, in the steps that `t5x train` and `predict` run."""

    def __init__(self, folder: str, shape: argparse.Namespace):
        """Reads the backbone; `shape` has batch, inputs, prompt, targets, tasks and buckets."""
        self.shape, self.random = shape, np.random.default_rng(0)
        self.model = model = EncoderDecoderModel(
            config=backbones.config_of(folder, dropout_rate=0.0),
            method=MPT(prompt_length=shape.prompt),
            tasks=tuple(map(str, range(shape.tasks))),
            input_vocabulary=seqio.ByteVocabulary(),  # no text is read
            output_vocabulary=seqio.ByteVocabulary(),
            optimizer_def=optimizers.adamw({"shared": 0.3, "task": 0.3}),
        )
        partitioner = PjitPartitioner()
        lengths = {"inputs": shape.inputs, "targets": shape.targets}
        self.params = initialize.initial_params(
            model,
            partitioner,
            RestoreCheckpointConfig(folder),
            initialize.batch_shapes(shape.batch, lengths),
            jax.random.key(0),
        )
        labels, axes = model.param_labels(self.params), model.param_axes(self.params)
        trainable, self.frozen = step_lib.split(self.params, labels)
        trainable_axes, _ = step_lib.split(axes, labels)
        optimizer = model.optimizer_def.build(labels, axes, lambda count: np.float32(1))
        # The step may use the state's memory again, so that the state has arrays of its own.
        own = jax.tree.map(np.asarray, trainable)
        self.state = partitioner.place_state(step_lib.init_state(optimizer, own), trainable_axes)
        self.train = step_lib.make_train_step(model, optimizer, partitioner)
        self.predict = step_lib.make_eval_step(model.predict_batch, partitioner)
        self.place = partitioner.shard_batch

    def step(self, lengths: list[int] | None = None) -> None:
        """One training step; the batch is cut to the bucket that holds its longest text."""
        lengths = lengths or [self.shape.inputs] * self.shape.batch
        batch = cut_batch(self._batch(lengths, self.shape.targets), {"inputs": self.shape.buckets})
        self.state, metrics = self.train(
            self.state, self.frozen, self.place(batch), jax.random.key(1)
        )
        jax.block_until_ready(metrics)

    def texts(self, lengths: list[int]) -> None:
        """A step for each whole batch of texts of these lengths."""
        for start in range(0, len(lengths) - self.shape.batch + 1, self.shape.batch):
            self.step(lengths[start : start + self.shape.batch])

    def decode(self, new_tokens: int, tasks: int) -> None:
        """Greedy decoding of a batch whose rows are of that many tasks."""
        batch = self._batch([self.shape.inputs] * self.shape.batch, new_tokens)
        batch["task_ids"] = np.arange(self.shape.batch, dtype=np.int32) % tasks
        jax.block_until_ready(self.predict(self.params, self.place(batch)))

    def _batch(self, lengths: list[int], targets: int) -> Batch:
        rows = len(lengths)
        vocabulary = self.model.config.vocab_size
        inputs = self.random.integers(2, vocabulary, (rows, self.shape.inputs), np.int32)
        inputs *= np.arange(self.shape.inputs) < np.asarray(lengths)[:, None]
        labels = self.random.integers(2, vocabulary, (rows, targets), np.int32)
        return {
            "encoder_input_tokens": inputs,
            "decoder_input_tokens": np.pad(labels, ((0, 0), (1, 0)))[:, :-1],
            "decoder_target_tokens": labels,
            "decoder_loss_weights": np.ones_like(labels),
            "task_ids": np.zeros(rows, np.int32),
        }


def main() -> None:
    """Answers jobs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--measure", required=True)
    for name in ("batch", "inputs", "prompt", "targets", "tasks"):
        parser.add_argument(f"--{name}", type=int, default=1)
    parser.add_argument("--buckets", type=int, nargs="*", default=[])
    args = parser.parse_args()
    process.tune()
    answer(Ours(args.measure, args))


if __name__ == "__main__":
    main()
