"""Runs of the loop on a toy model and toy tasks, and what they leave."""

import json
import pathlib
import signal

import jax
import numpy as np
import orbax.checkpoint as ocp
import toy

from mpt_jax.engine import loop
from mpt_jax.engine.checkpoints import CheckpointConfig, SaveCheckpointConfig
from mpt_jax.engine.data import pipeline
from mpt_jax.engine.data.pipeline import DatasetConfig
from mpt_jax.engine.initialize import RestoreCheckpointConfig
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.engine.schedules import create_learning_rate_scheduler
from mpt_jax.engine.settings import Trainer, Training
from mpt_jax.methods.mpt import MPT
from mpt_jax.product import product_file
from mpt_jax.tasks.mixtures import bind_tasks

TASKS = ("toy_a", "toy_b")
STEPS = 6


def dataset(split, few_shot=None, tasks=TASKS, **changes):
    sampling = {"min_tasks_per_batch": 1, "batch_size": 8} if split == "train" else {}
    fields = {
        "mixture_or_task_name": bind_tasks(
            list(tasks), few_shot=few_shot, module="toy_tasks", **sampling
        ),
        "task_feature_lengths": {"inputs": 12, "targets": 6},
        "split": split,
        "batch_size": 8,
        "shuffle": split == "train",
        "seed": 0,
        "length_buckets": {"inputs": (8,)},
    }
    return DatasetConfig(**{**fields, **changes})


def settings(model_dir, backbone, *, learning_rate=0.3, num_microbatches=1, period=3, **changes):
    """Of a run that saves every 3 steps and evaluates every 2."""
    schedule = create_learning_rate_scheduler(
        base_learning_rate=learning_rate, warmup_steps=2, total_steps=STEPS
    )
    arguments = {
        "model": toy.model(MPT(prompt_length=4), TASKS, toy.ONE_LAYER),
        "train_dataset_cfg": dataset("train"),
        "infer_eval_dataset_cfg": dataset("validation"),
        "checkpoint_cfg": CheckpointConfig(
            SaveCheckpointConfig(period, keep=None), RestoreCheckpointConfig(backbone)
        ),
        "partitioner": PjitPartitioner(devices=jax.devices()[:1]),
        "trainer_cls": lambda: Trainer(num_microbatches, schedule),
        "model_dir": str(model_dir),
        "total_steps": STEPS,
        "eval_period": 2,
        "stats_period": 1,
    }
    return Training(**{**arguments, **changes})


def run(model_dir, backbone, **changes):
    """One run of `loop.train`; arguments as `settings`."""
    return loop.train(settings(model_dir, backbone, **changes))


def interrupt():
    signal.raise_signal(signal.SIGINT)


class Fetched(list):
    """The batches that the loop fetches; `at` maps a count of them to what happens then."""

    def __init__(self, monkeypatch):
        self.at = {}
        following = pipeline.DataIterator.__next__

        def fetch(iterator):
            self.append(following(iterator))
            self.at.get(len(self), lambda: None)()
            return self[-1]

        monkeypatch.setattr(pipeline.DataIterator, "__next__", fetch)


def contents(folder):
    return {p: p.read_bytes() for p in pathlib.Path(folder).rglob("*") if p.is_file()}


def steps_saved(model_dir):
    folders = pathlib.Path(model_dir, "checkpoints").iterdir()
    return sorted(int(folder.name.removeprefix("checkpoint_")) for folder in folders)


def checkpoint(model_dir, step):
    """{leaf: array} of a checkpoint, as orbax reads it."""
    folder = pathlib.Path(model_dir, "checkpoints", f"checkpoint_{step}").absolute()
    state = ocp.StandardCheckpointer().restore(folder / "state")
    return {name: np.asarray(leaf) for name, leaf in state.items()}


def is_finished(model_dir):
    return json.loads(pathlib.Path(model_dir, "run.json").read_text())["finished"]


def assert_product_is_of(model_dir, step):
    """The prompt file is whole, and the bank of a checkpoint."""
    bank, info = product_file.load(str(model_dir))
    assert info.step == step
    leaves = checkpoint(model_dir, step)
    for name, leaf in bank.items():
        assert np.isfinite(leaf).all()
        np.testing.assert_array_equal(leaf, leaves[f"trainable/prompt_bank/{name}"])
