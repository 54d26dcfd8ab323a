"""What the backbone knows of the targets before any tuning: asked by name, and without."""

import csv
import pathlib

import gin
from mini import by_name, key_metric
from real import corpora, results

import mpt_jax
from mpt_jax import process
from mpt_jax.csv_text import csv_text
from mpt_jax.sweep import cells, table
from mpt_jax.sweep.plan import Plan
from mpt_jax.tasks import local


def write(
    path: pathlib.Path, plan: Plan, root: pathlib.Path, backbone: str, vocabulary: pathlib.Path
) -> None:
    """Answers all targets with no prompt, and writes the scores as CSV.

    Args:
      path: of the CSV, percent by task with the mean last, as `HEAD`.
      plan: of the cells on this backbone.
      root: folder of the runs and of the prepared corpora.
      backbone: folder of the weights.
      vocabulary: file of its SentencePiece model.
    """
    process.tune()
    lengths = register(plan, root)
    model = mpt_jax.load(backbone, vocabulary=vocabulary, lengths=lengths, batch_size=100)
    targets = {corpus.name: corpus for corpus in corpora.TARGETS}
    found = by_name.lines(
        model,
        {name: name for name in targets},
        lambda name, answer: score(root / "data", targets[name], answer),
    )
    path.write_text(csv_text([by_name.HEAD, *found]), encoding="utf-8")


def register(plan: Plan, root: pathlib.Path) -> dict[str, int]:
    """Registers the tasks of all targets, as the cells of `plan` under `root` do.

    Returns:
      Their lengths, in pieces.
    """
    step = cells.target_runs(plan, root)[0].steps[0]
    lengths = by_name.lengths(step.files, step.overrides)
    gin.get_configurable(local.register)()
    return lengths


def score(copied: pathlib.Path, corpus: corpora.Corpus, answer: key_metric.Answer) -> float:
    """The test score of a target, percent.

    Args:
      copied: folder of the prepared corpora.
      corpus: of the target, whose task is registered.
      answer: from the inputs and the targets of all rows to the answers.
    """
    if corpus.is_text:
        return results.slot_accuracy(copied, corpus, answer(*key_metric.texts(corpus.name)))
    return key_metric.score(corpus.name, answer)


def lines(path: pathlib.Path) -> list[str]:
    """A Markdown table of what `write` wrote: a column for each task."""
    with path.open(encoding="utf-8", newline="") as file:
        (_, *asked), *rows = csv.reader(file)
    names = [name for name, *_ in rows]
    body = [
        [how, *(f"{float(scores[i]):.1f}" for _, *scores in rows)] for i, how in enumerate(asked)
    ]
    return table.markdown(["asked", *names], body)
