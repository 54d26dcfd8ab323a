"""What thousands of tasks cost: a mixed-task batch against a single-task one, memory, cold start.

    python benchmarks/bank.py

The prompts of all tasks are one (their factors are ones), so that both batches decode the same
answers and differ only by what the bank costs. A task is R(P+D) numbers, the shared prompt P*D.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import record

import mpt_jax
from mpt_jax import prompts
from mpt_jax.backbone.formats import backbones
from mpt_jax.product import product_file
from mpt_jax.product.description import ProductInfo

TEXT = "premise: the judge resisted the law . hypothesis: the judge supported the law ."
COLD = f"""
import json, time
start = time.perf_counter()
import mpt_jax
mpt_jax.load
imported = time.perf_counter()
t5 = mpt_jax.load("mini")
loaded = time.perf_counter()
t5.predict([{TEXT!r}])
first = time.perf_counter()
t5.predict([{TEXT!r}])
second = time.perf_counter()
print(json.dumps([imported - start, loaded - imported, first - loaded, second - first]))
"""
PHASES = ("import", "load", "first prediction", "second prediction")


def main() -> None:
    args = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        path = write_bank(folder, args.backbone, args.tasks, args.prompt)
        t5 = mpt_jax.load(args.backbone, path, batch_size=args.batch)
    device = jax.devices()[0].device_kind
    setting = f"{args.tasks} tasks, {args.backbone}, batch {args.batch}, {device}"
    print(setting)

    bank = t5.predictor.params["prompt_bank"]
    size = sum(leaf.nbytes for leaf in bank.values())
    task = 4 * t5.info.rank * (args.prompt + t5.info.width)
    shared = 4 * args.prompt * t5.info.width
    counted = f"{args.tasks} x {task:,} + {shared:,}"
    print(f"bank     {size:,} bytes, counted {counted}")
    assert size == args.tasks * task + shared
    composing, whole = composition_bytes(bank, args.batch), args.tasks * shared
    print(f"         composing a batch takes {composing:,} bytes; all prompts would be {whole:,}")
    rows = [
        {"what": "bank", "value": size, "unit": "bytes", "counted": counted},
        {"what": "composing a batch", "value": composing, "unit": "bytes"},
        {"what": "all prompts", "value": whole, "unit": "bytes"},
    ]

    spread = np.linspace(0, args.tasks - 1, args.batch).astype(int).tolist()
    mixed, single = (predicting(t5, ids) for ids in (spread, [0] * args.batch))
    seconds = medians({"mixed": mixed, "single": single}, args.repeats)
    for name, value in seconds.items():
        print(f"{name:<8} {value:.4f} s a batch")
        rows.append({"what": name, "value": value, "unit": "s"})
    ratio = seconds["mixed"] / seconds["single"]
    print(f"mixed / single {ratio:.3f}")
    rows.append({"what": "mixed / single", "value": ratio})

    phases = [cold_start() for _ in range(args.starts)]
    cold = statistics.median(sum(phase[:3]) for phase in phases)
    print(f"cold start, mini backbone, import to first prediction: {cold:.2f} s")
    rows.append({"what": "cold start", "value": cold, "unit": "s"})
    for name, values in zip(PHASES, zip(*phases, strict=True), strict=True):
        print(f"  {name:<18} {statistics.median(values):.3f} s")
        rows.append({"what": name, "value": statistics.median(values), "unit": "s"})
    record.write(args.csv, [{"setting": setting, **row} for row in rows])


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--backbone", default="mini", help="as `mpt_jax.load` takes it")
    parser.add_argument("--prompt", type=int, default=20, help="prompt length")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=50, help="batches of each kind")
    parser.add_argument("--starts", type=int, default=3, help="cold starts")
    record.add_flag(parser)
    return parser.parse_args()


def write_bank(folder: str, backbone: str, tasks: int, length: int) -> str:
    """A prompt file of so many tasks, rank 1, for a backbone; its path."""
    config = backbones.config_of(backbone)
    shapes = prompts.factorized_shapes(tasks, length, config.emb_dim, rank=1)
    bank = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    bank["shared"] = np.random.default_rng(0).normal(size=shapes["shared"]).astype(np.float32)
    info = ProductInfo(
        method="mpt",
        tasks=tuple(f"task_{k}" for k in range(tasks)),
        length=length,
        width=config.emb_dim,
        rank=1,
        vocabulary_size=config.vocab_size,
        backbone=backbones.identify(backbone).fingerprint,
        feature_lengths={"inputs": 64, "targets": 8},
        label_words={},
        input_forms={},
        step=0,
        metrics={},
    )
    return product_file.save(folder, bank, info)


def composition_bytes(bank: dict[str, jax.Array], batch: int) -> int:
    """Memory that the composed prompts of a batch take, and all that is made on the way."""
    task_ids = jnp.zeros((batch,), jnp.int32)
    used = jax.jit(prompts.compose).lower(bank, task_ids).compile().memory_analysis()
    return used.temp_size_in_bytes + used.output_size_in_bytes


def predicting(t5, task_ids: list[int]) -> Callable[[], object]:
    """A function that predicts for one text a task."""
    rows = [t5.reader.row(TEXT, task_id, "the text") for task_id in task_ids]
    return lambda: t5.predictor.predict(rows, len(rows))


def medians(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median wall seconds of each, called in turns, after one call that compiles."""
    for function in functions.values():
        function()
    found: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            found[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in found.items()}


def cold_start() -> list[float]:
    """Seconds of each of `PHASES` in a new process."""
    out = subprocess.run([sys.executable, "-c", COLD], check=True, capture_output=True, text=True)
    return json.loads(out.stdout)


if __name__ == "__main__":
    main()
