"""A plan for tests, as a table of TOML and as an object."""

import json
import pathlib

import toy_start

from mpt_jax.sweep.plan import Method, Plan, Source, Stage

PLAN = Plan(
    name="plan",
    methods=(
        Method("MPT", source="mpt"),
        Method("no teachers", ("gin/methods/spot.gin",), ("D=4",), source="shared"),
        Method("attention", source="mpt/teachers"),
        Method("scratch", ("gin/methods/prompt_tuning.gin",)),
    ),
    sources=(
        Source("shared", ("gin/methods/shared_prompt.gin",), ("E=5",), teachers="mpt"),
        Source("mpt"),
        Source("idle"),
    ),
    tasks=("a", "b"),
    shots=("16", "full"),
    seeds=(0, 3),
    settings=("A=1",),
    source=Stage(("gin/mpt_source.gin",), ("B=2",)),
    target=Stage(("gin/mpt_target.gin",), ("C=3",)),
    evaluation=Stage(("gin/mpt_eval.gin",), ("F=6",)),
    by_shots={"16": ("TRAIN_STEPS=9",)},
)


def finish(run, score=0.0):
    """Makes `run` look as if it were finished."""
    record = {"total_steps": 7, "tuned_parameters": 1234, "finished": True}
    if run.scores:
        run.scores.parent.mkdir(parents=True, exist_ok=True)
        run.scores.write_text(json.dumps({"mean": {"key_metric": score}}))
    run.folder.mkdir(parents=True, exist_ok=True)
    if not run.scores:
        toy_start.write(run.folder, toy_start.factors(1))
    (run.folder / "run.json").write_text(json.dumps(record))


def begin(run):
    """Makes `run` look as if it were interrupted after a checkpoint."""
    checkpoint = run.folder / "checkpoints" / "checkpoint_3"
    checkpoint.mkdir(parents=True)
    (checkpoint / "commit_success.txt").touch()
    (run.folder / "run.json").write_text(json.dumps({"total_steps": 7, "finished": False}))
    (run.folder / "config.gin").touch()


def files(folder: pathlib.Path):
    """Every file below `folder`, with when it was written; but locks, which each start signs."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {path: path.stat().st_mtime_ns for path in found}
