r"""MPT and its rivals on real corpora, on a backbone pretrained on the same corpora.

    python benchmarks/real_data.py --data DATA

prepares the corpora (`real/corpora.py`), learns a vocabulary, pretrains a small T5 v1.1, trains the
sources and then every cell (method × target × shots × seed) in worker processes, and writes
docs/real_results.md and its CSVs. The backbone has read the targets' training rows in pretraining,
as T5 v1.0 has; with --regime unseen it has not. Finished parts are kept, so that an interrupted run
resumes; other settings want another --folder. A GPU takes a larger backbone:

    python benchmarks/real_data.py --processes 1 --sizes EMB_DIM=512 NUM_HEADS=8 MLP_DIM=1024 \
        NUM_LAYERS=8 DECODER_LAYERS=4 --pretraining TRAIN_STEPS=60000 BATCH_SIZE=128
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import time
from collections.abc import Iterator, Sequence

from mini import rates
from mini.regimes import SEEN, UNSEEN
from real import corpora

from mpt_jax.errors import run_script
from mpt_jax.sweep import cells, command, plan_file, recorded
from mpt_jax.sweep.plan import FULL, Plan, Stage

GIN = pathlib.Path(__file__).resolve().parent / "real"
BACKBONE, SOURCES, TARGETS = (str(GIN / f"{n}.gin") for n in ("backbone", "sources", "targets"))
VOCABULARY = "spiece.model"
RATES = pathlib.Path(__file__).resolve().parents[1] / "docs" / "mini_rates.csv"
METHODS = (
    "MPT",
    "prompt tuning from the source prompt",
    "prompt tuning from scratch",
    "adapters",
    "BitFit",
    "LoRA",
    "full fine-tuning",
)


def prepare(data: pathlib.Path, root: pathlib.Path) -> None:
    """Write the corpora's copy, `root/data`, and what is made of its texts: rows and a vocabulary.

    Raises:
      UserError: a corpus is missing.
    """
    from real import texts

    if (root / VOCABULARY).exists():
        return
    corpora.check(data)
    copied = root / "data"
    removed = corpora.copy(data, copied)
    training, removed["the texts to corrupt"] = corpora.training_texts(copied)
    (copied / corpora.REMOVED).write_text(json.dumps(removed, indent=1), encoding="utf-8")
    texts.write_corruption(training, copied / "corruption.jsonl")
    texts.write_overlap(training, copied / "overlap.jsonl")
    model = texts.vocabulary(training)
    (root / VOCABULARY).write_bytes(model)  # last: it says that all is there
    print(f"left out: {removed}", flush=True)


def pretraining(
    root: pathlib.Path, regime: str, sizes: Sequence[str], settings: Sequence[str]
) -> cells.Run:
    """The run that makes the backbone.

    Args:
      root: folder of all runs.
      regime: `SEEN`, or `UNSEEN`: whether the targets' training rows are read.
      sizes: NAME=VALUE of macros of real/backbone.gin.
      settings: NAME=VALUE of macros of real/pretraining.gin.
    """
    files = ["gin/runs/train.gin", BACKBONE, SOURCES, str(GIN / "pretraining.gin")]
    if regime == SEEN:
        files = [*files[:-1], TARGETS, files[-1], str(GIN / "seen.gin")]
    folder = root / "pretraining"
    overrides = (*_places(root), *sizes, *settings, f"MODEL_DIR={folder}")
    return cells.Run("pretraining", folder, (cells.Step("train", tuple(files), overrides),))


def comparison(
    root: pathlib.Path,
    regime: str,
    tasks: Sequence[str],
    shots: Sequence[str],
    seeds: Sequence[int],
    sizes: Sequence[str] = (),
    sources: Sequence[str] = (),
    targets: Sequence[str] = (),
) -> Plan:
    """The runs on the pretrained backbone: methods and sources of the mini suite's comparison.

    Each method learns at the rate that was chosen for it on the mini suite, in the same regime.

    Args:
      root: folder of all runs.
      regime: `SEEN` or `UNSEEN`.
      tasks, shots, seeds: of the cells.
      sizes: NAME=VALUE of macros of real/backbone.gin.
      sources, targets: NAME=VALUE of macros of real/sources.gin and real/targets.gin.
    """
    start = f"INITIAL_CHECKPOINT_PATH={root / 'pretraining' / 'backbone'}"
    mini, tried = (plan_file.load(f"gin/sweeps/{name}.toml") for name in ("mini", "mini_rates"))
    return dataclasses.replace(
        rates.chosen(mini, tried, rates.read(RATES, regime)),
        name="real_data",
        tasks=tuple(tasks),
        shots=tuple(shots),
        seeds=tuple(seeds),
        source=Stage(("gin/mpt_source.gin", BACKBONE, SOURCES), tuple(sources)),
        target=Stage(("gin/mpt_target.gin", BACKBONE, TARGETS), tuple(targets)),
        evaluation=Stage(("gin/mpt_eval.gin", BACKBONE, TARGETS)),
        settings=(*_places(root), start, *sizes),
        by_shots={},
    )


def _places(root: pathlib.Path) -> tuple[str, ...]:
    return (f"SPIECE_MODEL={root / VOCABULARY}", f"local.Task.folder={root / 'data'}")


@contextlib.contextmanager
def timed(stage: str, file: pathlib.Path) -> Iterator[None]:
    """Add the seconds that the block takes to those of `stage` in `file`, over all calls."""
    start = time.monotonic()
    try:
        yield
    finally:
        times = times_in(file)
        times[stage] = times.get(stage, 0.0) + time.monotonic() - start
        file.write_text(json.dumps(times, indent=1), encoding="utf-8")


def times_in(file: pathlib.Path) -> dict[str, float]:
    """Stage -> seconds, as `timed` has written them."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = [corpus.name for corpus in corpora.TARGETS]
    path = pathlib.Path
    parser.add_argument("--data", type=path, default=path("../shared/data/real"))
    parser.add_argument("--targets", nargs="+", default=known, choices=known)
    parser.add_argument("--regime", default=SEEN, choices=(SEEN, UNSEEN))
    parser.add_argument("--methods", nargs="+", default=METHODS, metavar="LABEL")
    parser.add_argument("--shots", nargs="+", default=[FULL], metavar="K")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=path, help="default: runs/real_data_REGIME")
    parser.add_argument("--out", type=path, help="default: docs/real_results.md, if seen")
    for stage in ("sizes", "pretraining", "source-settings", "target-settings"):
        parser.add_argument(f"--{stage}", nargs="+", default=[], metavar="NAME=VALUE")
    args = parser.parse_args(given)
    args.folder = args.folder or path(f"runs/real_data_{args.regime}")
    args.out = args.out or path(f"docs/real_results{'' if args.regime == SEEN else '_unseen'}.md")
    return args


