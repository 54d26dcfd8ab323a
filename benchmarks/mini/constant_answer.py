"""What a method must beat to have learnt anything: the score of one answer for every row."""

import collections

from mini import key_metric


def score(name: str, split: str = key_metric.SPLIT) -> float:
    """The key metric of always giving the commonest answer, percent.

    Args:
      name: of a registered task.
      split: whose rows are answered; of equally common answers the first one is given.
    """

    def commonest(inputs: list[str], words: list[str]) -> list[str]:
        ((answer, _),) = collections.Counter(words).most_common(1)
        return [answer] * len(inputs)

    return key_metric.score(name, commonest, split)
