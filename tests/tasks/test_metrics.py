import numpy as np
import pytest
import sacrebleu
import sklearn.metrics

from mpt_jax.tasks import metrics


def test_accuracy_counts_invalid_predictions_as_wrong():
    assert metrics.accuracy(["a", "b", "a", "b"], ["a", "a", "?", "b"]) == {"accuracy": 50.0}


def test_binary_f1_by_hand():
    targets = ["y", "y", "y", "n", "n"]
    # 1 hit, 2 misses (one invalid), 2 false alarms (one invalid): F1 = 2 / (2 + 2 + 2).
    f1 = metrics.binary_f1("y", "n")(targets, ["y", "n", "?", "y", "?"])
    assert f1 == {"f1": pytest.approx(100 / 3)}
    assert metrics.binary_f1("y", "n")(["n"], ["n"]) == {"f1": 0.0}


def test_macro_f1_by_hand():
    targets, predictions = list("aabbc"), ["a", "?", "b", "a", "d"]
    # a: 1 hit, 1 miss, 1 false alarm and that of "d"; b: 1 hit, 1 miss, those of "?" and "d"; c: 0.
    assert metrics.macro_f1(targets, predictions) == {"macro_f1": pytest.approx(80 / 3)}


def test_multirc_by_hand():
    judge = metrics.multirc(positive="1", negative="0")
    words = ["1", "0", "1", "1", "0"]
    questions = [(0, 1), (0, 1), (0, 2), (5, 2), (5, 2)]
    given = ["1", "0", "0", "1", "?"]
    # F1: 2 hits, 1 miss, 1 false alarm (invalid): 4 / 6. Only the first question is all right.
    scores = judge(list(zip(words, questions, strict=True)), given)
    assert scores == {"f1": pytest.approx(200 / 3), "exact_match": pytest.approx(100 / 3)}


def test_classification_metrics_are_scikit_learns_where_all_predictions_are_valid():
    rng = np.random.default_rng(0)
    targets, predictions = rng.choice(list("abc"), (2, 60)).tolist()
    assert metrics.accuracy(targets, predictions)["accuracy"] == pytest.approx(
        100 * sklearn.metrics.accuracy_score(targets, predictions)
    )
    assert metrics.macro_f1(targets, predictions)["macro_f1"] == pytest.approx(
        100 * sklearn.metrics.f1_score(targets, predictions, average="macro")
    )
    assert metrics.matthews(targets, predictions)["matthews"] == pytest.approx(
        100 * sklearn.metrics.matthews_corrcoef(targets, predictions)
    )
    two = [[word if word == "a" else "b" for word in words] for words in (targets, predictions)]
    expected = 100 * sklearn.metrics.f1_score(*two, pos_label="b")
    assert metrics.binary_f1("b", "a")(*two)["f1"] == pytest.approx(expected)
    judged = metrics.multirc("b", "a")(list(zip(two[0], range(60), strict=True)), two[1])
    accuracy = metrics.accuracy(*two)["accuracy"]
    assert judged == {"f1": pytest.approx(expected), "exact_match": pytest.approx(accuracy)}


def test_matthews_by_hand():
    targets, predictions = list("yyyynnnn"), list("yyynynnn")
    # tp 3, tn 3, fp 1, fn 1: (9 - 1) / 16.
    assert metrics.matthews(targets, predictions) == {"matthews": pytest.approx(50.0)}
    assert metrics.matthews(list("yn"), list("ny")) == {"matthews": pytest.approx(-100.0)}


@pytest.mark.parametrize("predictions", [["y", "y"], ["x", "z"]])
def test_matthews_of_constant_or_invalid_predictions_is_zero(predictions):
    assert metrics.matthews(["y", "n"], predictions) == {"matthews": 0.0}


def test_correlation_against_numpy():
    x, y = [0.0, 1.0, 2.0, 5.0], [1.0, 1.5, 9.0, 9.5]
    got = metrics.correlation([str(v) for v in x], [str(v) for v in y])
    assert got["pearson"] == pytest.approx(100 * np.corrcoef(x, y)[0, 1])
    assert got["spearman"] == pytest.approx(100.0)


def test_correlation_of_constants_is_zero():
    assert metrics.correlation(["1", "1"], ["1", "2"]) == {"pearson": 0.0, "spearman": 0.0}
    assert metrics.correlation(["1", "2"], ["3", "3"]) == {"pearson": 0.0, "spearman": 0.0}


def test_squad_takes_the_best_of_the_right_answers():
    got = metrics.squad([["The red car!", "a boat"], "anna"], ["red car", "anna and tom"])
    # exact 1 and 0; F1 1 and 2 * 1 / (1 + 3).
    assert got == {"exact_match": 50.0, "f1": pytest.approx(75.0)}


def test_bleu_with_several_and_uneven_references():
    targets = [["the cat sat on the mat .", "on the mat sat the cat ."], "anna sold the red car ."]
    assert metrics.bleu(targets, ["on the mat sat the cat .", "anna sold the red car ."]) == {
        "bleu": pytest.approx(100.0)
    }
    # The second reference belongs to the first example only.
    assert metrics.bleu(targets, ["x", "on the mat sat the cat ."])["bleu"] < 10
    assert metrics.bleu(targets, ["", ""]) == {"bleu": 0.0}


def test_bleu_is_sacrebleus_with_the_references_in_streams():
    targets = [["a b c d e", "a b d c e"], ["f g h i"], ["j k l m n", "k j l m n", "l m n j k"]]
    predictions = ["a b c d e x", "f g i i", "k l m n"]
    streams = [["a b c d e", "f g h i", "j k l m n"], ["a b d c e", None, "k j l m n"]]
    streams.append([None, None, "l m n j k"])
    expected = sacrebleu.corpus_bleu(predictions, streams).score
    assert 0 < expected < 100
    assert metrics.bleu(targets, predictions) == {"bleu": pytest.approx(expected)}


@pytest.mark.parametrize("name", metrics.BY_NAME)
def test_a_metric_gives_the_figure_that_it_is_asked_for_by(name):
    assert name in metrics.BY_NAME[name](["1", "0"], ["1", "1"])


def test_no_examples_is_an_error():
    with pytest.raises(ValueError, match="at least one example"):
        metrics.accuracy([], [])
