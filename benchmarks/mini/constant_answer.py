"""What a method must beat to have learnt anything: the score of one answer for every row."""

import collections
import math

import seqio

from mpt_jax.tasks.info import key_metric

SPLIT = "test"


def score(name: str, split: str = SPLIT) -> float:
    """The key metric of always giving the commonest answer, as `t5x eval` counts it.

    Args:
      name: of a registered task.
      split: whose rows are answered; of equally common answers the first one is given.

    Returns:
      Percent. A constant does not correlate with anything: 0.
    """
    task = seqio.get_mixture_or_task(name)
    rows = list(task.get_dataset(None, split, shuffle=False).as_numpy_iterator())
    words = [row["targets_pretokenized"].decode() for row in rows]
    ((commonest, _),) = collections.Counter(words).most_common(1)
    targets, answers = (
        [
            task.postprocess_fn(text, example=row, is_target=is_target)
            for text, row in zip(texts, rows, strict=True)
        ]
        for texts, is_target in ((words, True), ([commonest] * len(rows), False))
    )
    found = {}
    for metric in task.metric_fns:
        found |= metric(targets, answers)
    value = float(found[key_metric(name, found)])
    return 0.0 if math.isnan(value) else value
