"""What is counted, what is printed of it, and what its file gives back."""

import numpy as np
import pytest
import sklearn.metrics

from mpt_jax.engine.evaluation import confusion
from mpt_jax.errors import UserError

LABELS = ("=a", "'=b", "-1", "c, d\n\"e'", "no label word")
NONE = len(LABELS)


@pytest.fixture(name="texts")
def _texts():
    rng = np.random.default_rng(0)
    return rng.integers(0, NONE, 50), rng.integers(0, NONE + 1, 50)


def test_a_file_gives_back_what_was_counted(texts):
    found = confusion.of(LABELS, *texts)
    text = confusion.to_csv(found)
    assert text.startswith("label,'=a,''=b,-1,")  # what a spreadsheet would take for a formula
    back = confusion.from_csv(text, "x.csv")
    assert back.labels == LABELS and back.rows == LABELS and back.columns[-1] == confusion.NONE
    np.testing.assert_array_equal(back.counts, found.counts)
    np.testing.assert_allclose(back.scores, found.scores, atol=1e-4)


def test_a_target_that_is_no_label_word_has_a_row(texts):
    targets, answers = texts
    targets[:3] = NONE
    found = confusion.from_csv(confusion.to_csv(confusion.of(LABELS, targets, answers)), "x.csv")
    assert found.rows[-1] == confusion.NONE and found.counts[-1].sum() == 3
    assert found.counts.sum() == 50
    expected = sklearn.metrics.recall_score(targets, answers, labels=[0], average=None)
    assert found.scores[0, 1] == pytest.approx(100 * expected[0], abs=1e-4)


def test_what_is_printed(texts):
    targets, answers = np.array([0, 0, 0, 0, 1]), np.array([0, 2, 2, 1, 1])
    assert confusion.told(confusion.of(("yes", "no"), targets, answers)) == [
        "  'yes' precision 100.00  recall 25.00  f1 40.00  support 4  taken for no label word: 2",
        "  'no' precision 50.00  recall 100.00  f1 66.67  support 1",
    ]
    many = confusion.of([str(i) for i in range(25)], *texts)
    assert confusion.told(many)[20:] == ["  and 5 labels more"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text.replace("support", "supper"),
        lambda text: text.rsplit("\n", 2)[0],  # a row is missing
        lambda text: text.replace(",1,", ",x,", 1),
        lambda text: text.replace(",1,", ",-1,", 1),
        lambda text: text.replace(".0000", "", 1).replace("100", "nan", 1),
        lambda text: text + "1,2\n",
    ],
)
def test_another_file_is_refused(damage):
    whole = confusion.to_csv(confusion.of(("a", "b"), np.array([0, 0, 1]), np.array([0, 1, 1])))
    confusion.from_csv(whole, "x.csv")
    assert damage(whole) != whole
    with pytest.raises(UserError, match="x.csv is not a confusion matrix"):
        confusion.from_csv(damage(whole), "x.csv")
