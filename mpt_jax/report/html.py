"""The page: tables, pictures and the list of what is left out, in one file that needs no other."""

import collections
import re
from collections.abc import Iterable, Sequence
from html import escape

from mpt_jax.engine.records import evaluated, recorded_costs
from mpt_jax.report import reported
from mpt_jax.report.runs import TEST, VALIDATION, Problem, Run
from mpt_jax.report.settings import Cell, Setting, short_names
from mpt_jax.report.style import Picture
from mpt_jax.report.tables import Row, constant_row, rows

_CSS = """
body { font: 15px/1.45 system-ui, sans-serif; color: #111; background: #fff;
       max-width: 84rem; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin: 2.4rem 0 .4rem; }
p, figcaption { max-width: 58rem; } figure { margin: 1rem 0; }
figcaption, .note { color: #444; font-size: .87rem; }
figure svg { display: block; max-width: 100%; height: auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .82rem; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .42rem; text-align: right; white-space: nowrap; }
th { font-weight: 600; vertical-align: bottom; } th .note { font-weight: 400; font-size: .9em; }
td .tied { text-decoration: underline dotted; text-underline-offset: .2em; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: 1rem 0; }
dt { font-weight: 600; } dd { margin: 0; }
nav ul { columns: 2; max-width: 58rem; padding-left: 1.2rem; }
td i { font-style: normal; font-size: .86em; color: #444; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 1.5px solid #333; } tbody tr + tr td { border-top: 1px solid #ddd; }
tfoot td { border-top: 1px solid #333; color: #444; }
td.mean, th.mean { border-left: 1px solid #999; }
.list td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.list th { text-align: left; }
@page { size: A4 landscape; margin: 12mm; }
@media print {
  body { margin: 0; padding: 0; max-width: none; font-size: 11px; }
  .wide { overflow: visible; } table { font-size: 9.5px; } th, td { padding: .2rem .35rem; }
  figure, tr { break-inside: avoid; } h2, thead { break-after: avoid; }
  figure svg { max-height: 145mm; width: auto; }
}
"""
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>{title}</title>
<style>{css}</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""
_REPORTED = "As published"
DAGGER = "†"
_CONSTANT = "always the most frequent label"


def page(
    title: str,
    runs: Sequence[Run],
    found: Sequence[Setting],
    pictures: Iterable[tuple[Picture, bytes]],
    problems: Sequence[Problem],
    as_reported: bool,
) -> str:
    """The whole page.

    Args:
        title: its heading.
        runs: the finished runs.
        found: their settings, a table each.
        pictures: each with its SVG; empty bytes where there is none.
        problems: what is left out.
        as_reported: whether to add published figures.
    """
    pictures = list(pictures)
    drawn = [(picture, svg) for picture, svg in pictures if picture.figure is not None]
    parts = [_summary(runs, found, problems), _contents(found, drawn, as_reported)]
    parts += [_table(setting) for setting in found]
    if as_reported:
        parts.append(_reported_table())
    parts += [_figure(picture, svg) for picture, svg in drawn]
    parts.append(_problems(problems, [each for each, _ in pictures if each.figure is None]))
    return _PAGE.format(css=_CSS, title=escape(title), body="\n".join(parts))


def _summary(runs: Sequence[Run], found: Sequence[Setting], problems: Sequence[Problem]) -> str:
    labels = {label for setting in found for label in setting.labels}
    tasks = {task for run in runs for task in run.tasks}
    left_out = len({problem.folder for problem in problems})
    text = (
        f"{count(len(runs), 'finished run')}, {count(len(labels), 'method')}, "
        f"{count(len(tasks), 'task')}. "
    )
    if left_out:
        text += f'<a href="#left_out">{count(left_out, "folder")} left out</a>, wholly or in part.'
    else:
        text += "No run is left out."
    facts = {
        "Runs": text,
        "Date": escape(_dates(runs)),
        "Backbone": escape(_numbers_of(run.backbone or "not known" for run in runs)),
        "Split": escape(_numbers_of(run.split for run in runs)),
        "All one answer": escape("; ".join(line for run in runs for line in _collapses(run))),
    }
    lines = (f"<dt>{name}</dt><dd>{fact}</dd>" for name, fact in facts.items() if fact)
    return f"<dl>{''.join(lines)}</dl>"


def _collapses(run: Run) -> list[str]:
    """Says of each task whose answers are nearly all the same what one label alone scores."""
    return [
        f"{task} in {run.folder}: {told[evaluated.SAME]:.0f} % of the answers are the same, and "
        f"always giving the most frequent label scores {told[evaluated.CONSTANT]:.1f}"
        for task, told in run.answers.items()
        if told.get(evaluated.SAME, 0) >= evaluated.COLLAPSED and evaluated.CONSTANT in told
    ]


