"""Metrics of text targets and predictions, as SeqIO calls them; all in percent.

A prediction that is no valid answer counts as wrong and is never left out. Targets and
predictions are strings that the task has postprocessed, one per example, unless said otherwise.
"""

import collections
import re
import string
from collections.abc import Callable, Hashable, Sequence

import numpy as np
import sacrebleu
import scipy.stats
import sklearn.metrics

Answers = Sequence[str | Sequence[str]]
MetricFn = Callable[..., dict[str, float]]

NOT_A_NUMBER = -1.0  # what a prediction that is no number counts as: below every scale in use


def accuracy(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """Share of exact matches."""
    matches = [target == prediction for target, prediction in _zip(targets, predictions)]
    return {"accuracy": 100.0 * float(np.mean(matches))}


def matthews(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """Matthews correlation; a constant prediction gives 0.

    Invalid predictions form one more class (the multi-class statistic R_K), so that only wrong
    answers, not random text, can bring it below 0.
    """
    known = set(targets)
    predictions = [p if p in known else "<invalid>" for _, p in _zip(targets, predictions)]
    if len({*targets, *predictions}) == 1:
        return {"matthews": 0.0}  # as scikit-learn, which warns
    return {"matthews": 100.0 * float(sklearn.metrics.matthews_corrcoef(targets, predictions))}


def binary_f1(positive: str, negative: str) -> MetricFn:
    """F1 of the class `positive`; an invalid prediction counts as the wrong one of the two."""
    wrong = {positive: negative, negative: positive}

    def f1(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
        judged = [p if p in wrong else wrong[t] for t, p in _zip(targets, predictions)]
        score = sklearn.metrics.f1_score(targets, judged, pos_label=positive, zero_division=0.0)
        return {"f1": 100.0 * float(score)}

    return f1


def macro_f1(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """Mean F1 of the classes among the targets; an invalid prediction is a miss in its class."""
    classes = sorted({target for target, _ in _zip(targets, predictions)})
    score = sklearn.metrics.f1_score(
        targets, predictions, labels=classes, average="macro", zero_division=0.0
    )
    return {"macro_f1": 100.0 * float(score)}


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
    """Pearson and Spearman correlation of numbers written as text.

    A prediction that is no finite number counts as `NOT_A_NUMBER`, off the scale; where the
    targets or the predictions are constant the correlation is 0.
    """
    x = np.array([float(target) for target, _ in _zip(targets, predictions)])
    y = np.array([_number(prediction) for prediction in predictions])
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return {"pearson": 0.0, "spearman": 0.0}
    return {
        "pearson": 100.0 * float(scipy.stats.pearsonr(x, y).statistic),
        "spearman": 100.0 * float(scipy.stats.spearmanr(x, y).statistic),
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
    """Corpus BLEU (sacrebleu's defaults).

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
    try:
        value = float(text)
    except ValueError:
        return NOT_A_NUMBER
    return value if np.isfinite(value) else NOT_A_NUMBER


def _as_list(answers: str | Sequence[str]) -> list[str]:
    return [answers] if isinstance(answers, str) else list(answers)


def _zip(targets: Sequence, predictions: Sequence) -> list[tuple]:
    if not len(targets):
        raise ValueError("A metric needs at least one example.")
    return list(zip(targets, predictions, strict=True))
