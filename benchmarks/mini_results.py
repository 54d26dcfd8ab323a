"""The mini suite's comparison: MPT, its ablations and prompt tuning, few-shot and full data.

    python benchmarks/mini_results.py

trains the sources and then every cell (method × target × shots × seed) with the shipped gin files
in worker processes, and writes docs/mini_results.md and .csv. Finished cells are kept, so an
interrupted run resumes. Each cell differs from its neighbours in gin overlays alone: same steps,
batch size, draw of the k examples, validation and test rows.
"""

import argparse
import concurrent.futures
import contextlib
import csv
import dataclasses
import json
import multiprocessing
import os
import pathlib
import statistics
import time
from collections.abc import Iterator

TARGETS = (
    "mini_news_nli",
    "mini_rte",
    "mini_similarity",
    "mini_acceptability",
    "mini_wic",
    "mini_coref",
    "mini_boolq",
    "mini_data2text",
)
FULL = "full"


@dataclasses.dataclass(frozen=True)
class Method:
    """A row of the table: its gin overlays, and the source run that it starts from."""

    name: str
    overlays: tuple[str, ...]
    source: str | None


METHODS = (
    Method("MPT", (), "mpt"),
    Method("MPT without distillation", (), "no_distillation"),
    Method("MPT without decomposition", ("spot",), "no_decomposition"),
    Method("prompt tuning from the source prompt", ("spot",), "neither"),
    Method("prompt tuning from scratch", ("prompt_tuning",), None),
)
# Source runs by name: gin overlays. The teachers of "mpt" serve "no_decomposition" too.
SOURCES = {
    "mpt": (),
    "no_distillation": ("no_distillation",),
    "no_decomposition": ("shared_prompt",),
    "neither": ("shared_prompt", "no_distillation"),
}


@dataclasses.dataclass(frozen=True)
class Run:
    """One training run: where it goes and what it is made of."""

    folder: str
    files: tuple[str, ...]
    overrides: tuple[str, ...]
    tested: bool


def source_runs(root: pathlib.Path, seed: int) -> list[Run]:
    """The source runs of one seed; the first one trains the teachers."""
    runs = []
    for name, overlays in SOURCES.items():
        overrides = [f"RANDOM_SEED={seed}"]
        if name == "no_decomposition":
            overrides.append(f"TEACHER_PROMPTS={_source(root, 'mpt', seed)}/teachers")
        files = ("gin/mpt_source.gin", *(f"gin/methods/{o}.gin" for o in overlays))
        runs.append(Run(_source(root, name, seed), files, tuple(overrides), tested=False))
    return runs


def target_run(root: pathlib.Path, method: Method, task: str, shots: str, seed: int) -> Run:
    """One cell; the seed decides the source run, the draw of the examples and their order."""
    overrides = [
        f"MIXTURE_OR_TASK_NAME={task}",
        f"RANDOM_SEED={seed}",
        f"FEW_SHOT_SEED={seed}",
        f"FEW_SHOT={'None' if shots == FULL else shots}",
    ]
    if method.source:
        overrides.append(f"SOURCE_PROMPTS={_source(root, method.source, seed)}")
    files = ("gin/mpt_target.gin", *(f"gin/methods/{o}.gin" for o in method.overlays))
    folder = root / "targets" / method.name.replace(" ", "_") / f"{task}-{shots}-{seed}"
    return Run(str(folder), files, tuple(overrides), tested=True)


def train(run: Run) -> None:
    """Train one run, and score its prompts on the test split, unless that is done already."""
    from mpt_jax.engine import config

    folder = pathlib.Path(run.folder)
    product = folder / "test" / "metrics.json" if run.tested else folder / "done"
    if product.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with _output_to(folder / "log.txt"):
        config.parse(run.files, [*run.overrides, f"MODEL_DIR={folder}"])
        config.call("mpt_jax.t5x.train", "train")
        if run.tested:
            evaluation = [f"PROMPTS={folder}", f"EVAL_OUTPUT_DIR={folder / 'test'}"]
            config.parse(["gin/mpt_eval.gin"], evaluation)
            config.call("mpt_jax.t5x.eval", "evaluate")
        else:
            product.touch()


@contextlib.contextmanager
def _output_to(path: pathlib.Path) -> Iterator[None]:
    with path.open("w") as log, contextlib.redirect_stderr(log), contextlib.redirect_stdout(log):
        yield


