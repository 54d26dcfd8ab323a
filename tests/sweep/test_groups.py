"""Which cells are put into one program, and in which order groups come."""

import dataclasses

import pytest
import sweep_plans

from mpt_jax.sweep import cells, groups


def names(runs, most):
    return [[run.name for run in group] for group in groups.of(runs, most)]


def test_by_itself_each_run_keeps_its_place(tmp_path):
    runs = cells.all_runs(sweep_plans.PLAN, tmp_path)
    assert names(runs, 1) == [[run.name] for run in runs]


def test_cells_that_differ_in_task_seed_source_and_rate_share_a_program(tmp_path):
    methods = (
        dataclasses.replace(
            sweep_plans.PLAN.methods[0],
            settings=("TASK_LEARNING_RATE=0.1", "LOW_RANK_LEARNING_RATE=0.1"),
        ),
        dataclasses.replace(sweep_plans.PLAN.methods[0], label="other", source="shared"),
        dataclasses.replace(sweep_plans.PLAN.methods[0], label="longer", settings=("P=9",)),
        sweep_plans.PLAN.methods[3],
    )
    plan = dataclasses.replace(sweep_plans.PLAN, methods=methods)
    found = names(cells.all_runs(plan, tmp_path), 100)
    assert all(len(group) == 1 for group in found if group[0].startswith("sources/"))
    together = [group for group in found if len(group) > 1]
    # The plan has other settings for 16 examples than for all.
    assert sorted(len(group) for group in together) == [4, 4, 4, 4, 8, 8]
    (first,) = (group for group in together if "targets/MPT/a-16-0" in group)
    assert sorted(first) == sorted(
        f"targets/{method}/{task}-16-{seed}"
        for method in ("MPT", "other")
        for task in "ab"
        for seed in (0, 3)
    )


@pytest.mark.parametrize(
    ("most", "processes", "sizes"),
    [(8, 1, [8]), (7, 1, [4, 4]), (3, 1, [3, 3, 2]), (24, 2, [4, 4]), (24, 3, [3, 3, 2])],
)
def test_a_group_that_is_too_large_is_divided_evenly(most, processes, sizes, tmp_path):
    plan = sweep_plans.PLAN.select(methods=["MPT", "scratch"], shots=["16"])
    runs = [run for run in cells.target_runs(plan, tmp_path) if "MPT" in run.name]
    runs += [dataclasses.replace(run, name=f"{run.name}-again") for run in runs]
    assert [len(group) for group in groups.of(runs, most, processes)] == sizes


def test_a_group_comes_behind_all_that_its_runs_need(tmp_path):
    seen = set()
    for group in names(cells.all_runs(sweep_plans.PLAN, tmp_path), 5):
        by_name = {run.name: run for run in cells.all_runs(sweep_plans.PLAN, tmp_path)}
        assert {by_name[name].after for name in group} - {None} <= seen
        seen |= set(group)
