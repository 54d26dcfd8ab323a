"""The tables of docs/mini_results.md, docs/results.md and README.md, drawn from the summaries."""

import collections
import pathlib
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from mini import scores, summary
from mini.regimes import SEEN, UNSEEN
from mini.summary import Line

from mpt_jax.errors import UserError
from mpt_jax.report.style import Picture
from mpt_jax.sweep import table

_TITLES = {
    UNSEEN: "A backbone that has not seen the targets",
    SEEN: "A backbone that has seen the targets",
    summary.CONTRAST: "Seen against unseen",
}
_WIDTH = 110  # of lines of text
_MARKS = {summary.BETTER: " ▲", summary.WORSE: " ▼"}
_TEXT = """# Results on the mini suite

Written by `python benchmarks/mini_results.py`: do not edit. [What they say](results.md).

Key metric of each task on its test split (accuracy; Pearson for similarity, Matthews for
acceptability, BLEU for data2text), in percent, mean ± standard deviation over seeds. A seed decides
the source run, the draw of the k training examples and the order of the data. All methods take the
same steps on the same batches (100 for k examples, 200 for all), keep the prompt of the best
validation score, and learn at the best of four rates, chosen in each regime by the mean
validation score of four targets, from 32 and from all examples ([the rates](mini_rates.csv)). The
constant answer is the commonest one, always. "MPT jointly" adapts one shared prompt to all targets
at once.

"against MPT" is the mean difference to MPT at the same targets and seeds, with its 95 % interval
over both (pigeonhole bootstrap, `benchmarks/mini/pigeonhole.py`). A method is called better or
worse only where the interval excludes 0. Seconds are the wall clock of a training run, mean; source
runs, which serve all targets, are not in them. Every cell is in
[mini_results.csv](mini_results.csv) and [mini_ablations.csv](mini_ablations.csv), every number in
[mini_summary.csv](mini_summary.csv) and [mini_ablations_summary.csv](mini_ablations_summary.csv).
"""


def whole(found: Sequence[Line], ablations: Sequence[Line]) -> str:
    """docs/mini_results.md."""
    parts = [_TEXT]
    for regime in _regimes(found):
        for shots in scores.shots_of(found):
            part = [x for x in found if (x.regime, x.shots) == (regime, shots)]
            if part and regime != summary.CONTRAST:
                parts.append(f"## {_TITLES[regime]}: {_title(shots)}\n\n{methods(part)}\n")
    if text := contrasts(found):
        parts.append(f"## {_TITLES[summary.CONTRAST]}\n\n{text}\n")
    for regime in _regimes(ablations):
        for shots in scores.shots_of(ablations):
            part = [x for x in ablations if (x.regime, x.shots) == (regime, shots)]
            if part and regime != summary.CONTRAST:
                title = f"Length, rank, sources. {_TITLES[regime]}: {_title(shots)}"
                parts.append(f"## {title}\n\n{methods(part)}\n")
    return "\n".join(parts)


def methods(part: Sequence[Line]) -> str:
    """Methods × targets of one regime and number of examples."""
    tasks = list(dict.fromkeys(x.task for x in part if x.task != summary.MEAN))
    names = [task.removeprefix("mini_") for task in tasks]
    head = ["method", "tuned / task", *names, "seeds", "seconds", "against MPT", "", "mean"]
    body = []
    for method in dict.fromkeys(x.method for x in part):
        of = {x.task: x for x in part if x.method == method}
        mean = of[summary.MEAN]
        row = [method, f"{mean.tuned:,}", *(_spread(of[task]) for task in tasks)]
        seeds = "" if mean.seeds is None else str(mean.seeds)
        verdict = "" if mean.verdict == summary.OPEN else mean.verdict
        row += [seeds, _seconds(mean.seconds), difference(mean), verdict, f"**{_spread(mean)}**"]
        body.append(row)
    return "\n".join(table.markdown(head, body))


def overview(found: Sequence[Line]) -> str:
    """Methods × numbers of examples in each regime: the mean over targets, ▲ and ▼ against MPT."""
    regimes = [r for r in _regimes(found) if r != summary.CONTRAST]
    columns = [(r, k) for r in regimes for k in scores.shots_of(found)]
    means = {(x.regime, x.shots, x.method): x for x in found if x.task == summary.MEAN}
    columns = [c for c in columns if any(key[:2] == c for key in means)]
    head = ["method", "tuned / task", *(f"{r}, {_short(k)}" for r, k in columns)]
    body = []
    for method in _methods(x for x in found if x.regime != summary.CONTRAST):
        cells = [means.get((*column, method)) for column in columns]
        tuned = max(cell.tuned for cell in cells if cell)
        texts = [f"{c.mean:.1f}{_MARKS.get(c.verdict, '')}" if c else "" for c in cells]
        body.append([method, f"{tuned:,}", *texts])
    return "\n".join(table.markdown(head, body))


