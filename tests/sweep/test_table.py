import dataclasses
import json

import sweep_plans

from mpt_jax.sweep import cells, table

PLAN = sweep_plans.PLAN


def test_the_score_of_a_cell_is_its_key_metric(tmp_path):
    for i, run in enumerate(cells.target_runs(PLAN, tmp_path)):
        sweep_plans.finish(run, score=i)
    found = table.collect(PLAN, tmp_path)
    assert sorted(record["score"] for record in found) == list(range(4 * 2 * 2 * 2))
    # Cells are listed by shots, seed, task, method: 16-0-a: 0..3, 16-0-b: 4..7, 16-3-a: 8..11.
    cell = {"method": "no teachers", "task": "a", "shots": "16", "seed": 3}
    assert {**cell, "tuned_parameters": 1234, "cost": {}, "score": 9} in found


def test_costs_are_means_of_the_runs_that_say_them(tmp_path):
    costs = iter(({"seconds": 10, "product_bytes": 2500}, {"seconds": 20.0}, {"seconds": "x"}))
    for run in cells.target_runs(PLAN, tmp_path):
        sweep_plans.finish(run)
        cost = next(costs, {}) if "16" in run.name and "MPT" in run.name else {}
        record = json.loads((run.folder / "run.json").read_text())
        (run.folder / "run.json").write_text(json.dumps({**record, "cost": cost}))
    records = table.collect(PLAN, tmp_path)
    first, *others = table.costs(PLAN, records, "16")
    assert dict(zip(table.COSTS, first, strict=True)) == {
        **dict.fromkeys(table.COSTS, ""),
        **{"method": "MPT", "seconds": "15", "product": "2.5 kB"},
    }
    assert [set(row[1:]) for row in others] == [{""}] * 3
    assert table.costs(PLAN, records, "full") == []


def test_a_row_is_mean_and_sample_deviation_and_the_mean_is_over_seeds():
    scores = {"a": [10.0, 20.0], "b": [30.0, 30.0]}
    records = [
        {
            **{"method": method.label, "task": task, "shots": "16", "seed": seed},
            **{"tuned_parameters": 2708, "score": score},
        }
        for method in PLAN.methods
        for task, by_seed in scores.items()
        for seed, score in enumerate(by_seed)
    ]
    row, *others = table.rows(PLAN, records, "16")
    # a: 15 and sqrt(((10-15)^2 + (20-15)^2) / 1); seeds' means over tasks: 20 and 25
    assert row == ["MPT", "2,708", "15.0 ± 7.1", "30.0 ± 0.0", "**22.5 ± 3.5**"]
    assert [other[0] for other in others] == ["no teachers", "attention", "scratch"]


def test_one_score_has_no_deviation():
    plan = dataclasses.replace(PLAN, methods=PLAN.methods[:1], tasks=("a",))
    cell = {"method": "MPT", "task": "a", "shots": "full", "seed": 0}
    record = {**cell, "tuned_parameters": 9, "score": 12.34}
    assert table.rows(plan, [record], "full") == [["MPT", "9", "12.3 ± 0.0", "**12.3 ± 0.0**"]]


def test_markdown_and_titles():
    assert table.markdown(["a", "b"], [["1", "2"]]) == ["| a | b |", "|---|---|", "| 1 | 2 |"]
    assert [table.title(k) for k in ("16", "full")] == [
        "16 training examples",
        "All training examples",
    ]
