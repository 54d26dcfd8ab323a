"""The paper's table, ready to be filled: docs/paper_table.md, with what it would cost on TPUs.

    python benchmarks/paper_table.py

writes the published averages next to an empty column for ours, and for each row of
gin/sweeps/paper.toml the chip-hours of its runs on v5e; what is counted is also in
docs/paper_table.csv. A step takes what `t5x plan` compiled for T5-Base at 256 input tokens
(docs/tpu_plan.csv), in proportion to the FLOPs counted at the lengths of its task.
"""

import csv
import math
import pathlib
from collections.abc import Callable

import record
import step

from mpt_jax.plan.counting import forward_flops
from mpt_jax.report.reported import MPT_BY_TASK, SOURCE, TABLE
from mpt_jax.sweep import plan_file
from mpt_jax.tasks import paper
from mpt_jax.tasks.mixtures import SIZE_LIMIT

ROOT = pathlib.Path(__file__).parents[1]
PLAN = "gin/sweeps/paper.toml"
# Training rows in TFDS, rounded; what is held out for validation is a percent or less.
ROWS = {
    **{"mnli": 392_702, "qqp": 363_846, "qnli": 104_743, "sst2": 67_349, "stsb": 5_749},
    **{"mrpc": 3_668, "rte": 2_490, "cola": 8_551, "multirc": 27_243, "boolq": 9_427},
    **{"wic": 5_428, "wsc": 554, "cb": 250, "nq": 104_071, "hotpotqa": 72_928},
    **{"searchqa": 117_384, "newsqa": 74_160, "winogrande": 40_398, "yelp": 560_000},
    **{"scitail": 23_097, "paws": 49_401, "squad": 87_599, "record": 138_854},
}
SOURCES = ("mnli", "qnli", "qqp", "sst2", "squad", "record")
SOURCE_EPOCHS = 5
BATCH, PROMPT, COMPILED = 32, 100, (256, 16)  # of docs/tpu_plan.csv
CHIPS = 4  # v5e:2x2
# Labels of the plan as published tables name them, and passes as long as a forward one.
PUBLISHED = {
    "MPT": ("MPT", 2),
    "prompt tuning": ("prompt tuning", 2),
    "SPoT": ("SPoT", 2),
    "ATTEMPT": ("ATTEMPT", 2),
    "adapters": ("Adapters", 2),
    "BitFit": ("BitFit", 2),
    "full fine-tuning": ("full fine-tuning", 3),
}
HEAD = """\
# The paper's table

21 tasks, T5-Base, all training examples, three seeds. It has not been run: that needs the weights,
the data and accelerators. The column `ours` is empty until then.

    t5x sweep gin/sweeps/paper.toml --dry_run     # what is done and what is left
    t5x sweep gin/sweeps/paper.toml               # on an accelerator; --emit for a job scheduler

`t5x report` then has the averages next to the published ones.

The backbone and its vocabulary are `t5_base` and `spiece.model` in the working directory; edit
`settings` in a copy of the plan for others. [The paper's tasks](paper_tasks.md) says how the data
are prepared.

"""
TAIL = """
Adaptation by one method takes {steps:,} steps in all, with {seeds} seeds. The source run is done
once for each seed, {student:,} steps of the student after those of the teachers: {source:.0f}
chip-hours. In all {total:.0f} chip-hours of v5e.

These are times at a chip's full speed, the least that is possible: without reading data,
evaluation, compilation and idle time. `python benchmarks/paper_table.py` counts them from the
[plans](tpu.md) of T5-Base and the published numbers of rows.

Reported: {reported}
"""


def main() -> None:
    """Writes the page."""
    backbone = step.sizes("t5_base")
    times = step_seconds()

    def hours(task: str, steps: float, passes: int, kind: str = "target") -> float:
        """Chip-hours of steps with rows of a task."""
        lengths = paper.feature_lengths(task)
        flops = forward_flops(backbone, PROMPT + lengths["inputs"], lengths["targets"])
        compiled = forward_flops(backbone, PROMPT + COMPILED[0], COMPILED[1])
        relative = flops / compiled * passes / {"target": 2, "source": 3}[kind]
        return steps * times[kind] * relative * CHIPS / 3600

    plan = plan_file.load(PLAN)
    seeds = len(plan.seeds)
    groups = " | ".join(f"{group} | ours" for group in MPT_BY_TASK)
    lines = [
        f"| method | tuned | {groups} | chip-hours |",
        "|---" * (3 + 2 * len(MPT_BY_TASK)) + "|",
    ]
    total, counted = 0.0, []
    for method in plan.methods:
        name, passes = PUBLISHED[method.label]
        point = next(point for point in TABLE if point.method == name)
        cost = sum(hours(task, seeds * target_steps(task), passes) for task in plan.tasks)
        scores = " | ".join(f"{point.means[group]} |" for group in MPT_BY_TASK)
        lines.append(f"| {method.label} | {point.tuned:,} | {scores} | {cost:.1f} |")
        counted.append({"what": method.label, "tuned": point.tuned, "chip_hours": cost})
        total += cost
    source = source_cost(hours) * seeds
    total += source
    student = math.ceil(SOURCE_EPOCHS * sum(ROWS[task] for task in SOURCES) / BATCH)
    steps = seeds * sum(map(target_steps, plan.tasks))
    tail = TAIL.format(
        student=student, steps=steps, source=source, seeds=seeds, total=total, reported=SOURCE
    )
    page = HEAD + "\n".join(lines) + "\n" + tail
    (ROOT / "docs/paper_table.md").write_text(page, encoding="utf-8")
    counted += [
        {"what": "source run", "steps": student, "chip_hours": source},
        {"what": "adaptation by one method", "steps": steps},
        {"what": "in all", "chip_hours": total},
    ]
    record.write(ROOT / "docs/paper_table.csv", counted, machine="v5e:2x2, by its compiler")
    print(page)


def target_steps(task: str) -> int:
    """Of an adaptation, as gin/suites/paper.gin counts them."""
    return math.ceil(paper.epochs(task) * min(ROWS[task], SIZE_LIMIT) / BATCH)


def source_cost(hours: Callable[..., float]) -> float:
    """Chip-hours of the teachers, each as long as that of the largest task, and of the student."""
    most = max(ROWS[task] for task in SOURCES)
    teachers = SOURCE_EPOCHS * most / BATCH * len(SOURCES)  # in batches of one task
    student = SOURCE_EPOCHS * sum(ROWS[task] for task in SOURCES) / BATCH
    longest = max(SOURCES, key=lambda task: paper.feature_lengths(task)["inputs"])
    return hours(longest, teachers, 2) + hours(longest, student, 3, "source")


def step_seconds() -> dict[str, float]:
    """The roofline's time of T5-Base's steps, by step."""
    with (ROOT / "docs/tpu_plan.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["size"] == "t5_base"]
    found = {}
    for row in rows:
        if row["topology"] == "v5e:2x2" and row["batch"] == str(BATCH):
            parts = (row[f"{part}_s"] for part in ("arithmetic", "memory", "links"))
            found[row["step"]] = max(map(float, parts))
    return found


if __name__ == "__main__":
    main()