def _dates(runs: Sequence[Run]) -> str:
    """From when to when the scores were written."""
    days = sorted({run.day for run in runs})
    return " to ".join(days[:: max(1, len(days) - 1)])


def _numbers_of(facts: Iterable[str]) -> str:
    """Each fact, with the number of runs that it is of where there are several."""
    runs = collections.Counter(facts)
    if len(runs) == 1:
        return next(iter(runs))
    return "; ".join(f"{fact}: {count(number, 'run')}" for fact, number in runs.most_common())


def _contents(
    found: Sequence[Setting], drawn: Sequence[tuple[Picture, bytes]], as_reported: bool
) -> str:
    links = {f"table_{setting.name}": setting.title for setting in found}
    links |= {"reported": _REPORTED} if as_reported else {}
    links |= {picture.name: picture.title for picture, _ in drawn} | {"left_out": "Left out"}
    lines = (f'<li><a href="#{name}">{escape(title)}</a></li>' for name, title in links.items())
    return f"<nav><ul>{''.join(lines)}</ul></nav>"


def _table(setting: Setting) -> str:
    names = short_names(setting.tasks)
    metrics = {task: run.key_metrics[task] for run in setting.runs for task in run.tasks}
    body = rows(setting)
    head = "".join(
        f"<th>{escape(names[task])}<br/><span class='note'>{escape(metrics[task])}"
        f"{_rows_of(setting, task)}</span></th>"
        for task in setting.tasks
    )
    several = len(setting.tasks) > 1
    head += "<th class='mean'>mean</th>" if several else ""
    lines = [f"<tr><th>method</th><th>tuned<br/>per task</th><th>seeds</th>{head}</tr>"]
    lines = [
        "<thead>",
        *lines,
        "</thead>",
        "<tbody>",
        *(_row(row, several) for row in body),
        "</tbody>",
    ]
    constants = constant_row(setting)
    if any(score is not None for score in constants):
        texts = ("–" if score is None else f"{score:.1f}" for score in constants)
        cells = _cells([_CONSTANT, "0", "", *texts], several)
        lines.append(f"<tfoot><tr>{cells}</tr></tfoot>")
    notes = ["Key metric of each task in percent, mean ± standard deviation over seeds."]
    if several:
        notes.append("The mean is over all tasks, its deviation that of each seed's mean.")
    if any(any(row.best) for row in body):
        notes.append("Best in bold.")
    if any(any(row.tied) for row in body):
        notes.append(
            "Underlined: not told apart, because their deviations overlap with the best one's; "
            "then none is bold."
        )
    cells = [cell for row in body for cell in row.cells if cell]
    if len(body) > 1 and any(cell.seeds == 1 for cell in cells):
        notes.append("A single seed has no deviation: its lead may be chance.")
    if any(cell.validation for cell in cells):
        notes.append(
            f"{DAGGER} best validation score, because there is no test score: it is chosen to be "
            "high, so it is bold only if the column has no other."
        )
    others = {split for cell in cells for split in cell.splits} - {TEST, VALIDATION}
    if others:
        named = ", ".join(sorted(others))
        notes.append(f"Some scores are on the split {named}: runs.csv says which.")
    if any(cell is None for row in body for cell in row.cells):
        notes.append("–: no finished run; a mean needs a seed with all tasks.")
    if any(cell.seeds < row.seeds for row in body for cell in row.cells if cell):
        notes.append("A small number in brackets: fewer seeds than the row has elsewhere.")
    notes.append(_training(setting))
    return "\n".join(
        [
            f"<h2 id='table_{setting.name}'>{escape(setting.title)}</h2>",
            f"<div class='wide'><table>{''.join(lines)}</table></div>",
            f"<p class='note'>{escape(' '.join(notes))} "
            f"CSV: <code>table_{setting.name}.csv</code>.</p>",
            _costs(setting),
        ]
    )


def _costs(setting: Setting) -> str:
    """What the runs of each method have cost; nothing where none says so."""
    costs = {label: setting.cost(label) for label in setting.labels}
    if not any(costs.values()):
        return ""
    head = "".join(f"<th>{name}</th>" for name in ("method", "tuned", *recorded_costs.HEAD))
    lines = []
    for label, cost in costs.items():
        cells = [escape(label), _number(setting.tuned(label)), *recorded_costs.texts(cost)]
        lines.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return (
        f"<div class='wide'><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
        "<p class='note'>What a training run costs, mean over runs: seconds of the wall clock in "
        "all, of training steps without compiling, of compiling; training examples in a second of "
        "these steps; the most memory in use, of the fullest device or, where that does not say, "
        "of the process; the size of the product's file. What is not known is left empty. "
        "CSV: <code>costs.csv</code>.</p>"
    )


