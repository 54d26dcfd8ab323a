"""What the backbone knows of the targets before any tuning: asked by name, and without."""

import csv
import pathlib
import statistics
from collections.abc import Sequence

import gin
from mini import key_metric
from real import corpora, results

import mpt_jax
from mpt_jax import process
from mpt_jax.api import LoadedModel
from mpt_jax.configuration import config
from mpt_jax.csv_text import csv_text
from mpt_jax.sweep import cells, table
from mpt_jax.sweep.plan import Plan
from mpt_jax.tasks import local

HEAD = ("task", "with its name", "without")
LENGTHS = {"inputs": 96, "targets": 64}  # of targets.gin


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
    register(plan, root)
    model = mpt_jax.load(backbone, vocabulary=vocabulary, lengths=LENGTHS, batch_size=100)
    found = {}
    for corpus in corpora.TARGETS:
        prefixes = (f"{corpus.name} ", "")
        found[corpus.name] = [score(model, root / "data", corpus, each) for each in prefixes]
    found["mean"] = [statistics.mean(column) for column in zip(*found.values(), strict=True)]
    lines = [(name, *(f"{value:.3f}" for value in scores)) for name, scores in found.items()]
    path.write_text(csv_text([HEAD, *lines]), encoding="utf-8")


def register(plan: Plan, root: pathlib.Path) -> None:
    """Registers the tasks of all targets, as the cells of `plan` under `root` do."""
    step = cells.target_runs(plan, root)[0].steps[0]
    config.parse(step.files, step.overrides)
    gin.get_configurable(local.register)()


def score(model: LoadedModel, copied: pathlib.Path, corpus: corpora.Corpus, prefix: str) -> float:
    """The test score of a target, percent, where `prefix` is before each input.

    Args:
      model: that answers.
      copied: folder of the prepared corpora.
      corpus: of the target, whose task is registered.
      prefix: of each input.
    """

    def answer(inputs: Sequence[str], words: Sequence[str]) -> list[str]:
        del words
        return model.predict([prefix + text for text in inputs])

    if corpus.is_text:
        inputs, words = key_metric.texts(corpus.name)
        return results.slot_accuracy(copied, corpus, answer(inputs, words))
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
