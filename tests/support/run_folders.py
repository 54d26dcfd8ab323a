"""Synthetic run folders, as a training run leaves them."""

import json
import pathlib

import numpy as np

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