def _rows_of(setting: Setting, task: str) -> str:
    """On how many rows a task is scored, and trained where all are taken."""
    runs = [run for run in setting.runs if task in run.tasks]
    scored = sorted({run.rows[task] for run in runs if task in run.rows})
    trained = sorted({run.train_rows[task] for run in runs if task in run.train_rows})
    lines = [f"{_range(scored)} rows"] if scored else []
    lines += [f"of {_range(trained)} to train"] if trained and setting.shots is None else []
    return "".join(f"<br/>{line}" for line in lines)


def _row(row: Row, several: bool) -> str:
    cells = [_cell(*each, row) for each in zip(row.cells, row.best, row.tied, strict=True)]
    start = [escape(row.label), _number(row.tuned), str(row.seeds)]
    return f"<tr>{_cells([*start, *cells], several)}</tr>"


def _cells(texts: Sequence[str], several: bool) -> str:
    """The cells of a line, the last of which is the mean where there are several tasks."""
    lines = [f"<td>{text}</td>" for text in texts]
    if several:
        lines[-1] = f"<td class='mean'>{texts[-1]}</td>"
    return "".join(lines)


def _cell(cell: Cell | None, best: bool, tied: bool, row: Row) -> str:
    if cell is None:
        return "–"
    text = f"{cell.mean:.1f}"
    text = f"<b>{text}</b>" if best else text
    text = f"<span class='tied'>{text}</span>" if tied else text
    text += DAGGER if cell.validation else ""
    text += "" if cell.std is None else f"<i> ± {cell.std:.1f}</i>"
    return text if cell.seeds == row.seeds else f"{text} <small>({cell.seeds})</small>"


def _training(setting: Setting) -> str:
    """What the runs of a setting have in common, or not."""
    steps = sorted({run.steps for run in setting.runs})
    sizes = sorted({run.batch_size for run in setting.runs})
    text = f"{_range(steps)} training steps of {_range(sizes)} examples."
    if len(steps) > 1 or len(sizes) > 1:
        text = f"The runs differ in their training: {text}"
    return text


def _range(values: Sequence[int]) -> str:
    return f"{values[0]:,}" if len(values) == 1 else f"{values[0]:,} to {values[-1]:,}"


def _reported_table() -> str:
    lines = [
        f"<tr><td>{p.letter} {escape(p.method)}</td><td>{p.tuned:,}</td>"
        + "".join(
            f"<td>{p.means[group]:.1f}</td>" if group in p.means else "<td></td>"
            for group in reported.GROUPS
        )
        + "</tr>"
        for p in reported.TABLE
    ]
    head = "<th>method</th><th>tuned<br/>per task</th>"
    head += "".join(f"<th>{group}<br/>average</th>" for group in reported.GROUPS)
    return (
        f"<h2 id='reported'>{_REPORTED}</h2><div class='wide'><table><thead>"
        f"<tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
        f"<p class='note'>{reported.SOURCE} None is a run of this report.</p>"
    )


def _figure(picture: Picture, svg: bytes) -> str:
    title = f"<h2 id='{picture.name}'>{escape(picture.title)}</h2>"
    drawing = re.sub(r"^.*?(?=<svg)", "", svg.decode("utf-8"), flags=re.S)
    label = f'<svg role="img" aria-label="{escape(picture.title)}" '
    drawing = drawing.replace("<svg ", label, 1)
    files = f"Files: <code>{picture.name}.png</code>, <code>{picture.name}.svg</code>."
    caption = f"<figcaption>{escape(picture.caption)} {files}</figcaption>"
    return f"{title}\n<figure>{drawing}{caption}</figure>"


def _problems(problems: Sequence[Problem], missing: Sequence[Picture]) -> str:
    """The end of the page: runs that are in no table and no picture, then pictures."""
    parts = ["<h2 id='left_out'>Left out</h2>"]
    if problems:
        lines = "".join(
            f"<tr><td><code>{escape(p.folder)}</code></td><td>{p.status}</td>"
            f"<td>{escape(p.reason)}</td></tr>"
            for p in problems
        )
        head = "<thead><tr><th>folder</th><th>status</th><th>reason</th></tr></thead>"
        parts.append(
            "<p>These are in no table and no picture.</p><div class='wide'>"
            f"<table class='list'>{head}<tbody>{lines}</tbody></table></div>"
        )
    else:
        parts.append("<p>No run: every one is finished and readable.</p>")
    if missing:
        lines = "".join(f"<li>{escape(each.title)}: {escape(each.reason)}</li>" for each in missing)
        parts.append(f"<p>Pictures that these runs do not support:</p><ul>{lines}</ul>")
    return "\n".join(parts)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def count(number: int, noun: str) -> str:
    """`number` and the noun, in the plural unless it is one."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