def prediction(found: Sequence[Line], methods: Sequence[str]) -> str:
    """Differences to MPT by regime, and how they change: what was predicted of `methods`."""
    means = {(x.regime, x.shots, x.method): x for x in found if x.task == summary.MEAN}
    regimes = _regimes(found)
    names = {summary.CONTRAST: "change"}
    head = ["less MPT", "examples", *(names.get(regime, regime) for regime in regimes)]
    body = []
    for method in methods:
        for shots in scores.shots_of(found):
            row = [means.get((regime, shots, method)) for regime in regimes]
            if any(row):
                texts = [difference(x) if x else "" for x in row]
                body.append([method, _short(shots), *texts])
    return "\n".join(table.markdown(head, body))


def contrasts(found: Sequence[Line]) -> str:
    """How each method's difference to MPT changes with the regime; "" without both regimes."""
    of = [x for x in found if x.regime == summary.CONTRAST]
    if not of:
        return ""
    shots = scores.shots_of(of)
    cells = {(x.method, x.shots): x for x in of}
    head = ["change of the difference to MPT", *(_short(k) for k in shots)]
    body = []
    for method in _methods(of):
        row = [cells.get((method, k)) for k in shots]
        body.append([method, *(_changed(x) if x else "" for x in row)])
    return "\n".join(table.markdown(head, body))


def _changed(line: Line) -> str:
    verdict = "" if line.verdict in ("", summary.OPEN) else f" {line.verdict}"
    return f"{difference(line)}{verdict}"


def difference(line: Line) -> str:
    """As "+1.4 [-3.9, 7.2]"; "" where there is none."""
    if line.difference is None:
        return ""
    text = f"{line.difference:+.1f}"
    return text if line.low is None else f"{text} [{line.low:.1f}, {line.high:.1f}]"


def figures(found: Iterable[Picture]) -> str:
    """Each figure with its caption."""
    return "\n\n".join(
        f"![{x.title}](figures/{x.name}.svg)\n\n{textwrap.fill(f'*{x.caption}*', _WIDTH)}"
        for x in found
    )


def filled(text: str, blocks: Mapping[str, str], where: str) -> str:
    """A page with its blocks made anew.

    Args:
      text: of the page, whose blocks are between the lines <!-- NAME --> and <!-- end of NAME -->.
      blocks: NAME -> what stands there.
      where: the page, for messages.

    Raises:
      UserError: the page lacks a block.
    """
    for name, block in blocks.items():
        first, last = f"<!-- {name} -->", f"<!-- end of {name} -->"
        pattern = re.compile(f"{re.escape(first)}.*?{re.escape(last)}", re.DOTALL)
        if not pattern.search(text):
            raise UserError(f"{where} has no block {name!r}: add the lines {first} and {last}.")
        text = pattern.sub(lambda _, new=f"{first}\n{block}\n{last}": new, text)
    return text


def fill(path: pathlib.Path, blocks: Mapping[str, str]) -> None:
    """`filled`, of a file."""
    text = filled(path.read_text(encoding="utf-8"), blocks, str(path))
    path.write_text(text, encoding="utf-8")


def _methods(found: Iterable[Line]) -> list[str]:
    """In their order where the most of them are; then those that are not there."""
    parts = collections.defaultdict(list)
    for line in found:
        parts[line.regime, line.shots].append(line.method)
    ordered = sorted(parts.values(), key=lambda part: len(set(part)), reverse=True)
    return list(dict.fromkeys(method for part in ordered for method in part))


def _regimes(found: Sequence[Line]) -> list[str]:
    return list(dict.fromkeys(x.regime for x in found))


def _title(shots: str) -> str:
    return table.title(shots)[0].lower() + table.title(shots)[1:]


def _short(shots: str) -> str:
    return "all" if shots == table.FULL else shots


def _spread(line: Line) -> str:
    return f"{line.mean:.1f}" if line.std is None else f"{line.mean:.1f} ± {line.std:.1f}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"
