"""How far rounding decides what a run learns: how a difference of one part in ten million grows.

    python benchmarks/rounding.py

Two copies of a run take the same steps on the same batches; only their starts differ, by the last
bit or so of a float32 number, as two meshes or machines differ after a step. The run is a teacher
of the mini source run (a prompt for mini_nli, six rows a step), with other rates, warm-ups and
clippings next to the shipped ones. Writes docs/rounding.csv: the distance of the two prompts,
divided by the length of one, after some of the steps. A minute on 2 cores.
"""

import argparse
import contextlib
import dataclasses
import io
import pathlib
import tempfile
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mpt_jax import process
from mpt_jax.csv_text import csv_text
from mpt_jax.engine import run as run_lib
from mpt_jax.engine.step import TrainState, make_train_step
from mpt_jax.errors import run_script
from mpt_jax.sweep import worker

TEACHER = [
    "--gin_file=gin/mpt_target.gin",
    "--gin_file=gin/methods/prompt_tuning.gin",
    "--gin.MIXTURE_OR_TASK_NAME='mini_nli'",
    "--gin.BATCH_SIZE=6",
    "--gin.TRAIN_STEPS=250",
    "--gin.CLIP_NORM=None",
]
RATE, WARMUP = "SHARED_LEARNING_RATE", "WARMUP_STEPS"
SETTINGS = {
    "as shipped": [],
    "rate 0.1": [f"{RATE}=0.1"],
    "rate 0.03": [f"{RATE}=0.03"],
    "rate 0.01": [f"{RATE}=0.01"],
    "warm-up of 4 steps": [f"{WARMUP}=4"],
    "warm-up of 100 steps": [f"{WARMUP}=100"],
    "clipped to norm 1": ["CLIP_NORM=1.0"],
    "clipped to norm 0.1": ["CLIP_NORM=0.1"],
    "epsilon of Adam 0.1": ["optimizers.adamw.eps=0.1"],
    "32 rows a step": ["BATCH_SIZE=32"],
    "32 rows, rate 0.03, warm-up of 100": ["BATCH_SIZE=32", f"{RATE}=0.03", f"{WARMUP}=100"],
}
STEPS = (1, 5, 10, 20, 40, 60, 100, 150, 200, 250)
DIFFERENCE = 1e-7


def nudged(state: TrainState) -> TrainState:
    """Each trainable number times 1 + `DIFFERENCE` × a standard normal number."""
    random = np.random.default_rng(0)

    def nudge(leaf: jax.Array) -> jax.Array:
        return leaf * (1 + DIFFERENCE * random.standard_normal(leaf.shape)).astype(leaf.dtype)

    return dataclasses.replace(state, trainable=jax.tree.map(nudge, state.trainable))


def distance(one: TrainState, other: TrainState) -> float:
    """|one - other| / |one| over all that trains."""
    flat = [
        jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(state.trainable)])
        for state in (one, other)
    ]
    return float(jnp.linalg.norm(flat[0] - flat[1]) / jnp.linalg.norm(flat[0]))


def growth(settings: Sequence[str]) -> dict[int, float]:
    """Step -> distance, of a run with more settings "NAME=VALUE" than `TEACHER`'s."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        given = [f"--gin.{setting}" for setting in (*settings, f"MODEL_DIR={folder!r}")]
        run = stack.enter_context(run_lib.Run(worker.settings_of(["train", *TEACHER, *given])))
        run.open()
        run.start()
        mesh = run.settings.partitioner
        step = make_train_step(run.model, run.optimizer, mesh)
        states = [jax.tree.map(jnp.copy, state) for state in (run.state(), nudged(run.state()))]
        found = {}
        for number in range(1, max(STEPS) + 1):
            batch = mesh.shard_batch(run.fetch())
            states = [
                step(state, run.frozen, batch, run.rng, run.optimizer.rates)[0] for state in states
            ]
            if number in STEPS:
                found[number] = distance(*states)
    return found


def main(given: Sequence[str] | None = None) -> int:
    """Parse arguments, measure, write the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("docs/rounding.csv"))
    args = parser.parse_args(given)
    process.tune()
    lines = [["run", *(f"step {step}" for step in STEPS)]]
    for name, settings in SETTINGS.items():
        lines.append([name, *(f"{distance:.1e}" for distance in growth(settings).values())])
        print(*lines[-1], sep="  ", flush=True)
    args.out.write_text(csv_text(lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    run_script(main)
