"""What a run has cost, in `run.json` under "cost"; a report reads and shows it without jax."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

# Seconds of the wall clock, over all starts of the run: of all, of its training steps without
# compilation, of compilation; and the training examples of a second of those steps.
SECONDS, STEP_SECONDS, COMPILE_SECONDS = "seconds", "step_seconds", "compile_seconds"
STEPS, SPEED = "steps", "examples_per_second"
MEMORY, MEMORY_OF = "peak_memory_bytes", "peak_memory_of"
DEVICE, HOST = "device", "host"  # the fullest device, as jax says; the process, where it does not
PRODUCT = "product_bytes"

NUMBERS = (SECONDS, STEP_SECONDS, COMPILE_SECONDS, STEPS, SPEED, MEMORY, PRODUCT)
HEAD = ("seconds", "of steps", "of compiling", "examples/s", "peak memory", "product")  # of `texts`

Cost = dict[str, Any]


def of(record: Mapping[str, Any]) -> Cost:
    """The cost of a run, of which what its record lacks is left out.

    Args:
        record: the contents of run.json, which may be damaged, or older than costs are.
    """
    found = record.get("cost")
    found = found if isinstance(found, dict) else {}
    numbers = {name: found[name] for name in NUMBERS if _is_number(found.get(name))}
    told = {MEMORY_OF: found[MEMORY_OF]} if found.get(MEMORY_OF) in (DEVICE, HOST) else {}
    return {**numbers, **told}


def mean(costs: Sequence[Cost]) -> Cost:
    """The mean of each number over the runs that have it."""
    found: Cost = {}
    for name in NUMBERS:
        if values := [cost[name] for cost in costs if name in cost]:
            found[name] = statistics.fmean(values)
    if places := {cost[MEMORY_OF] for cost in costs if MEMORY_OF in cost}:
        found[MEMORY_OF] = " and ".join(sorted(places))
    return found


def texts(cost: Cost) -> list[str]:
    """As people read it, under `HEAD`; "" for what is not known."""
    times = [_number(cost.get(name)) for name in (SECONDS, STEP_SECONDS, COMPILE_SECONDS, SPEED)]
    memory = _size(cost.get(MEMORY))
    memory += f" ({cost[MEMORY_OF]})" if memory and MEMORY_OF in cost else ""
    return [*times, memory, _size(cost.get(PRODUCT))]


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and 0 <= value < 2**62


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _size(count: float | None) -> str:
    """Bytes in decimal units."""
    if count is None:
        return ""
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return f"{_number(count / size)} {unit}"
    return f"{count:.0f} B"
