"""A comparison of methods on target tasks: its runs, their training in processes, its table.

`mini_results.py` and `real_data.py` state their suite and share the rest. Each cell (method ×
target × shots × seed) differs from its neighbours in gin overlays alone: same steps, batch size,
draw of the k examples, validation and test rows. Finished runs are kept, so that an interrupted
comparison resumes.
"""

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
from collections.abc import Iterator, Sequence

FULL = "full"  # instead of a number of shots: all training examples


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
class Suite:
    """What all runs of a comparison share.

    Attributes:
      root: folder of the runs.
      source, target: gin files before those of a method.
      evaluation: gin files of the evaluation on the test split.
      settings: overrides of every run and evaluation, as after `--gin.`.
      source_settings, target_settings: overrides of the runs of one stage.
    """

    root: pathlib.Path
    source: tuple[str, ...] = ("gin/mpt_source.gin",)
    target: tuple[str, ...] = ("gin/mpt_target.gin",)
    evaluation: tuple[str, ...] = ("gin/mpt_eval.gin",)
    settings: tuple[str, ...] = ()
    source_settings: tuple[str, ...] = ()
    target_settings: tuple[str, ...] = ()

    def source_folder(self, name: str, seed: int) -> str:
        """Where the source run `name` of one seed is."""
        return str(self.root / "sources" / f"{name}-{seed}")


@dataclasses.dataclass(frozen=True)
class Run:
    """One training run: where it goes and what it is made of.

    Attributes:
      folder: the run folder.
      files, overrides: of the training.
      evaluation, evaluation_overrides: of the scoring on the test split; no files, no scoring.
    """

    folder: str
    files: tuple[str, ...]
    overrides: tuple[str, ...]
    evaluation: tuple[str, ...] = ()
    evaluation_overrides: tuple[str, ...] = ()


def source_runs(suite: Suite, seed: int) -> list[Run]:
    """The source runs of one seed; the first one trains the teachers."""
    runs = []
    for name, overlays in SOURCES.items():
        overrides = [*suite.settings, *suite.source_settings, f"RANDOM_SEED={seed}"]
        if name == "no_decomposition":
            overrides.append(f"TEACHER_PROMPTS={suite.source_folder('mpt', seed)}/teachers")
        files = (*suite.source, *_overlays(overlays))
        runs.append(Run(suite.source_folder(name, seed), files, tuple(overrides)))
    return runs


def target_run(suite: Suite, method: Method, task: str, shots: str, seed: int) -> Run:
    """One cell; the seed decides the source run, the draw of the examples and their order."""
    overrides = [
        *suite.settings,
        *suite.target_settings,
        f"MIXTURE_OR_TASK_NAME={task}",
        f"RANDOM_SEED={seed}",
        f"FEW_SHOT_SEED={seed}",
        f"FEW_SHOT={'None' if shots == FULL else shots}",
    ]
    if method.source:
        overrides.append(f"SOURCE_PROMPTS={suite.source_folder(method.source, seed)}")
    folder = suite.root / "targets" / method.name.replace(" ", "_") / f"{task}-{shots}-{seed}"
    return Run(
        str(folder),
        (*suite.target, *_overlays(method.overlays)),
        tuple(overrides),
        suite.evaluation,
        suite.settings,
    )


def _overlays(names: Sequence[str]) -> list[str]:
    return [f"gin/methods/{name}.gin" for name in names]


def train(run: Run) -> None:
    """Train one run, and score its prompts on the test split, unless that is done already."""
    from mpt_jax.engine import config

    folder = pathlib.Path(run.folder)
    product = folder / "test" / "metrics.json" if run.evaluation else folder / "done"
    if product.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with _output_to(folder / "log.txt"):
        config.parse(run.files, [*run.overrides, f"MODEL_DIR={folder}"])
        config.call("mpt_jax.t5x.train", "train")
        if run.evaluation:
            places = [f"PROMPTS={folder}", f"EVAL_OUTPUT_DIR={folder / 'test'}"]
            config.parse(run.evaluation, [*run.evaluation_overrides, *places])
            config.call("mpt_jax.t5x.eval", "evaluate")
        else:
            product.touch()


