"""Similarities against numbers worked by hand, and composition against the model's own."""

import numpy as np
import pytest

from mpt_jax.report import similarity
from mpt_jax.report.settings import settings

# P = 1, D = 2: W_x = 2 [1, 0], W_y = 1 [1, 1], W_z = [0, -3]; the shared prompt is [3, 4].
BANK = {
    "shared": np.array([[3, 4]], np.float32),
    "task_u": np.array([[[2]], [[1]], [[1]]], np.float32),
    "task_v": np.array([[[1, 0]], [[1, 1]], [[0, -3]]], np.float32),
}
TASKS = ("x", "y", "z")
R = 1 / np.sqrt(2)
FACTORS = [[1, R, 0], [R, 1, -R], [0, -R, 1]]
PROMPTS = [[1, 0.6, 0], [0.6, 1, -0.8], [0, -0.8, 1]]  # of [6, 0], [3, 4], [0, -12]


def _scores(tasks):
    return dict.fromkeys(tasks, 50.0)


def test_a_source_run(make_run, read):
    make_run("s", tasks=TASKS, shots=None, bank=BANK, source=True)
    (setting,) = settings(read()[0])
    for of_factors, expected in ((True, FACTORS), (False, PROMPTS)):
        (found,) = similarity.of_setting(setting, of_factors)
        assert (found.label, found.tasks, found.seeds) == ("MPT", TASKS, 1)
        np.testing.assert_allclose(found.values, expected, atol=1e-6)


def test_target_runs_of_one_task_each(make_run, read):
    for i, task in enumerate(TASKS):
        one = {n: leaf if n == "shared" else leaf[i : i + 1] for n, leaf in BANK.items()}
        make_run(task, tasks=(task,), bank=one, test=_scores([task]))
    (setting,) = settings(read()[0])
    (found,) = similarity.of_setting(setting, False)
    np.testing.assert_allclose(found.values, PROMPTS, atol=1e-6)


def test_the_mean_over_seeds(make_run, read):
    make_run("s0", tasks=TASKS, shots=None, bank=BANK, source=True)
    same = {**BANK, "task_v": np.ones((3, 1, 2), np.float32)}  # all similarities are 1
    make_run("s1", tasks=TASKS, shots=None, bank=same, source=True, seed=1)
    (setting,) = settings(read()[0])
    (found,) = similarity.of_setting(setting, True)
    assert found.seeds == 2
    np.testing.assert_allclose(found.values, (np.array(FACTORS) + 1) / 2, atol=1e-6)


def test_whole_prompts_and_what_has_none(make_run, read):
    whole = np.array([[[1, 0]], [[3, 4]]], np.float32)
    make_run("a", label="whole", tasks=("x", "y"), bank={"task_prompts": whole})
    make_run("b", label="shared alone", tasks=("x", "y"), bank={"shared": whole[0]})
    make_run("c", label="no prompts", tasks=("x", "y"))
    own = {"task_prompts": whole, "query": np.ones((2, 2), np.float32)}
    make_run("d", label="composed in another way", tasks=("x", "y"))
    (setting,) = settings(read()[0])
    (found,) = similarity.of_setting(setting, False)
    assert found.label == "whole"
    np.testing.assert_allclose(found.values, [[1, 0.6], [0.6, 1]], atol=1e-6)
    assert similarity.of_setting(setting, True) == []
    assert similarity.rows_of_bank(own, 2, of_factors=False) is None


def test_one_shared_prompt_per_single_task_run(make_run, read):
    for task, values in (("x", [1, 0]), ("y", [3, 4])):
        make_run(task, tasks=(task,), bank={"shared": np.array([values], np.float32)})
    (found,) = similarity.of_setting(settings(read()[0])[0], False)
    np.testing.assert_allclose(found.values, [[1, 0.6], [0.6, 1]], atol=1e-6)


def test_a_zero_row_is_similar_to_nothing():
    np.testing.assert_array_equal(
        similarity.cosines(np.array([[0.0, 0.0], [2.0, 0.0]])), [[0, 0], [0, 1]]
    )


@pytest.mark.parametrize("leaves", [("shared", "task_u", "task_v"), ("task_prompts",), ("shared",)])
def test_prompts_are_those_of_the_model(leaves):
    from mpt_jax import prompts

    rng = np.random.default_rng(0)
    shapes = {"task_prompts": (2, 3, 4), **prompts.factorized_shapes(2, 3, 4, 2)}
    bank = {leaf: rng.normal(size=shapes[leaf]).astype(np.float32) for leaf in leaves}
    expected = prompts.compose(bank, np.arange(2))
    np.testing.assert_allclose(similarity.prompts(bank, 2), expected, rtol=1e-5)
