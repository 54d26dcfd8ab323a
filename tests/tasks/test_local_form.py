import pytest

from mpt_jax.errors import UserError
from mpt_jax.tasks.local.form import Example, Form
from mpt_jax.tasks.local.template import BadRow


def form(inputs="{text}", targets="{label}", **settings):
    defaults = {"label_words": None, "round_to": None, "numbers": False, "several": False}
    return Form(inputs, targets, **{**defaults, **settings})


def answer(label, **settings):
    """What becomes of a target."""
    (found,) = form(**settings).example({"text": "t", "label": label}).answers
    return found


def test_an_example_is_the_filled_templates():
    row = {"text": "good", "label": "yes", "other": None}
    assert form("review: {text}").example(row) == Example("review: good", ("yes",))


def test_label_words_stand_for_what_is_in_the_file():
    words = {0: "negative", True: "positive", "2": "positive"}
    assert [answer(x, label_words=words) for x in ("0", True, "2")] == [
        "negative",
        "positive",
        "positive",
    ]
    assert form(label_words=words).label_words == ("negative", "positive")
    assert answer("yes", label_words=("yes", "no")) == "yes"
    assert form(label_words=("yes", "no")).label_words == ("yes", "no")
    assert form().label_words == ()


@pytest.mark.parametrize(
    ("number", "step", "expected"),
    [
        # T5's own examples of STS-B: the nearest 0.2 with one decimal, ties to even.
        ("2.5", 0.2, "2.4"),
        ("3.8", 0.2, "3.8"),
        ("0.1", 0.2, "0.0"),
        ("0.3", 0.2, "0.4"),
        ("5.000", 0.2, "5.0"),
        ("-0.05", 0.2, "0.0"),
        ("2.5", 1, "2"),
        ("3.5", 1, "4"),
        ("2.63", 0.25, "2.75"),
        ("123", 10, "120"),
        ("1e1", 0.2, "10.0"),
    ],
)
def test_numbers_are_rounded_to_the_step(number, step, expected):
    assert answer(number, round_to=step) == expected


def test_numbers_without_a_step_stand_as_written():
    assert answer(" 3.80 ", numbers=True) == "3.80"


def test_several_right_answers():
    row = {"text": "t", "label": ["x", "y"]}
    assert form(several=True).example(row).answers == ("x", "y")
    assert form().example({"text": "t", "label": ["x"]}).answers == ("x",)
    with pytest.raises(BadRow, match="2 right answers; several need the metrics exact_match, f1"):
        form().example(row)


@pytest.mark.parametrize(
    ("settings", "row", "reason"),
    [
        ({}, {"text": " ", "label": "x"}, "the inputs are empty"),
        ({}, {"text": "t", "label": " "}, "the target is empty"),
        (
            {"label_words": ("negative", "positive")},
            {"text": "t", "label": "postive"},
            "'postive' is not one of 'negative', 'positive'. Did you mean 'positive'?",
        ),
        (
            {"label_words": {0: "no", 1: "yes"}},
            {"text": "t", "label": "yes"},
            "not one of '0', '1'",
        ),
        ({"round_to": 0.2}, {"text": "t", "label": "high"}, "the target 'high' is not a number"),
        ({"numbers": True}, {"text": "t", "label": "nan"}, "the target 'nan' is not a number"),
        ({}, {"text": "t\ud800", "label": "x"}, "half a character"),
    ],
)
def test_bad_rows(settings, row, reason):
    with pytest.raises(BadRow, match=reason):
        form(**settings).example(row)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"label_words": "positive"}, "give the words"),
        ({"label_words": ()}, "give the words"),
        ({"label_words": {0: 1}}, "1 is not a word"),
        ({"label_words": ("yes", " ")}, "' ' is not a word"),
        ({"label_words": ("low", "5"), "numbers": True}, "'low' is none"),
        ({"label_words": ("0", "5"), "round_to": 0.2}, "exclude each other"),
        ({"round_to": 0}, "round_to = 0 must be a number above 0"),
        ({"round_to": "0.2"}, "round_to = '0.2' must be"),
        ({"inputs": "{"}, "inputs = '{' is not a template"),
        ({"targets": "label"}, "targets = 'label' names no field"),
    ],
)
def test_settings_that_cannot_be(settings, expected):
    with pytest.raises(UserError, match=expected):
        form(**settings)