@contextlib.contextmanager
def _output_to(path: pathlib.Path) -> Iterator[None]:
    with path.open("w") as log, contextlib.redirect_stderr(log), contextlib.redirect_stdout(log):
        yield


def workers(processes: int, root: pathlib.Path) -> concurrent.futures.ProcessPoolExecutor:
    """Processes to train in, which share compiled programs under `root`."""
    return concurrent.futures.ProcessPoolExecutor(
        processes,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(str(root / "compiled"), processes > 1),
    )


def _start_worker(cache: str, one_of_several: bool) -> None:
    if one_of_several:
        # Two single-threaded workers use two cores better than one worker with two threads.
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import absl.logging
    import jax

    absl.logging.set_verbosity("error")
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def train_all(pool: concurrent.futures.Executor, runs: list[Run], what: str) -> None:
    """Train the runs in the pool's processes, printing how far it is."""
    start = time.monotonic()
    futures = [pool.submit(train, run) for run in runs]
    for done, future in enumerate(concurrent.futures.as_completed(futures), 1):
        future.result()
        print(f"{what}: {done}/{len(runs)} in {time.monotonic() - start:.0f} s", flush=True)


def train_sources(pool: concurrent.futures.Executor, suite: Suite, seeds: Sequence[int]) -> None:
    """Train the source runs of all seeds, those that use another's teachers last."""
    sources = [source_runs(suite, seed) for seed in seeds]
    first = [run for runs in sources for run in runs if "TEACHER" not in str(run.overrides)]
    train_all(pool, first, "sources")
    rest = [run for runs in sources for run in runs if run not in first]
    train_all(pool, rest, "sources that use their teachers")


def target_runs(
    suite: Suite, tasks: Sequence[str], shots: Sequence[str], seeds: Sequence[int]
) -> list[Run]:
    """All cells."""
    return [
        target_run(suite, method, task, k, seed)
        for k in shots
        for seed in seeds
        for task in tasks
        for method in METHODS
    ]


def collect(
    suite: Suite, tasks: Sequence[str], shots: Sequence[str], seeds: Sequence[int]
) -> list[dict]:
    """One record per cell: its key metric on the test split, in percent."""
    records = []
    for method in METHODS:
        for task in tasks:
            for k in shots:
                for seed in seeds:
                    folder = target_run(suite, method, task, k, seed).folder
                    results = json.loads(pathlib.Path(folder, "test/metrics.json").read_text())
                    score = results["mean"]["key_metric"]
                    cell = {"method": method.name, "task": task, "shots": k, "seed": seed}
                    records.append({**cell, "score": score})
    return records


def rows(records: list[dict], shots: str, tasks: Sequence[str]) -> list[list[str]]:
    """A row per method: its name, mean ± std over seeds for each task, and the mean over tasks."""
    found = []
    for method in METHODS:
        cells = []
        of_method = [r for r in records if (r["method"], r["shots"]) == (method.name, shots)]
        for task in tasks:
            cells.append(mean_std([r["score"] for r in of_method if r["task"] == task]))
        by_seed = {}
        for r in of_method:
            by_seed.setdefault(r["seed"], []).append(r["score"])
        cells.append(f"**{mean_std([statistics.mean(s) for s in by_seed.values()])}**")
        found.append([method.name, *cells])
    return found


def mean_std(scores: Sequence[float]) -> str:
    """Mean ± sample standard deviation, which is 0 for a single score."""
    spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
    return f"{statistics.mean(scores):.1f} ± {spread:.1f}"


def markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    lines = [f"| {' | '.join(row)} |" for row in [head, *body]]
    return [lines[0], "|---" * len(head) + "|", *lines[1:]]


def title(shots: str) -> str:
    """The heading over a table."""
    return "All training examples" if shots == FULL else f"{shots} training examples"


def write_csv(records: list[dict], path: pathlib.Path) -> None:
    """Every cell, one line each."""
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, ["method", "task", "shots", "seed", "score"])
        writer.writeheader()
        writer.writerows({**r, "score": f"{r['score']:.3f}"} for r in records)
