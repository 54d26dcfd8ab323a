import json
import pathlib

import comparison

SUITE = comparison.Suite(
    pathlib.Path("root"), settings=("A=1",), source_settings=("B=2",), target_settings=("C=3",)
)


def records(scores):
    return [
        {"method": method.name, "task": task, "shots": "16", "seed": seed, "score": score}
        for method in comparison.METHODS
        for task, by_seed in scores.items()
        for seed, score in enumerate(by_seed)
    ]


def test_a_row_is_mean_and_sample_deviation_and_the_mean_is_over_seeds():
    found = records({"a": [10.0, 20.0], "b": [30.0, 30.0]})
    row, *others = comparison.rows(found, "16", ["a", "b"])
    # a: 15 and sqrt(((10-15)^2 + (20-15)^2) / 1); seeds' means over tasks: 20 and 25
    assert row == ["MPT", "15.0 ± 7.1", "30.0 ± 0.0", "**22.5 ± 3.5**"]
    assert len(others) == len(comparison.METHODS) - 1


def test_rivals_differ_in_overlays_and_source_alone():
    runs = [comparison.target_run(SUITE, m, "a", "16", 3) for m in comparison.METHODS]
    assert len({run.folder for run in runs}) == len(runs)
    for run in runs:
        plain = [o for o in run.overrides if not o.startswith("SOURCE_PROMPTS")]
        shots = ["FEW_SHOT_SEED=3", "FEW_SHOT=16"]
        assert plain == ["A=1", "C=3", "MIXTURE_OR_TASK_NAME=a", "RANDOM_SEED=3", *shots]
        assert (run.evaluation, run.evaluation_overrides) == (SUITE.evaluation, ("A=1",))


def test_methods_start_from_source_runs_and_distil_from_the_same_teachers():
    runs = comparison.source_runs(SUITE, 3)
    folders = {run.folder for run in runs}
    for method in comparison.METHODS:
        run = comparison.target_run(SUITE, method, "a", comparison.FULL, 3)
        sources = [o.split("=")[1] for o in run.overrides if o.startswith("SOURCE_PROMPTS")]
        assert set(sources) <= folders and bool(sources) == bool(method.source)
        assert "FEW_SHOT=None" in run.overrides
    (sharing,) = [run for run in runs if "TEACHER" in str(run.overrides)]
    assert f"TEACHER_PROMPTS={runs[0].folder}/teachers" in sharing.overrides
    assert all(not run.evaluation and run.overrides[:2] == ("A=1", "B=2") for run in runs)


def test_the_score_of_a_cell_is_its_key_metric(tmp_path):
    suite = comparison.Suite(tmp_path)
    for i, run in enumerate(comparison.target_runs(suite, ["a"], ["full"], [0])):
        file = pathlib.Path(run.folder, "test", "metrics.json")
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"mean": {"key_metric": i}}))
    found = comparison.collect(suite, ["a"], ["full"], [0])
    assert [record["score"] for record in found] == list(range(len(comparison.METHODS)))
