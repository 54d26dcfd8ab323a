"""The best evaluation of a run: by the mean of all tasks, or of each independent task."""

import math

import pytest

from mpt_jax.engine.records.evaluations import Evaluations

KEYS = {"a": "accuracy", "b": "f1"}
FOUND = {  # step -> accuracy of a, F1 of b
    2: (10.0, 50.0),
    4: (40.0, 30.0),
    6: (40.0, 20.0),
}


def results(a, b):
    return {
        "a": {"accuracy": a, "loss": 1.0},
        "b": {"f1": b},
        "mean": {"key_metric": (a + b) / 2},
    }


def evaluations(tasks=("a", "b"), keys=KEYS, *, independent, found=FOUND):
    made = Evaluations(tasks, keys, independent=independent)
    for step, values in found.items():
        made.add(step, results(*values))
    return made


def test_tasks_that_share_parameters_have_one_best_step_that_of_the_mean():
    made = evaluations(independent=False)
    assert made.steps() == {"a": 4, "b": 4}
    assert made.results() == results(40.0, 30.0) and made.score() == 35.0
    assert made.improved(4) == ("a", "b") and made.improved(6) == ()


def test_independent_tasks_have_each_their_own():
    made = evaluations(independent=True)
    assert made.steps() == {"a": 4, "b": 2}
    assert made.results() == results(40.0, 50.0) and made.score() == 45.0
    assert (made.improved(2), made.improved(4), made.improved(6)) == (("b",), ("a",), ())


def test_an_independent_task_that_is_not_evaluated_follows_the_mean():
    made = evaluations(("a", "b", "c"), independent=True)
    assert made.steps() == {"a": 4, "b": 2, "c": 4}
    assert "c" not in made.results() and made.score() == 45.0


@pytest.mark.parametrize("independent", [False, True])
def test_they_are_read_from_the_log_up_to_a_step(independent):
    lines = [{"step": 1, "kind": "train", "loss": 2.0}]
    for step, values in FOUND.items():
        flat = {f"{t}/{m}": x for t, found in results(*values).items() for m, x in found.items()}
        lines.append({"step": step, "kind": "eval", "sum": 5, **flat})
    record = {"tasks": ["a", "b"], "key_metrics": KEYS, "independent_tasks": independent}
    read, told = Evaluations.of(record, lines), evaluations(independent=independent)
    assert read.steps() == told.steps() and read.results() == told.results()
    early = Evaluations(("a", "b"), KEYS, independent=independent, lines=lines, last=3)
    assert early.steps() == {"a": 2, "b": 2} and 2 in early and 4 not in early


def test_without_any_there_is_no_best():
    made = Evaluations(("a",), {"a": "accuracy"}, independent=True)
    assert (made.steps(), made.results(), made.score(), made.best("a")) == ({}, {}, None, None)


@pytest.mark.parametrize("nothing", [None, math.nan, math.inf])
def test_what_is_not_finite_is_the_worst(nothing):
    found = {1: (nothing, 1.0), 2: (3.0, nothing), 3: (nothing, nothing)}
    made = Evaluations(("a", "b"), KEYS, independent=True)
    for step, (a, b) in found.items():
        made.add(step, {"a": {"accuracy": a}, "b": {"f1": b}})
    assert made.steps() == {"a": 2, "b": 1} and made.score() == 2.0
    alone = Evaluations(("a",), KEYS, independent=True)
    alone.add(1, {"a": {"accuracy": nothing}})
    assert alone.steps() == {"a": 1} and alone.score() is None


def test_what_was_lost_does_not_count():
    made = evaluations(independent=True)
    made.forget("b", except_of={6})
    assert made.steps() == {"a": 4, "b": 6} and 2 in made
    made.forget("b", except_of=())
    assert made.steps() == {"a": 4}
