"""The table of docs/tpu.md: what a step needs on TPU slices, as `t5x plan` compiles it.

    python benchmarks/tpu_plan.py [--only='t5_xxl v5e:8x8']

compiles each row (a minute or two each, on two cores) and writes docs/tpu_plan.csv row by row, then
the table in docs/tpu.md. Rows that are not compiled anew stay. Needs the TPU compiler, which is in
`.[tpu_check]`.
"""

import argparse
import csv
import itertools
import json
import pathlib
import subprocess
import sys
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parents[1]
CSV, PAGE = ROOT / "docs" / "tpu_plan.csv", ROOT / "docs" / "tpu.md"
BEGIN, END = "<!-- benchmarks/tpu_plan.py -->\n", "<!-- end -->"
COMMON = (
    "--gin.TASK_FEATURE_LENGTHS={'inputs': 256, 'targets': 16}",
    "--gin.PROMPT_LENGTH=100",
    "--gin.DTYPE=bfloat16",
)
SCANNED = ("--gin.config.T5Config.scan_layers=True", "--gin.config.T5Config.remat=True")
STEPS = {
    "source": ("--gin_file=gin/mpt_source.gin",),
    "target": ("--gin_file=gin/mpt_target.gin",),
    "decoding": ("--gin_file=gin/mpt_target.gin", "--step=predict"),
}
# size -> topology, model partitions and batch of each kind of chip
SLICES = {
    "base": (("v5e:2x2", 1, 32), ("v4:2x2x1", 1, 32), ("v5p:2x2x1", 1, 32)),
    "large": (("v5e:2x2", 1, 32), ("v4:2x2x1", 1, 32), ("v5p:2x2x1", 1, 32)),
    "xl": (("v5e:4x4", 4, 64), ("v4:2x2x1", 1, 32), ("v5p:2x2x1", 1, 32)),
    "xxl": (("v5e:8x8", 8, 64), ("v4:2x2x4", 4, 64), ("v5p:2x2x2", 2, 64)),
}
MODELS = ("t5", "t5_1_1")
KEYS = ("size", "topology", "model", "batch", "step")
COLUMNS = (
    *KEYS, "fits", "parameters", "temporaries", "peak", "memory", "counted_flops", "flops", "bytes",
    "hbm_bytes", "sent", "arithmetic_s", "memory_s", "links_s", "bound", "compile_s",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="rows that begin so: 't5_xl v5e:4x4'")
    rows = {key(row): row for row in read()}
    for named in chosen(parser.parse_args().only):
        rows[key(named)] = {**named, **planned(named)}
        write([rows[key(each)] for each in chosen() if key(each) in rows])
        print(*rows[key(named)].values(), flush=True)
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    PAGE.write_text(before + BEGIN + table(read()) + END + rest.split(END)[1], encoding="utf-8")
    return 0


def chosen(only: str = "") -> Iterator[dict[str, str]]:
    """The rows that begin with `only`, in their order; decoding on the first slice alone."""
    for model, (size, slices) in itertools.product(MODELS, SLICES.items()):
        for (topology, parts, batch), step in itertools.product(slices, STEPS):
            row = (f"{model}_{size}", topology, str(parts), str(batch), step)
            wanted = step != "decoding" or topology == slices[0][0]
            if wanted and " ".join(row).startswith(only):
                yield dict(zip(KEYS, row, strict=True))


def planned(named: dict[str, str]) -> dict[str, str]:
    """The numbers of one row."""
    command = [
        *(sys.executable, "-m", "mpt_jax.cli", "plan", "--json", *STEPS[named["step"]]),
        *(f"--gin_file=gin/models/{named['size']}.gin", f"--topology={named['topology']}"),
        *COMMON,
        *(() if named["size"].endswith("base") else SCANNED),
        f"--gin.BATCH_SIZE={named['batch']}",
        f"--gin.EVAL_BATCH_SIZE={named['batch']}",
        f"--gin.partitioning.PjitPartitioner.num_partitions={named['model']}",
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if not done.stdout:
        sys.exit(done.returncode)
    facts = json.loads(done.stdout)
    compiled, counted = facts["compiled"], facts["counted"]
    seconds = compiled["seconds"]
    numbers = {
        "parameters": counted["parameters"],
        "temporaries": compiled["temporaries"],
        "peak": compiled["peak"],
        "memory": facts["chip"]["memory"],
        "counted_flops": counted["flops"],
        "flops": compiled["flops"],
        "bytes": compiled["bytes"],
        "hbm_bytes": compiled["hbm_bytes"],
        "sent": compiled["moved"],
        **{f"{name}_s": seconds.get(name) for name in ("arithmetic", "memory", "links")},
        "compile_s": compiled["compile_seconds"],
    }
    shown = {name: "" if value is None else f"{value:.4g}" for name, value in numbers.items()}
    fits, bound = str(compiled["fits"]), compiled["bound"] or ""
    return {name: {**shown, "fits": fits, "bound": bound}[name] for name in COLUMNS[len(KEYS) :]}


def key(row: dict[str, str]) -> tuple[str, ...]:
    return tuple(row[name] for name in KEYS)


def read() -> list[dict[str, str]]:
    if not CSV.exists():
        return []
    with CSV.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(rows: list[dict[str, str]]) -> None:
    with CSV.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def table(rows: list[dict[str, str]]) -> str:
    """In Markdown; GB and ms per chip."""
    titles = (
        "size", "slice", "data × model", "batch", "step", "weights, GB", "peak, GB",
        "TFLOP (counted)", "GB of HBM", "GB sent", "roofline, ms",
    )  # fmt: skip
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    for row in rows:
        lines.append(f"| {' | '.join(cells(row))} |")
    return "\n".join(lines) + "\n"


def cells(row: dict[str, str]) -> list[str]:
    def scaled(name: str, unit: float) -> str:
        return f"{float(row[name]) / unit:.3g}" if row[name] else "-"

    chips = 1
    for size in row["topology"].partition(":")[2].split("x"):
        chips *= int(size)
    fits = "" if row["fits"] == "True" else ": does not fit"
    bound = {"arithmetic": "arithmetic", "memory": "memory", "links": "links", "": ""}[row["bound"]]
    return [
        row["size"],
        row["topology"],
        f"{chips // int(row['model'])} × {row['model']}",
        row["batch"],
        row["step"],
        scaled("parameters", 1e9),
        f"{scaled('peak', 1e9)} of {scaled('memory', 1e9)}{fits}",
        f"{scaled('flops', 1e12)} ({scaled('counted_flops', 1e12)})",
        scaled("hbm_bytes", 1e9),
        scaled("sent", 1e9),
        f"{scaled(row['bound'] + '_s', 1e-3)} ({bound})" if bound else "-",
    ]


if __name__ == "__main__":
    sys.exit(main())
