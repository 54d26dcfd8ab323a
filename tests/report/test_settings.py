"""Means and deviations against numbers worked by hand."""

import math

import pytest

from mpt_jax.report.settings import metric_name, ordered_labels, settings, short_names


def test_mean_and_deviation_over_seeds(make_run, read):
    for seed, (x, y) in enumerate([(50, 60), (56, 64), (53, 71)]):
        make_run(f"x{seed}", tasks=("x",), seed=seed, test={"x": x})
        make_run(f"y{seed}", tasks=("y",), seed=seed, test={"y": y})
    (setting,) = settings(read()[0])
    cell = setting.cell("MPT", "x")
    assert cell.mean == 53
    assert cell.std == pytest.approx(3)  # ((-3)² + 3² + 0²) / 2 = 9
    assert (cell.seeds, cell.validation) == (3, False)
    mean = setting.mean("MPT")  # of 55, 60, 62: 59; (16 + 1 + 9) / 2 = 13
    assert mean.mean == pytest.approx(59)
    assert mean.std == pytest.approx(math.sqrt(13))


def test_a_single_seed_has_no_deviation(make_run, read):
    make_run("a", test={"mini_rte": 61.0})
    (setting,) = settings(read()[0])
    assert setting.cell("MPT", "mini_rte").std is None


def test_the_mean_is_of_seeds_that_have_every_task(make_run, read):
    make_run("x0", tasks=("x",), test={"x": 50})
    make_run("y0", tasks=("y",), test={"y": 60})
    make_run("x1", tasks=("x",), seed=1, test={"x": 90})
    make_run("other", label="other", tasks=("x",), test={"x": 90})
    (setting,) = settings(read()[0])
    assert (setting.mean("MPT").mean, setting.mean("MPT").seeds) == (55, 1)
    assert setting.mean("other") is None
    assert setting.mean("other", ["x"]).mean == 90
    assert setting.cell("other", "y") is None


def test_validation_marks_the_cell_and_the_mean(make_run, read):
    make_run("x0", tasks=("x",), test={"x": 50})
    make_run("x1", tasks=("x",), seed=1)
    make_run("y0", tasks=("y",), test={"y": 60})
    (setting,) = settings(read()[0])
    assert setting.cell("MPT", "x").validation
    assert not setting.cell("MPT", "y").validation
    assert not setting.mean("MPT").validation  # of seed 0 alone


def test_settings_by_stage_and_shots(make_run, read):
    for i, shots in enumerate((None, 32, 4)):
        make_run(f"{i}", shots=shots)
    make_run("s", shots=None, source=True)
    found = settings(read()[0])
    assert [s.title for s in found] == [
        "4 training examples per task",
        "32 training examples per task",
        "All training examples",
        "Source training: all training examples",
    ]
    names = ["4_examples", "32_examples", "all_examples", "source_all_examples"]
    assert [s.name for s in found] == names


def test_a_joint_run_is_a_row_of_its_own(make_run, read):
    make_run("x", tasks=("x",), test={"x": 50}, tuned=1000)
    make_run("xy", tasks=("x", "y"), test={"x": 50, "y": 60}, tuned=1200)
    runs, problems = read()
    (setting,) = settings(runs)
    assert problems == []
    assert setting.labels == ["MPT", "MPT, 2 tasks jointly"]
    assert setting.tuned("MPT, 2 tasks jointly") == 600
    assert setting.mean("MPT, 2 tasks jointly").mean == 55


def test_methods_are_ordered_by_size_then_name(make_run, read):
    for i, (label, tuned) in enumerate([("b", 5), ("a", 5), ("z", 9)]):
        make_run(f"{i}", label=label, tuned=tuned)
    assert ordered_labels(read()[0]) == ["z", "a", "b"]


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        (["mini_rte", "mini_news_nli"], ["rte", "news_nli"]),
        (["a_b_c", "a_b_d"], ["c", "d"]),
        (["mini_rte"], ["mini_rte"]),
        (["mini", "mini_rte"], ["mini", "mini_rte"]),
        (["rte", "wic"], ["rte", "wic"]),
    ],
)
def test_short_names(tasks, expected):
    assert list(short_names(tasks).values()) == expected


def test_the_name_of_the_scores(make_run, read):
    make_run("a", metric="exact_match")
    assert metric_name(read()[0]) == "exact match"
    make_run("b", metric="f1", seed=1)
    assert metric_name(read()[0]) == "key metric"
