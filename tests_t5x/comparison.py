"""Two run folders compared: the metrics of every step, and the prompts."""

import numpy as np

from mpt_jax.engine.records import history
from mpt_jax.product import product_file

TOLERANCE = 1e-5  # relative


def metrics(folder) -> dict[tuple[int, str], dict[str, float]]:
    """(step, "train" or "eval") -> the metrics of a run's `metrics.jsonl`."""
    return {(line.pop("step"), line.pop("kind")): line for line in history.read(folder)}


def largest_differences(ours, real) -> dict[str, float | None]:
    """The largest relative difference of each kind of number in two run folders.

    Everything that the runs report must be in both; None: they report nothing of that kind.
    """
    a, b = metrics(ours), metrics(real)
    assert a.keys() == b.keys()
    largest = dict.fromkeys(("losses", "validation"))
    for (step, kind), values in a.items():
        others = b[step, kind]
        assert values.keys() == others.keys()
        name = "losses" if kind == "train" else "validation"
        for key in values:
            difference = abs(values[key] - others[key]) / max(abs(values[key]), 1e-6)
            largest[name] = max(largest[name] or 0.0, difference)
    (bank, info), (other, other_info) = product_file.load(str(ours)), product_file.load(str(real))
    assert info.backbone == other_info.backbone
    largest["prompts"] = max(
        float(np.max(np.abs(bank[leaf] - other[leaf])) / np.max(np.abs(bank[leaf])))
        for leaf in bank
    )
    return largest


def assert_equal_numbers(ours, real) -> dict[str, float | None]:
    """Fails where a number differs by more than `TOLERANCE`; returns the differences."""
    found = largest_differences(ours, real)
    assert found["losses"] is not None
    first, second = (product_file.load(str(folder))[1] for folder in (ours, real))
    assert first.step == second.step
    assert max(value or 0.0 for value in found.values()) <= TOLERANCE, found
    return found
