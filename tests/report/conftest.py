"""Synthetic run folders, as a training run leaves them."""

import json
import pathlib

import numpy as np
import pytest

from mpt_jax.product import product_file
from mpt_jax.product.description import ProductInfo


def make_run(
    folder: pathlib.Path,
    *,
    label="MPT",
    tasks=("mini_rte",),
    shots=16,
    seed=0,
    test=None,
    evals=((50, 40.0), (100, 50.0)),
    total_steps=100,
    reached=None,
    tuned=2708,
    bank=None,
    source=False,
    metric="accuracy",
    **changed,
) -> pathlib.Path:
    """Writes a run folder.

    Args:
        test: task -> score of test/metrics.json; None: not evaluated there.
        evals: (step, score of every task) or (step, {task: score}) on validation.
        reached: the last logged step; None: total_steps.
        bank: leaves of prompts.safetensors; None: no such file.
        source: whether it is a source run.
        changed: fields of run.json; None leaves one out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "label": label,
        "method": "mpt",
        "tasks": list(tasks),
        "key_metrics": dict.fromkeys(tasks, metric),
        "few_shot": shots,
        "seed": seed,
        "total_steps": total_steps,
        "batch_size": 16,
        "tuned_parameters": tuned,
        "stage": "source" if source else "target",
        "finished": True,
        **changed,
    }
    kept = {n: v for n, v in record.items() if v is not None or n not in changed}
    (folder / "run.json").write_text(json.dumps(kept))
    (folder / "config.gin").write_text("FEW_SHOT = 16\n")
    lines = []
    for step, scores in evals:
        if step > (reached or total_steps):
            continue
        scores = scores if isinstance(scores, dict) else dict.fromkeys(tasks, scores)
        losses = {f"task_loss/{task}": 1 / step for task in tasks}
        lines.append({"step": step, "kind": "train", "loss": 1 / step, **losses})
        found = {f"{task}/{metric}": score for task, score in scores.items()}
        known = [score for score in scores.values() if score is not None]
        mean = sum(known) / len(known) if len(known) == len(scores) else None
        lines.append({"step": step, "kind": "eval", **found, "mean/key_metric": mean})
    lines.append({"step": reached or total_steps, "kind": "train", "loss": 0.1})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if test is not None:
        (folder / "test").mkdir(exist_ok=True)
        found = {task: {metric: score, "other": 1.0} for task, score in test.items()}
        mean = {"mean": {"key_metric": float(np.mean(list(test.values())))}}
        (folder / "test/metrics.json").write_text(json.dumps({**found, **mean}))
    if bank is not None:
        save_bank(folder, bank, tasks)
    return folder


def save_bank(folder, bank, tasks):
    leaf = bank.get("shared", bank.get("task_prompts"))
    rank = bank["task_u"].shape[-1] if "task_u" in bank else 0
    info = ProductInfo(
        "mpt", tuple(tasks), leaf.shape[-2], leaf.shape[-1], rank, 10, "b", {}, {}, {}, 100, {}
    )
    product_file.save(str(folder), bank, info)


@pytest.fixture(name="make_run")
def _make_run(tmp_path):
    """`make_run` under the test's folder `runs`."""
    return lambda name, **kwargs: make_run(tmp_path / "runs" / name, **kwargs)


@pytest.fixture(name="read")
def _read(tmp_path):
    """Reads the runs under `runs`: (runs, problems), folders as names under it."""
    from mpt_jax.report import folders, runs

    return lambda: runs.read(folders.find([str(tmp_path / "runs")]))


@pytest.fixture(name="comparison", scope="module")
def _comparison(tmp_path_factory):
    """A small comparison: a source run, 2 methods and a variant × 2 tasks × 2 shots × 2 seeds."""
    root = tmp_path_factory.mktemp("comparison") / "runs"
    rng = np.random.default_rng(0)

    def leaf(*shape):
        return rng.normal(size=shape).astype(np.float32)

    names = ("mini_cloze", "mini_nli")
    bank = {"shared": leaf(3, 4), "task_u": leaf(2, 3, 1), "task_v": leaf(2, 1, 4)}
    make_run(root / "source", tasks=names, shots=None, bank=bank, source=True)
    make_run(root / "source/teachers", tasks=names, shots=None)
    scores = {"MPT": 60.0, "MPT without distillation": 55.0, "prompt <tuning> & more": 50.0}
    for i, (label, base) in enumerate(scores.items()):
        for j, task in enumerate(("mini_rte", "mini_wic")):
            for shots in (4, None):
                for seed in (0, 1):
                    one = {"shared": leaf(3, 4), "task_u": leaf(1, 3, 1), "task_v": leaf(1, 1, 4)}
                    make_run(
                        root / f"{i}-{task}-{shots}-{seed}",
                        label=label,
                        tasks=(task,),
                        shots=shots,
                        seed=seed,
                        test={task: base + 4 * j + 2 * seed + (10 if shots is None else 0)},
                        tuned=3000 if i < 2 else 2500,
                        bank=one if i < 2 else {"task_prompts": leaf(1, 3, 4)},
                        cost={} if i == 1 else {"seconds": 100 + 40 * seed, "product_bytes": 999},
                    )
    make_run(root / "stopped", label="MPT", tasks=("mini_rte",), shots=4, seed=7, reached=50)
    return root
