r"""MPT and its rivals on real corpora, on a backbone pretrained on the same corpora.

    python benchmarks/real_data.py --data DATA

prepares the corpora (`real/corpora.py`), learns a vocabulary, pretrains a small T5 v1.1, trains the
sources and then every cell (method × target × shots × seed) in worker processes, and writes
docs/real_results.md and .csv. Finished parts are kept, so that an interrupted run resumes; other
settings want another --folder. A GPU takes a larger backbone:

    python benchmarks/real_data.py --processes 1 --sizes EMB_DIM=512 NUM_HEADS=8 MLP_DIM=1024 \
        NUM_LAYERS=8 --pretraining TRAIN_STEPS=60000 BATCH_SIZE=128
"""

import argparse
import contextlib
import json
import os
import pathlib
import sys
import time
from collections.abc import Iterator, Sequence

import comparison
from real import corpora

from mpt_jax.errors import UserError

GIN = pathlib.Path(__file__).resolve().parent / "real"
BACKBONE, SOURCES, TARGETS = (str(GIN / f"{n}.gin") for n in ("backbone", "sources", "targets"))
VOCABULARY = "spiece.model"


def prepare(data: pathlib.Path, root: pathlib.Path) -> None:
    """Write the corpora's copy, `root/data`, and of its texts corrupted spans and a vocabulary.

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
    model = texts.vocabulary(training)
    (root / VOCABULARY).write_bytes(model)  # last: it says that all is there
    print(f"left out: {removed}", flush=True)


def pretraining(
    root: pathlib.Path, sizes: Sequence[str], settings: Sequence[str]
) -> comparison.Run:
    """The run that makes the backbone.

    Args:
      root: folder of all runs.
      sizes: NAME=VALUE of macros of real/backbone.gin.
      settings: NAME=VALUE of macros of real/pretraining.gin.
    """
    files = ("gin/runs/train.gin", BACKBONE, SOURCES, str(GIN / "pretraining.gin"))
    overrides = (*_places(root), *sizes, *settings)
    return comparison.Run(str(root / "pretraining"), files, overrides)


def comparison_suite(
    root: pathlib.Path, sizes: Sequence[str], sources: Sequence[str], targets: Sequence[str]
) -> comparison.Suite:
    """What the runs on the pretrained backbone share.

    Args:
      root: folder of all runs.
      sizes: NAME=VALUE of macros of real/backbone.gin.
      sources, targets: NAME=VALUE of macros of real/sources.gin and real/targets.gin.
    """
    start = f"INITIAL_CHECKPOINT_PATH={root / 'pretraining' / 'backbone'}"
    return comparison.Suite(
        root,
        source=("gin/mpt_source.gin", BACKBONE, SOURCES),
        target=("gin/mpt_target.gin", BACKBONE, TARGETS),
        evaluation=("gin/mpt_eval.gin", BACKBONE, TARGETS),
        settings=(*_places(root), start, *sizes),
        source_settings=tuple(sources),
        target_settings=tuple(targets),
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
    parser.add_argument("--shots", nargs="+", default=[comparison.FULL], metavar="K")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=path, default=path("runs/real_data"))
    parser.add_argument("--out", type=path, default=path("docs/real_results.md"))
    for stage in ("sizes", "pretraining", "source-settings", "target-settings"):
        parser.add_argument(f"--{stage}", nargs="+", default=[], metavar="NAME=VALUE")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    """Parse arguments, prepare, train, write the page."""
    args = _arguments(given)
    root = args.folder.absolute()
    root.mkdir(parents=True, exist_ok=True)
    clock = root / "times.json"
    with timed("preparation", clock):
        prepare(args.data, root)
    first = pretraining(root, args.sizes, args.pretraining)
    with timed("pretraining", clock), comparison.workers(1, root) as pool:
        comparison.train_all(pool, [first], "pretraining")
    suite = comparison_suite(root, args.sizes, args.source_settings, args.target_settings)
    cells = (args.targets, args.shots, range(args.seeds))
    with comparison.workers(args.processes, root) as pool:
        with timed("sources", clock):
            comparison.train_sources(pool, suite, cells[2])
        with timed("targets", clock):
            comparison.train_all(pool, comparison.target_runs(suite, *cells), "targets")
    from real import report

    backbone = root / "pretraining" / "backbone"
    report.write(args.out, suite, backbone, root / "data", cells, times_in(clock))
    print(args.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"real_data: error: {error}")
