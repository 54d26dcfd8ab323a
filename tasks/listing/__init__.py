"""What `t5x tasks` shows: the tasks that a run could name, or one of them looked into."""

import sys
from collections.abc import Mapping, Sequence

import numpy as np
import seqio

from mpt_jax import feature_lengths
from mpt_jax.errors import shown
from mpt_jax.feature_lengths import SIDES
from mpt_jax.screen import Screen
from mpt_jax.tasks import spelling
from mpt_jax.tasks.info import info
from mpt_jax.tasks.listing.facts import SplitFacts, read_split
from mpt_jax.tasks.mixtures import import_tasks, task_names

_EXAMPLES = 3
_LISTED = 10  # targets that cannot be spelled


def show(
    task: str | None = None,
    *,
    task_feature_lengths: Mapping[str, int],
    modules: str | Sequence[str] | None,
) -> None:
    """Prints the registered tasks or, if `task` names one, what is in it.

    Args:
      task: a task, all of whose splits are read; or a mixture, whose tasks are listed.
      task_feature_lengths: token limits of "inputs" and "targets", which longer texts are cut to.
      modules: one or several, imported first, to register the tasks.

    Raises:
      UserError: no such task or mixture, with the nearest names; faults of its data.
    """
    feature_lengths.check(task_feature_lengths)
    import_tasks(modules)
    screen = Screen(sys.stdout)
    if task is None:
        _show_tasks(screen, sorted(seqio.TaskRegistry.names()))
    elif task in seqio.MixtureRegistry.names():
        _show_tasks(screen, task_names(task))
    else:
        (name,) = task_names(task)  # refuses an unknown one
        _show_task(screen, seqio.TaskRegistry.get(name), task_feature_lengths)


def _show_tasks(screen: Screen, names: Sequence[str]) -> None:
    rows = [
        (name, info(name).metric, ", ".join(info(name).label_words), ", ".join(_mixtures(name)))
        for name in names
    ]
    screen.table(("task", "key metric", "label words", "mixtures"), rows)


def _mixtures(task: str) -> list[str]:
    """Names of the registered mixtures that hold `task`."""
    registry = seqio.MixtureRegistry
    return sorted(name for name in registry.names() if task in task_names(name))


def _show_task(screen: Screen, task: seqio.Task, limits: Mapping[str, int]) -> None:
    facts = {split: read_split(task, split, _EXAMPLES) for split in task.splits}
    about = info(task.name)
    screen.facts(
        {
            "task": task.name,
            "mixtures": ", ".join(_mixtures(task.name)) or "none",
            "key metric": about.metric,
            "inputs": about.inputs or "(form not stated)",
        }
    )
    screen.line("\nTokens, with the end token")
    _show_lengths(screen, facts, limits)
    if about.label_words:
        screen.line("\nTargets")
        _show_labels(screen, facts, about.label_words)
    split = next(iter(facts))
    rows = spelling.sample(task, split, limits)
    _show_misspelled(screen, task, rows, about.label_words)
    for number, example in enumerate(facts[split].examples, 1):
        screen.line(f"\nExample {number} of {split}")
        screen.facts(example)


def _show_misspelled(
    screen: Screen, task: seqio.Task, rows: Sequence[spelling.Row], words: Sequence[str]
) -> None:
    """Label words and targets that no answer of a model could equal; nothing where all are well."""
    changed = [] if not rows else spelling.lost_labels(task, words, rows)
    changed += [text for text in spelling.lost(task, rows) if text not in words]
    same = spelling.collision(task, words)
    if changed or same:
        screen.line("\nNot to be spelled in the vocabulary")
    if changed:
        texts = list(dict.fromkeys(changed))[:_LISTED]
        pairs = [(shown(text), shown(spelling.respelled(task, text))) for text in texts]
        screen.table(("target", "becomes"), pairs)
    if same:
        screen.line(f"{shown(same[0])} and {shown(same[1])} are the same tokens")


def _show_lengths(
    screen: Screen, facts: Mapping[str, SplitFacts], limits: Mapping[str, int]
) -> None:
    numbers = ("examples", "median", "95 %", "longest", "limit", "cut")
    rows = [
        (split, side, f"{found.count:,}", *_spread(found.lengths[side], limits[side]))
        for split, found in facts.items()
        for side in SIDES
    ]
    screen.table(("split", "side", *numbers), rows, numeric=numbers)


def _spread(lengths: np.ndarray, limit: int) -> list[str]:
    """Median, 95th percentile and longest, the limit, and the share that is longer than that."""
    if not lengths.size:
        return ["", "", "", str(limit), ""]
    quantiles = np.quantile(lengths, (0.5, 0.95, 1.0), method="higher")
    return [*(f"{x:.0f}" for x in quantiles), str(limit), _share((lengths > limit).mean())]


def _show_labels(screen: Screen, facts: Mapping[str, SplitFacts], words: Sequence[str]) -> None:
    counts = {split: [found.targets[word] for word in words] for split, found in facts.items()}
    for split, found in facts.items():
        counts[split].append(found.count - sum(counts[split]))
    labels = [*words, "(others)"] if any(each[-1] for each in counts.values()) else words
    rows = [
        (label, *(_of_all(counts[split][i], found.count) for split, found in facts.items()))
        for i, label in enumerate(labels)
    ]
    screen.table(("target", *facts), rows, numeric=tuple(facts))


def _of_all(count: int, total: int) -> str:
    return f"{count:,} ({_share(count / total)})" if total else ""


def _share(part: float) -> str:
    return f"{100 * part:.1f} %"
