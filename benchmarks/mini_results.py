"""The mini suite's comparison: MPT, its ablations and prompt tuning, few-shot and full data.

    python benchmarks/mini_results.py

trains the sources and then every cell (method × target × shots × seed) with the shipped gin files
in worker processes, and writes docs/mini_results.md and .csv. Finished cells are kept, so an
interrupted run resumes.
"""

import argparse
import os
import pathlib
import time

import comparison
from comparison import FULL

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
FEW_SHOT_SETTINGS = ("TRAIN_STEPS=100", "WARMUP_STEPS=10", "EVAL_PERIOD=25")


def suite(root: pathlib.Path, shots: str) -> comparison.Suite:
    """The runs under `root`: few rows are learnt in half of the shipped steps."""
    return comparison.Suite(root, target_settings=() if shots == FULL else FEW_SHOT_SETTINGS)


def table(records: list[dict], shots: str, tasks) -> list[str]:
    """A Markdown table: method × task, mean ± std over seeds, and the mean over tasks."""
    names = [task.removeprefix("mini_") for task in tasks]
    return comparison.markdown(["method", *names, "mean"], comparison.rows(records, shots, tasks))


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
        "same steps on the same batches (100 for k examples, 200 for all), and keep the prompt of",
        "the best validation score.",
        "",
        note,
    ]
    for k in shots:
        lines += ["", f"## {comparison.title(k)}", "", *table(records, k, tasks)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    comparison.write_csv(records, path.with_suffix(".csv"))


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
    root = args.folder.absolute()
    seeds, start = range(args.seeds), time.monotonic()
    cells, records = [], []
    for k in args.shots:
        cells += comparison.target_runs(suite(root, k), args.targets, [k], seeds)
    with comparison.workers(args.processes, root) as pool:
        comparison.train_sources(pool, suite(root, FULL), seeds)
        comparison.train_all(pool, cells, "targets")
    for k in args.shots:
        records += comparison.collect(suite(root, k), args.targets, [k], seeds)
    note = (
        f"{len(cells)} target runs and {len(seeds) * (len(comparison.SOURCES) + 1)} source runs on "
        f"{os.cpu_count()} CPU cores; the last call of the command took "
        f"{(time.monotonic() - start) / 60:.0f} minutes."
    )
    write(records, args.targets, args.shots, seeds, args.out, note)
    print(args.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
