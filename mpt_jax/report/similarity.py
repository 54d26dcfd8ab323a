"""Cosine similarity between the prompts, or the factors, of the tasks of some runs."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from mpt_jax.report.runs import Run
from mpt_jax.report.settings import Setting

_FACTORS = {"task_u", "task_v"}
_OF_TASKS = ({"shared", *_FACTORS}, {"task_prompts"})


@dataclasses.dataclass(frozen=True)
class Similarity:
    """The similarities of one method.

    Attributes:
        label: the method.
        tasks: names of the K rows and columns.
        values: [K, K], the mean over seeds.
        seeds: their number.
    """

    label: str
    tasks: tuple[str, ...]
    values: np.ndarray
    seeds: int


def factors(bank: Mapping[str, np.ndarray]) -> np.ndarray:
    """[K, P, D]: `task_u[k] @ task_v[k]`."""
    return np.einsum("kpr,krd->kpd", bank["task_u"], bank["task_v"])


def prompts(bank: Mapping[str, np.ndarray], num_tasks: int) -> np.ndarray:
    """[K, P, D]: the composed prompts, as `mpt_jax.prompts.compose` makes them."""
    if "task_prompts" in bank:
        return bank["task_prompts"]
    if "task_u" in bank:
        return bank["shared"] * factors(bank)
    return np.broadcast_to(bank["shared"], (num_tasks, *bank["shared"].shape))


def cosines(rows: np.ndarray) -> np.ndarray:
    """[K, ...] -> [K, K], cosine similarity of the flattened rows; 0 where a row is zero."""
    flat = rows.reshape(len(rows), -1).astype(np.float64)
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    unit = flat / np.where(norms == 0, 1, norms)
    return np.clip(unit @ unit.T, -1, 1)


def of_setting(setting: Setting, of_factors: bool) -> list[Similarity]:
    """A `Similarity` per method that has prompts, or factors, of all tasks of the setting.

    Source runs: the rows of each run's bank. Target runs: each task's row, whether its run was its
    own or a joint one. A method whose source bank has one prompt for all tasks is not there: all
    its similarities are one.
    """
    found = []
    for label in setting.labels:
        tasks = setting.tasks
        by_seed = []
        for seed in setting.full_seeds(label, tasks):
            runs = [run for run in setting.of(label) if run.seed == seed]
            rows = _rows(runs, of_factors)
            if rows is not None and len({row.shape for row in rows.values()}) == 1:
                by_seed.append(cosines(np.stack([rows[task] for task in tasks])))
        if by_seed and len(tasks) > 1:
            values = np.mean(by_seed, axis=0)
            found.append(Similarity(label, tuple(tasks), values, len(by_seed)))
    return found


def rows_of_bank(bank: Mapping[str, np.ndarray], num_tasks: int, of_factors: bool):
    """[K, P, D]: the factors or prompts of each task of a bank.

    None where it has none: no factors, one prompt for several tasks, or leaves that its method
    composes in its own way.
    """
    if of_factors:
        return factors(bank) if set(bank) >= _FACTORS else None
    known = set(bank) in _OF_TASKS or (set(bank) == {"shared"} and num_tasks == 1)
    return prompts(bank, num_tasks) if known else None


def _rows(runs: list[Run], of_factors: bool) -> dict[str, np.ndarray] | None:
    """Task -> [P, D]; None where a run or a task has none."""
    rows: dict[str, np.ndarray] = {}
    for run in runs:
        made = rows_of_bank(run.bank, len(run.bank_tasks), of_factors)
        if made is None:
            return None
        rows.update(zip(run.bank_tasks, made, strict=True))
    return rows if {task for run in runs for task in run.tasks} <= set(rows) else None
