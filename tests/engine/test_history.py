"""The log of a run, read back, and the one rule for its best evaluation."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpt_jax.engine.records import history
from mpt_jax.errors import UserError

NOT_FINITE = (None, math.nan, math.inf, -math.inf)


@pytest.mark.parametrize(
    ("means", "best"),
    [
        ((math.nan, 20.0, 30.0), 3),  # an undefined first evaluation wins over nothing
        ((math.nan, 30.0, math.nan), 2),
        ((None, math.inf, -1.0), 3),
        ((20.0, 20.0, 20.0), 1),
        ((math.nan, math.nan), 1),
        ((), None),
    ],
)
def test_the_best_evaluation(means, best):
    assert history.best_step(dict(enumerate(means, 1))) == best


@given(st.lists(st.one_of(st.sampled_from(NOT_FINITE), st.floats(-100, 100)), min_size=1))
def test_the_best_is_the_first_highest_finite_mean_in_any_order(means):
    by_step = dict(enumerate(means))
    assert history.best_step(dict(reversed(by_step.items()))) == history.best_step(by_step)
    finite = [mean for mean in means if mean is not None and math.isfinite(mean)]
    assert history.best_step(by_step) == (means.index(max(finite)) if finite else 0)


def test_what_was_logged_comes_back(tmp_path):
    assert history.read(tmp_path) == []
    text = (
        '{"step": 1, "kind": "train", "loss": 2.5}\n'
        '{"step": 2, "kind": "eval", "mean/key_metric": null}\n'
        '{"step": 4, "kind": "eval", "mean/key_metric": 12.5}\n'
    )
    (tmp_path / "metrics.jsonl").write_text(text + '{"step": 5, "ki')  # as a kill leaves it
    lines = history.read(tmp_path)
    assert [line["step"] for line in lines] == [1, 2, 4]


@pytest.mark.parametrize(
    "line", ['{"step": 5', '{"kind": "eval"}', '{"step": "5", "kind": "eval"}']
)
def test_a_damaged_line_is_named(line, tmp_path):
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1, "kind": "train"}}\n{line}\n')
    with pytest.raises(UserError, match=r"metrics.jsonl, line 2,"):
        history.read(tmp_path)
