"""Metrics of text targets and predictions, as SeqIO calls them; all in percent.

A prediction that is not a valid answer ("garbage": no label among the targets, no number) counts as
wrong and is never left out. Garbage cannot help: a score with it is at most what any valid answers
in its place would give, or 0 if they would give less than 0, which garbage by itself never does.

Targets and predictions are strings that the task has postprocessed, one per example, unless said
otherwise.
"""

import collections
import math
import re
import string
from collections.abc import Callable, Hashable, Sequence

import numpy as np
import sacrebleu
import sklearn.metrics

from mpt_jax.tasks import correlations

Answers = Sequence[str | Sequence[str]]
MetricFn = Callable[..., dict[str, float]]


def accuracy(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """Share of exact matches."""
    matches = [target == prediction for target, prediction in _zip(targets, predictions)]
    return {"accuracy": 100.0 * float(np.mean(matches))}


def matthews(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """Matthews correlation of any number of classes (R_K); a constant prediction gives 0.

    Garbage counts as the commonest wrong class, and in the spread of the predictions as classes of
    its own: no classes in its place give less.
    """
    pairs, known = _zip(targets, predictions), set(targets)
    valid = [(target, given) for target, given in pairs if given in known]
    score = _matthews(pairs)
    if valid != pairs:
        score = correlations.garbled(score, _matthews(valid))
    return {"matthews": 100.0 * score}


def binary_f1(positive: str, negative: str) -> MetricFn:
    """F1 of the class `positive`; an invalid prediction counts as the wrong one of the two."""
    wrong = {positive: negative, negative: positive}

    def f1(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
        judged = [p if p in wrong else wrong[t] for t, p in _zip(targets, predictions)]
        score = sklearn.metrics.f1_score(targets, judged, pos_label=positive, zero_division=0.0)
        return {"f1": 100.0 * float(score)}

    return f1


def macro_f1(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """Mean F1 of the classes among the targets.

    Garbage is a miss in its target's class and a false alarm in every other.
    """
    pairs = _zip(targets, predictions)
    right = collections.Counter(target for target, given in pairs if target == given)
    alarms = collections.Counter(given for target, given in pairs if target != given)
    actual = collections.Counter(targets)
    lost = collections.Counter(target for target, given in pairs if given not in actual)
    scores = []
    for name, count in actual.items():
        false_alarms = alarms[name] + lost.total() - lost[name]
        scores.append(2 * right[name] / (right[name] + count + false_alarms))
    return {"macro_f1": 100.0 * float(np.mean(scores))}


def multirc(positive: str, negative: str) -> MetricFn:
    """MultiRC's metrics of answers that are judged `positive` (right) or `negative`.

    F1 of `positive` over all answers, and the share of questions ("exact_match") of which every
    answer in the data is judged rightly. A target is (word, question), question any hashable.
    """
    f1 = binary_f1(positive, negative)

    def judge(
        targets: Sequence[tuple[str, Hashable]], predictions: Sequence[str]
    ) -> dict[str, float]:
        all_right: dict[Hashable, bool] = {}
        for (word, question), given in _zip(targets, predictions):
            all_right[question] = all_right.get(question, True) and given == word
        exact = 100.0 * float(np.mean(list(all_right.values())))
        return {**f1([word for word, _ in targets], predictions), "exact_match": exact}

    return judge


def correlation(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """Pearson and Spearman correlation of numbers written as text (`correlations`).

    Garbage, which is not a finite number, counts as the numbers that make the correlation lowest.
    If the targets or the predictions are constant, the correlation is 0.
    """
    x = np.array([float(target) for target, _ in _zip(targets, predictions)])
    y = np.array([_number(prediction) for prediction in predictions])
    return {
        "pearson": 100.0 * correlations.pearson(x, y),
        "spearman": 100.0 * correlations.spearman(x, y),
    }


def squad(targets: Answers, predictions: Sequence[str]) -> dict[str, float]:
    """SQuAD's exact match and token F1: the best over each example's right answers.

    Args:
      targets: per example one answer, or several right ones.
      predictions: per example one answer.
    """
    pairs = [(_as_list(answers), given) for answers, given in _zip(targets, predictions)]
    exact = [max(normalize(a) == normalize(given) for a in answers) for answers, given in pairs]
    f1 = [max(_token_f1(a, given) for a in answers) for answers, given in pairs]
    return {"exact_match": 100.0 * float(np.mean(exact)), "f1": 100.0 * float(np.mean(f1))}


def bleu(targets: Answers, predictions: Sequence[str]) -> dict[str, float]:
    """Corpus BLEU (sacrebleu's defaults). Any text is an answer: none is garbage.

    Args:
      targets: per example one reference or several; numbers of references may differ.
      predictions: per example one text.
    """
    references = [_as_list(target) for target, _ in _zip(targets, predictions)]
    most = max(len(each) for each in references)
    # sacrebleu takes streams, the i-th reference of every example; None fills short rows.
    streams = [[each[i] if i < len(each) else None for each in references] for i in range(most)]
    return {"bleu": sacrebleu.corpus_bleu(list(predictions), streams).score}


# The metrics that a task may ask for by the name of the figure it wants; a function may give more
# figures than one, so drop repeated functions before a task gets them.
BY_NAME: dict[str, MetricFn] = {
    "accuracy": accuracy,
    "exact_match": squad,
    "f1": squad,
    "macro_f1": macro_f1,
    "matthews": matthews,
    "pearson": correlation,
    "spearman": correlation,
    "bleu": bleu,
}


def normalize(answer: str) -> str:
    """SQuAD's normal form: lower case, no punctuation, no articles, single spaces."""
    text = "".join(c for c in answer.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def _token_f1(answer: str, given: str) -> float:
    """F1 of the words of two answers in normal form."""
    right, said = normalize(answer).split(), normalize(given).split()
    if not right or not said:
        return float(right == said)
    common = (collections.Counter(right) & collections.Counter(said)).total()
    return 2.0 * common / (len(right) + len(said))


def _number(text: str) -> float:
    """The number, or NaN."""
    try:
        value = float(text)
    except ValueError:
        return np.nan
    return value if np.isfinite(value) else np.nan


def _matthews(pairs: Sequence[tuple[str, str]]) -> float:
    """R_K, or the bound below it where predictions are garbage; 0 where a side is constant."""
    total = len(pairs)
    actual = collections.Counter(target for target, _ in pairs)
    given = collections.Counter(g for _, g in pairs if g in actual)
    lost = collections.Counter(target for target, g in pairs if g not in actual)
    right = sum(target == g for target, g in pairs)
    by_chance = sum(given[name] * actual[name] for name in given) + sum(
        count * max((actual[name] for name in actual if name != target), default=0)
        for target, count in lost.items()
    )
    spread = math.prod(total**2 - sum(n**2 for n in side.values()) for side in (given, actual))
    return (right * total - by_chance) / math.sqrt(spread) if spread else 0.0


def _as_list(answers: str | Sequence[str]) -> list[str]:
    return [answers] if isinstance(answers, str) else list(answers)


def _zip(targets: Sequence, predictions: Sequence) -> list[tuple]:
    if not len(targets):
        raise ValueError("A metric needs at least one example.")
    return list(zip(targets, predictions, strict=True))
