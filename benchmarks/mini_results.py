"""The comparison on the mini suite, on two backbones: unseen and seen (docs/mini.md).

    python benchmarks/mini_results.py

carries out what is left of the plans gin/sweeps/mini*.toml in both regimes, as `t5x sweep` does,
writes the cells as CSV, and draws the pages and figures from them. On 2 CPU cores that takes days:
--regimes, --plans and flags as those of `t5x sweep` carry out a part. Whatever is finished is in
the CSVs, and a seed counts in the tables when it has every target; --plans without a name only
collects.

    python benchmarks/mini_results.py --tables_only

draws pages and figures again from the CSVs, in half a minute.
"""

import argparse
import os
import pathlib
from collections.abc import Sequence

from mini import cosines, figures, page, rates, regimes, scores, summary

from mpt_jax.errors import run_script
from mpt_jax.sweep import cells, command, plan_file, recorded
from mpt_jax.sweep.plan import Plan

RATES, COMPARISON, JOINT, ABLATIONS = "rates", "comparison", "joint", "ablations"
PLANS = {
    RATES: "gin/sweeps/mini_rates.toml",
    COMPARISON: "gin/sweeps/mini.toml",
    JOINT: "gin/sweeps/mini_joint.toml",
    ABLATIONS: "gin/sweeps/mini_ablations.toml",
}
# Files in --docs: the cells of plans, and their summaries.
CELLS = {"mini_results.csv": (COMPARISON, JOINT), "mini_ablations.csv": (ABLATIONS,)}
SUMMARIES = {
    "mini_results.csv": "mini_summary.csv",
    "mini_ablations.csv": "mini_ablations_summary.csv",
}
RATES_CSV, COSINES_CSV = "mini_rates.csv", "mini_cosines.csv"
PREDICTED = ("full fine-tuning", "prompt tuning from scratch")  # by docs/mini.md


def plan_of(args: argparse.Namespace, name: str, regime: str) -> Plan:
    """The plan on the regime's backbone and, except for RATES itself, at its rates."""
    plan = regimes.of(plan_file.load(PLANS[name]), regime, _pretrained(args))
    if name == RATES:
        return plan
    means = rates.read(args.docs / RATES_CSV, regime)
    return rates.chosen(plan, plan_file.load(PLANS[RATES]), means)


def carry_out(args: argparse.Namespace, regime: str) -> int:
    """Trains what is left of the regime's part, plan after plan; returns the exit status.

    Raises:
      UserError: a mistake among the flags, or, without --redo, runs that were made with other
        settings than a plan's, as when other rates were chosen since.
    """
    for name in args.plans:  # a name that no plan has ends here, before anything is trained
        plan_file.load(PLANS[name]).select(args.methods, args.tasks, args.shots, args.seeds)
    if regime == regimes.SEEN and args.plans:
        left = cells.left_of([regimes.pretraining(_pretrained(args))])
        if status := command.finish(left, 1, args.folder.absolute()):
            return status
    folder = _folder(args, regime)
    for name in args.plans:
        whole = plan_of(args, name, regime)
        plan = whole.select(args.methods, args.tasks, args.shots, args.seeds)
        cells.check(plan, folder)
        runs = cells.all_runs(plan, folder)
        changed = recorded.check(runs, args.redo)
        again = recorded.outdated(changed, cells.all_runs(whole, folder))
        left = cells.left_of(runs, again)
        if status := command.finish(left, args.processes, folder, args.together, again=again):
            return status
        if name == RATES and not cells.left_of(cells.all_runs(whole, folder)):
            rates.write(args.docs / RATES_CSV, whole, folder, regime)
    return 0


def collect(args: argparse.Namespace) -> None:
    """Writes what is finished in the regimes, in place of their lines in the CSVs."""
    from mini import constant_answer  # takes tensorflow, which drawing does not need

    import mpt_jax.tasks.mini  # noqa: F401  registers the tasks

    constants = {t: constant_answer.score(t) for t in plan_file.load(PLANS[COMPARISON]).tasks}
    for file, names in CELLS.items():
        found = []
        for regime in args.regimes:
            for name in names:
                plan, folder = plan_of(args, name, regime), _folder(args, regime)
                found += scores.collect(plan, folder, regime, constants)
        path = args.docs / file
        scores.write(path, _in_place(scores.read(path), found))
    maps = []
    for regime in args.regimes:
        maps += cosines.collect(plan_of(args, COMPARISON, regime), _folder(args, regime), regime)
    path = args.docs / COSINES_CSV
    cosines.write(path, _in_place(cosines.read(path), maps))


def draw(docs: pathlib.Path) -> None:
    """Writes the summaries, pages and figures, all of the CSVs in `docs` alone."""
    for cells_file, file in SUMMARIES.items():
        summary.write(docs / file, summary.lines(scores.read(docs / cells_file)))
    found, ablations = (summary.read(docs / file) for file in SUMMARIES.values())
    (docs / "mini_results.md").write_text(page.whole(found, ablations), encoding="utf-8")
    drawn = figures.all_of(found, cosines.read(docs / COSINES_CSV))
    for picture, svg in drawn:
        (docs / "figures" / f"{picture.name}.svg").write_bytes(svg)
    blocks = {
        "scores": page.overview(found),
        "prediction": page.prediction(found, PREDICTED),
        "figures": page.figures(picture for picture, _ in drawn),
    }
    page.fill(docs / "results.md", blocks)


def _folder(args: argparse.Namespace, regime: str) -> pathlib.Path:
    return args.folder.absolute() / regime


def _pretrained(args: argparse.Namespace) -> pathlib.Path:
    return (args.pretrained or args.folder / "pretrained").absolute()


def _in_place(old: list, new: list) -> list:
    """The new ones, and the old ones of the regimes that have no new ones."""
    replaced = {one.regime for one in new}
    kept = [one for one in old if one.regime not in replaced]
    return sorted([*kept, *new], key=lambda one: regimes.REGIMES.index(one.regime))


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    path = pathlib.Path
    choices = regimes.REGIMES
    parser.add_argument("--regimes", nargs="+", default=choices, choices=choices)
    parser.add_argument("--plans", nargs="*", default=list(PLANS), choices=list(PLANS))
    for flag, item in (("methods", "LABEL"), ("tasks", "TASK"), ("shots", "K"), ("seeds", "SEED")):
        parser.add_argument(f"--{flag}", nargs="+", default=[], metavar=item)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--together", type=int, default=1, metavar="N")
    parser.add_argument("--redo", action="store_true", help=command.FLAGS["--redo"]["help"])
    parser.add_argument("--folder", type=path, default=path("runs/mini_results"))
    parser.add_argument(
        "--pretrained", type=path, help="run folder of the seen backbone (FOLDER/pretrained)"
    )
    parser.add_argument("--docs", type=path, default=path("docs"))
    parser.add_argument("--tables_only", action="store_true")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Parse arguments, train, collect, draw; returns the exit status."""
    args = _arguments(given)
    status = 0
    if not args.tables_only:
        statuses = [carry_out(args, regime) for regime in args.regimes]
        status = max(statuses)
        collect(args)
    draw(args.docs)
    print(args.docs / "mini_results.md")
    return status


if __name__ == "__main__":
    run_script(main)
