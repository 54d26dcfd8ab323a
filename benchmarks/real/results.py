"""The scores of finished cells: the key metrics, and for e2e the facts that the answers state."""

import dataclasses
import pathlib
from collections.abc import Sequence

from mini import scores
from real import constant_answer, corpora, facts

from mpt_jax.sweep import cells
from mpt_jax.sweep.plan import Plan

_SPLITS = (corpora.TRAIN, corpora.VALIDATION, corpora.TEST)


def collect(plan: Plan, root: pathlib.Path, regime: str) -> list[scores.Score]:
    """The scores of the plan's finished cells, next to those of constant answers.

    Args:
      plan: of the cells.
      root: folder of the runs and of the prepared corpora.
      regime: of the backbone.
    """
    copied = root / "data"
    by_name = {corpus.name: corpus for corpus in corpora.TARGETS}
    constants = {name: constant_answer.of_target(copied, by_name[name]) for name in plan.tasks}
    methods = {method.label: method for method in plan.methods}
    texts = {name for name in plan.tasks if by_name[name].is_text}
    found = []
    for score in scores.collect(plan, root, regime, constants):
        if score.task in texts:
            cell = (methods[score.method], score.task, score.shots, score.seed)
            folder = cells.target_run(plan, root, *cell).scores.parent
            rows = corpora.read_rows(folder / f"{score.task}.jsonl")
            answers = [row["predictions"] for row in rows]
            percent = slot_accuracy(copied, by_name[score.task], answers)
            score = dataclasses.replace(score, percent=percent)
        found.append(score)
    return found


def slot_accuracy(copied: pathlib.Path, corpus: corpora.Corpus, answers: Sequence[str]) -> float:
    """Of one answer for each distinct input of test, in order."""
    meanings = {s: constant_answer.meanings(copied, corpus, s) for s in _SPLITS}
    reader = facts.Reader(facts.facts(m) for of_split in meanings.values() for m in of_split)
    asked = [facts.facts(meaning) for meaning in meanings[corpora.TEST]]
    return facts.slot_accuracy(asked, [reader.stated(text) for text in answers])
