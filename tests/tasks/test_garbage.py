"""Garbage among predictions never helps: no score with it beats valid answers in its place.

A property of each metric, tried on answers, places of garbage and replacements at random: a score
is at most that of the replacements, or at most 0 where these give less.
"""

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from mpt_jax.tasks import metrics

GARBAGE = ("garbage", "", "nan", "inf", "1 2", "<extra_id_0>")
LABELS = "abc"
WORDS = ("red", "blue", "green", "grey")
EPSILON = 1e-6


def rows(answers):
    """(targets, predictions, whether each is garbage), of equal length."""
    return st.integers(2, 9).flatmap(
        lambda n: st.tuples(
            st.lists(answers, min_size=n, max_size=n),
            st.lists(answers, min_size=n, max_size=n),
            st.lists(st.booleans(), min_size=n, max_size=n),
        )
    )


def assert_garbage_does_not_help(metric, targets, predictions, garbage, text="garbage"):
    garbled = [text if lost else p for p, lost in zip(predictions, garbage, strict=True)]
    with_garbage, before = metric(targets, garbled), metric(targets, predictions)
    for name, score in with_garbage.items():
        assert score <= max(0, before[name]) + EPSILON, (name, garbled)
    # More garbage does not help either.
    more = [text, *garbled[1:]]
    for name, score in metric(targets, more).items():
        assert score <= max(0, with_garbage[name]) + EPSILON, (name, more)


NUMBERS = st.one_of(st.integers(0, 5), st.floats(0, 5, width=16), st.sampled_from([-3, -1.5]))


@settings(max_examples=150, deadline=None)
@given(rows(NUMBERS))
def test_correlations(drawn):
    targets, predictions, garbage = drawn
    low, high = min(targets), max(targets)  # the scale that a metric knows
    predictions = [min(max(p, low), high) for p in predictions]
    texts = [[str(value) for value in values] for values in (targets, predictions)]
    assert_garbage_does_not_help(metrics.correlation, *texts, garbage)


@settings(max_examples=100, deadline=None)
@given(rows(st.sampled_from(LABELS)))
def test_classification(drawn):
    targets, predictions, garbage = drawn
    predictions = [p if p in targets else targets[0] for p in predictions]
    for metric in (metrics.accuracy, metrics.matthews, metrics.macro_f1):
        assert_garbage_does_not_help(metric, targets, predictions, garbage)


@settings(max_examples=50, deadline=None)
@given(rows(st.sampled_from("yn")))
def test_two_classes(drawn):
    targets, predictions, garbage = drawn
    assert_garbage_does_not_help(metrics.binary_f1("y", "n"), targets, predictions, garbage)
    questions = [(word, i // 2) for i, word in enumerate(targets)]
    assert_garbage_does_not_help(metrics.multirc("y", "n"), questions, predictions, garbage)


@settings(max_examples=100, deadline=None)
@given(rows(st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join)))
def test_answers_in_words(drawn):
    targets, predictions, garbage = drawn
    for text in ("garbage", ""):
        assert_garbage_does_not_help(metrics.squad, targets, predictions, garbage, text)


@settings(max_examples=50, deadline=None)
@given(rows(st.lists(st.sampled_from(WORDS), min_size=4, max_size=6).map(" ".join)))
def test_words_that_no_reference_has(drawn):
    """BLEU: any text is an answer, so garbage is words as many as before."""
    targets, predictions, garbage = drawn
    garbled = [
        " ".join("x" for _ in p.split()) if lost else p
        for p, lost in zip(predictions, garbage, strict=True)
    ]
    before, after = (metrics.bleu(targets, given)["bleu"] for given in (predictions, garbled))
    assert after <= before + EPSILON


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_below_a_scale_of_negative_numbers(garbage):
    """It once counted as -1, which was right for the last target."""
    targets, right = ["-3", "-2", "-5", "-1"], ["-3", "-2", "-5", "-1"]
    assert metrics.correlation(targets, right) == {
        "pearson": pytest.approx(100),
        "spearman": pytest.approx(100),
    }
    scores = metrics.correlation(targets, [*right[:3], garbage])
    # As -5, the lowest of the scale; of all ranks the lowest makes it -20, and garbage is only 0.
    lowest = 100 * scipy.stats.pearsonr([-3, -2, -5, -1], [-3, -2, -5, -5]).statistic
    assert scores == {"pearson": pytest.approx(lowest), "spearman": 0.0}


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=3, max_size=6),
    st.lists(st.integers(0, 4), min_size=3, max_size=6),
)
def test_the_lowest_spearman_is_the_lowest_of_all_places(targets, predictions):
    """Two garbage answers, against every order that they can have among the others."""
    size = min(len(targets), len(predictions))
    x, y = np.array(targets[:size]), np.array(predictions[:size], float)
    places = np.arange(-0.5, 5, 0.25)
    places = places[places % 1 != 0]
    found = []
    for pair in itertools.permutations(places, 2):
        filled = [*pair, *y[2:]]
        if len(set(x)) > 1 and len(set(filled)) > 1:
            found.append(scipy.stats.spearmanr(x, filled).statistic)
    lowest = min(found, default=0)
    scores = metrics.correlation([str(v) for v in x], ["?", "?", *map(str, y[2:])])
    if lowest >= 0:
        assert scores["spearman"] == pytest.approx(100 * lowest, abs=1e-6)
    else:
        assert scores["spearman"] <= EPSILON


def test_garbage_alone_is_no_correlation():
    targets = ["0", "3", "5"]
    assert metrics.correlation(targets, ["a", "b", "c"]) == {"pearson": 0.0, "spearman": 0.0}
    assert metrics.matthews(["y", "n"], ["?", "!"]) == {"matthews": 0.0}


def test_numbers_of_any_size():
    targets = ["1", "2", "3"]
    scores = metrics.correlation(targets, ["1e308", "-1e308", "1"])
    assert np.isfinite(list(scores.values())).all()