def train_all(pool: concurrent.futures.Executor, runs: list[Run], what: str) -> None:
    """Train the runs in the pool's processes, printing how far it is."""
    start = time.monotonic()
    futures = [pool.submit(train, run) for run in runs]
    for done, future in enumerate(concurrent.futures.as_completed(futures), 1):
        future.result()
        print(f"{what}: {done}/{len(runs)} in {time.monotonic() - start:.0f} s", flush=True)


def collect(root: pathlib.Path, tasks, shots, seeds) -> list[dict]:
    """One record per cell: its key metric on the test split, in percent."""
    records = []
    for method in METHODS:
        for task in tasks:
            for k in shots:
                for seed in seeds:
                    folder = target_run(root, method, task, k, seed).folder
                    results = json.loads(pathlib.Path(folder, "test/metrics.json").read_text())
                    score = results["mean"]["key_metric"]
                    cell = {"method": method.name, "task": task, "shots": k, "seed": seed}
                    records.append({**cell, "score": score})
    return records


def table(records: list[dict], shots: str, tasks) -> list[str]:
    """A Markdown table: method × task, mean ± std over seeds, and the mean over tasks."""
    lines = [
        "| method | " + " | ".join(t.removeprefix("mini_") for t in tasks) + " | mean |",
        "|---" * (len(tasks) + 2) + "|",
    ]
    for method in METHODS:
        cells = []
        of_method = [r for r in records if (r["method"], r["shots"]) == (method.name, shots)]
        for task in tasks:
            cells.append(_mean_std([r["score"] for r in of_method if r["task"] == task]))
        by_seed = {}
        for r in of_method:
            by_seed.setdefault(r["seed"], []).append(r["score"])
        cells.append(f"**{_mean_std([statistics.mean(s) for s in by_seed.values()])}**")
        lines.append(f"| {method.name} | " + " | ".join(cells) + " |")
    return lines


def write(records: list[dict], tasks, shots, seeds, path: pathlib.Path, note: str) -> None:
    """docs/mini_results.md, and the cells as CSV beside it."""
    lines = [
        "# Results on the mini suite",
        "",
        "Written by `python benchmarks/mini_results.py`: do not edit. Key metric of each task on",
        "its test split (accuracy; Pearson for similarity, Matthews for acceptability, BLEU for",
        "data2text), in percent, mean ± standard deviation over "
        f"{len(seeds)} seeds. A seed decides the source",
        "run, the draw of the k training examples and the order of the data. All methods take the",
        "same steps on the same batches, and keep the prompt of the best validation score.",
        "",
        note,
    ]
    for k in shots:
        title = "All training examples" if k == FULL else f"{k} training examples"
        lines += ["", f"## {title}", "", *table(records, k, tasks)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with path.with_suffix(".csv").open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, ["method", "task", "shots", "seed", "score"])
        writer.writeheader()
        writer.writerows({**r, "score": f"{r['score']:.3f}"} for r in records)


def _source(root: pathlib.Path, name: str, seed: int) -> str:
    return str(root / "sources" / f"{name}-{seed}")


def _mean_std(scores: list[float]) -> str:
    spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
    return f"{statistics.mean(scores):.1f} ± {spread:.1f}"


def _start_worker(cache: str) -> None:
    # Two single-threaded workers use two cores better than one worker with two threads.
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import absl.logging
    import jax

    absl.logging.set_verbosity("error")
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def main() -> None:
    """Parse arguments, train, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--targets", nargs="+", default=list(TARGETS))
    parser.add_argument("--shots", nargs="+", default=["16", "32", FULL])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs/mini_results"))
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("docs/mini_results.md"))
    args = parser.parse_args()
    root, seeds, start = args.folder.absolute(), range(args.seeds), time.monotonic()
    with concurrent.futures.ProcessPoolExecutor(
        args.processes,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(str(root / "compiled"),),
    ) as pool:
        sources = [source_runs(root, seed) for seed in seeds]
        first = [run for runs in sources for run in runs if "TEACHER" not in str(run.overrides)]
        train_all(pool, first, "sources")
        rest = [run for runs in sources for run in runs if run not in first]
        train_all(pool, rest, "sources that use their teachers")
        cells = [
            target_run(root, method, task, shots, seed)
            for shots in args.shots
            for seed in seeds
            for task in args.targets
            for method in METHODS
        ]
        train_all(pool, cells, "targets")
    records = collect(root, args.targets, args.shots, seeds)
    note = (
        f"{len(cells)} target runs and {len(seeds) * (len(SOURCES) + 1)} source runs on "
        f"{os.cpu_count()} CPU cores; the last call of the command took "
        f"{(time.monotonic() - start) / 60:.0f} minutes."
    )
    write(records, args.targets, args.shots, seeds, args.out, note)
    print(args.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
