"""From run folders to the files of a report."""

from collections.abc import Sequence

import matplotlib
from etils import epath

from mpt_jax import files
from mpt_jax.report import confusions, curves, folders, heat_maps, html, scores, style, tables
from mpt_jax.report.runs import Problem, Run, read
from mpt_jax.report.settings import Setting, ordered_labels, settings
from mpt_jax.report.style import Picture

PAGE = "report.html"


def build(paths: Sequence[str], output: str, as_reported: bool, title: str | None = None) -> str:
    """Write the report of the runs in `paths` into the folder `output`, headed by `title`.

    Everything is made before the first file is written, each of them whole.

    Returns:
        what was done, for the user.

    Raises:
        UserError: a path without runs, or an `output` that cannot be written.
    """
    found = folders.find(paths)
    folder = epath.Path(output)
    files.check_writable(folder / PAGE, setting="--output")
    runs, problems = read(found)
    groups = settings(runs)
    title = title or f"Report of {', '.join(paths)}"
    made = _files(title, runs, groups, problems, as_reported)
    for name, content in made.items():
        files.write_whole(folder / name, content, setting="--output")
    left_out = f", {len(problems)} left out (listed in it)" if problems else ""
    return f"{(folder / PAGE).as_posix()}: {html.count(len(runs), 'finished run')}{left_out}"


def _files(
    title: str,
    runs: Sequence[Run],
    groups: Sequence[Setting],
    problems: Sequence[Problem],
    as_reported: bool,
) -> dict[str, str | bytes]:
    """Name -> content; the page, which names the others, comes last."""
    made: dict[str, str | bytes] = {}
    shown = []
    for picture in _pictures(groups, as_reported):
        svg = b""
        if picture.figure is not None:
            svg, made[f"{picture.name}.png"] = style.render(picture)
            made[f"{picture.name}.svg"] = svg
        shown.append((picture, svg))
    for group in groups:
        made[f"table_{group.name}.csv"] = tables.table_csv(group)
    made["runs.csv"] = tables.runs_csv(run for group in groups for run in group.runs)
    if any(run.cost for run in runs):
        made["costs.csv"] = tables.costs_csv(groups)
    if any(run.confusions for run in runs):
        made["confusion.csv"] = tables.confusion_csv(run for group in groups for run in group.runs)
    made["left_out.csv"] = tables.problems_csv(problems)
    made[PAGE] = html.page(title, runs, groups, shown, problems, as_reported)
    return made


def _pictures(groups: Sequence[Setting], as_reported: bool) -> list[Picture]:
    looks = style.looks(ordered_labels(run for group in groups for run in group.runs))
    with matplotlib.rc_context(style.RC):
        return [
            scores.against_parameters(groups, looks, as_reported),
            scores.against_seconds(groups, looks),
            *scores.few_shot(groups, looks),
            *scores.ablations(groups),
            *curves.learning(groups, looks),
            *heat_maps.heat_maps(groups),
            *confusions.confusions(groups),
        ]
