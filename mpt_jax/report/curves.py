"""Learning curves: validation score and training loss against the step."""

import statistics
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mpt_jax.report import style
from mpt_jax.report.runs import SOURCE, TARGET, Run, Series
from mpt_jax.report.settings import Setting, metric_name
from mpt_jax.report.style import Look, Picture

# Of one run: the series of a task.
Pick = Callable[[Run, str], Series]
PICKS: dict[str, Pick] = {
    "validation": lambda run, task: run.validation[task],
    "loss": lambda run, task: run.losses[task],
}


def learning(found: Sequence[Setting], looks: dict[str, Look]) -> list[Picture]:
    """One picture of target runs, a column per number of shots, and one of source runs."""
    return [
        _picture("learning_curves", "Learning curves", TARGET, found, looks),
        _picture("learning_curves_source", "Learning curves of source runs", SOURCE, found, looks),
    ]


def mean_curve(
    setting: Setting, label: str, pick: Pick
) -> list[tuple[int, float, float | None]] | None:
    """(step, mean, std over seeds) of the mean over all tasks, at the steps that all runs have.

    The runs are of the seeds that have every task; the std is None for a single seed.
    Returns None without such a seed or such a step.
    """
    tasks = setting.tasks
    seeds = setting.full_seeds(label, tasks)
    by_seed = []
    for seed in seeds:
        runs = [run for run in setting.of(label) if run.seed == seed]
        by_seed.append([pick(run, task) for run in runs for task in run.tasks])
    every = [series for of_seed in by_seed for series in of_seed]
    steps = sorted(set.intersection(*map(set, every))) if every else []
    curve = []
    for step in steps:
        values = [statistics.fmean(series[step] for series in of_seed) for of_seed in by_seed]
        std = statistics.stdev(values) if len(values) > 1 else None
        curve.append((step, statistics.fmean(values), std))
    return curve or None


def _picture(name: str, title: str, stage: str, found, looks: dict[str, Look]) -> Picture:
    drawn = []
    for setting in (s for s in found if s.stage == stage):
        curves = {
            kind: {label: c for label in setting.labels if (c := mean_curve(setting, label, pick))}
            for kind, pick in PICKS.items()
        }
        if any(curves.values()):
            drawn.append((setting, curves))
    if not drawn:
        why = f"no finished {stage} run of a method on every task of a table has common log steps"
        return Picture(name, title, reason=f"{why}.")
    figure = Figure(figsize=(style.WIDTH, 6), layout="constrained")
    grid = figure.subplots(2, len(drawn), squeeze=False, sharex="all", sharey="row")
    for column, (setting, curves) in enumerate(drawn):
        for row, kind in enumerate(PICKS):
            for label, curve in curves[kind].items():
                _line(grid[row][column], looks[label], label, curve)
            grid[row][column].tick_params(labelleft=True)
        grid[0][column].set_title(setting.title)
        grid[1][column].set_xlabel("training step")
    metric = metric_name(run for setting, _ in drawn for run in setting.runs)
    grid[0][0].set_ylabel(f"validation {metric} (%)")
    grid[1][0].set_ylabel("training loss\n(nats per target token)")
    style.legend_below(figure, list(grid.flatten()))
    several = any(len(setting.tasks) > 1 for setting, _ in drawn)
    over = "Mean over all tasks of the table, of the seeds that have them all"
    over = over if several else "Of the one task"
    caption = (
        f"{over}; bands: ± standard deviation over seeds. The loss is that of the task's targets "
        "alone, without distillation."
    )
    return Picture(name, title, caption, figure)


def _line(panel: Axes, look: Look, label: str, curve) -> None:
    steps = [step for step, _, _ in curve]
    low = [mean - (std or 0) for _, mean, std in curve]
    high = [mean + (std or 0) for _, mean, std in curve]
    every = max(1, len(steps) // 10)
    marks = look.line_style() | {"markevery": every, "markersize": 4.5}
    panel.plot(steps, [mean for _, mean, _ in curve], label=style.in_legend(label), **marks)
    panel.fill_between(steps, low, high, color=look.colour, alpha=style.BAND, linewidth=0)