def main(given: Sequence[str] | None = None) -> int:
    """Parse arguments, prepare, train, write the page; returns the exit status."""
    args = _arguments(given)
    root = args.folder.absolute()
    root.mkdir(parents=True, exist_ok=True)
    clock = root / "times.json"
    first = pretraining(root, args.regime, args.sizes, args.pretraining)
    settings = (args.sizes, args.source_settings, args.target_settings)
    plan = comparison(root, args.regime, args.targets, args.shots, range(args.seeds), *settings)
    plan = plan.select(methods=args.methods)
    cells.check(plan, root)
    runs_of_plan = cells.all_runs(plan, root)
    recorded.check(runs_of_plan)  # its tables would refuse them after all training
    with timed("preparation", clock):
        prepare(args.data, root)
    left = cells.left_of(runs_of_plan)
    of_sources = [run for run in left if run.scores is None]
    of_targets = [run for run in left if run.scores is not None]
    for stage, runs, processes in (
        ("pretraining", cells.left_of([first]), 1),
        ("sources", of_sources, args.processes),
        ("targets", of_targets, args.processes),
    ):
        with timed(stage, clock):
            status = command.finish(runs, processes, root)
        if status:
            return status
    from real import by_name, report

    if not (root / report.BY_NAME).exists():
        backbone = str(root / "pretraining" / "backbone")
        by_name.write(root / report.BY_NAME, plan, root, backbone, root / VOCABULARY)
    report.write(args.out, plan, root, args.regime, times_in(clock))
    print(args.out.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    run_script(main)
