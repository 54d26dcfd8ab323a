"""Run folders become records; what is incomplete or unreadable is listed with its reason."""

import json
import os

import numpy as np
import pytest

from mpt_jax.errors import UserError
from mpt_jax.report import folders


def test_a_finished_run(make_run, read):
    make_run("a", tasks=("x", "y"), test={"x": 61.0, "y": 40.5}, tuned=5000, seed=3, label="M")
    (run,), problems = read()
    assert problems == []
    assert (run.label, run.stage, run.shots, run.seed, run.split) == ("M", "target", 16, 3, "test")
    assert run.scores == {"x": 61.0, "y": 40.5}
    assert run.tuned_per_task == 2500
    assert run.validation["x"] == {50: 40.0, 100: 50.0}
    assert run.losses["y"] == {50: 0.02, 100: 0.01}
    assert run.folder.endswith("runs/a")


def test_without_a_test_evaluation_the_best_validation_counts(make_run, read):
    # The mean is highest at step 20, and again at 30: the product is of the first. x alone is
    # highest at step 10.
    evals = [(10, {"x": 90, "y": 0}), (20, {"x": 50, "y": 60}), (30, {"x": 60, "y": 50})]
    make_run("a", tasks=("x", "y"), evals=evals)
    (run,), _ = read()
    assert run.split == "validation"
    assert run.scores == {"x": 50, "y": 60}


def test_stages(make_run, read):
    make_run("a", source=True)
    make_run("b")
    make_run("c", stage="pretraining")
    runs, problems = read()
    assert [run.stage for run in runs] == ["source", "target"]
    assert [(p.status, p.reason) for p in problems] == [("not counted", "its stage is pretraining")]


def test_teachers_are_part_of_their_source_run(make_run, read):
    make_run("deep/er/source", source=True)
    make_run("deep/er/source/teachers", seed=1)
    make_run("deep/er/source/checkpoints/x", seed=1)
    make_run("deep/er/source/sibling", seed=2)
    runs, problems = read()
    assert [run.folder.rpartition("er/")[2] for run in runs] == ["source", "source/sibling"]
    assert problems == []


def _edit(path, old, new):
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("break_it", "status", "reason"),
    [
        (lambda f: (f / "run.json").unlink(), "unreadable", "no run.json"),
        (lambda f: (f / "run.json").write_text("{"), "unreadable", "run.json is not valid JSON"),
        (lambda f: (f / "run.json").write_text("[]"), "unreadable", "holds no JSON object"),
        (lambda f: (f / "run.json").write_text("[" * 200_000), "unreadable", "recursion"),
        (lambda f: (f / "run.json").write_bytes(b"\xff"), "unreadable", "not valid JSON"),
        (lambda f: _edit(f / "run.json", ": 16", ": Infinity"), "unreadable", "Infinity is no"),
        (lambda f: _edit(f / "run.json", ": 16", ": -16"), "unreadable", "usable 'batch_size'"),
        (lambda f: _edit(f / "run.json", ": 16", f": {10**400}"), "unreadable", "'batch_size'"),
        (lambda f: _edit(f / "run.json", ": 2708", ": true"), "unreadable", "tuned_parameters"),
        (lambda f: _edit(f / "run.json", '["mini_rte"]', "[3]"), "unreadable", "a name is no"),
        (lambda f: _edit(f / "run.json", '"MPT"', f'"{"M" * 100_000}"'), "unreadable", "a name"),
        (lambda f: _edit(f / "run.json", '"MPT"', r'"\ud800"'), "unreadable", "a name is no"),
        (lambda f: _edit(f / "run.json", '"MPT"', '" "'), "unreadable", "a name is not a line"),
        (lambda f: _edit(f / "run.json", "true", "false"), "incomplete", "its last evaluation"),
        (lambda f: _edit(f / "run.json", '"seed"', '"sead"'), "unreadable", "usable 'seed'"),
        (lambda f: _edit(f / "run.json", '"mini_rte": "acc', '"x": "acc'), "unreadable", "metric"),
        (lambda f: (f / "metrics.jsonl").unlink(), "incomplete", "no metrics.jsonl"),
        (lambda f: _edit(f / "metrics.jsonl", '"step": 100', '"step": 7'), "incomplete", "step 50"),
        (lambda f: _edit(f / "metrics.jsonl", '{"step": 50', "{"), "unreadable", "line 1"),
        (
            lambda f: _edit(f / "run.json", "true}", 'true, "evaluations": 3}'),
            "unreadable",
            "2 of 3",
        ),
        (lambda f: _edit(f / "metrics.jsonl", "50.0", "Infinity"), "unreadable", "line 4,"),
        (lambda f: _edit(f / "metrics.jsonl", '"loss": 0.1}', "[" * 200_000), "unreadable", "5"),
        (lambda f: _edit(f / "metrics.jsonl", "50.0", '"50"'), "unreadable", "is not a number"),
        (
            lambda f: _edit(f / "metrics.jsonl", '"step": 50', f'"step": {10**400}'),
            "unreadable",
            "a step out of range",
        ),
        (lambda f: (f / "test/metrics.json").write_text("{}"), "unreadable", "none of the tasks"),
        (lambda f: (f / "test/metrics.json").write_text(""), "unreadable", "not valid JSON"),
        (lambda f: _edit(f / "test/metrics.json", "61.0", "NaN"), "unreadable", "a JSON number"),
        (lambda f: _edit(f / "test/metrics.json", "61.0", "null"), "unreadable", "not a number"),
        (lambda f: _edit(f / "test/metrics.json", "61.0", "[]"), "unreadable", "not a number but"),
    ],
)
def test_what_cannot_be_used_is_listed(make_run, read, break_it, status, reason):
    break_it(make_run("bad", test={"mini_rte": 61.0}))
    make_run("good", seed=1)
    runs, (problem,) = read()
    assert [run.folder.rpartition("/")[2] for run in runs] == ["good"]
    assert problem.folder.endswith("runs/bad")
    assert problem.status == status
    assert reason in problem.reason


def _places(value, place=()):
    """Of every value within a JSON value."""
    yield place
    parts = value.items() if isinstance(value, dict) else ()
    parts = enumerate(value) if isinstance(value, list) else parts
    for name, part in parts:
        yield from _places(part, (*place, name))


def _with(value, place, new):
    if not place:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = _with(value[place[0]], place[1:], new)
    return copy


@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "test/metrics.json"])
def test_whatever_stands_in_a_file_the_other_runs_are_read(make_run, read, name):
    make_run("good", seed=1)
    path = make_run("odd", test={"mini_rte": 61.0}) / name
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for place in _places(lines):
        for odd in ("50", "", -1, 0, True, None, [["x"]], {"a": {"b": 1}}):
            rows = _with(lines, place, odd) if place else [odd]
            path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
            runs, problems = read()
            assert runs[0].folder.endswith("runs/good")
            assert len(runs) == 2 or problems[0].folder.endswith("runs/odd"), (place, odd)


def test_a_run_that_was_never_evaluated(make_run, read):
    make_run("a", evals=())
    assert read()[1][0].reason.startswith("no test/metrics.json, and no evaluation")


def test_a_validation_score_that_is_null_everywhere(make_run, read):
    make_run("a", evals=((100, None),))
    assert "not a number" in read()[1][0].reason


def test_the_score_is_that_of_the_best_evaluation_which_null_is_not(make_run, read):
    make_run("a", evals=((10, None), (50, 40.0), (70, 60.0), (100, None)))
    (run,), _ = read()
    assert run.scores == {"mini_rte": 60.0}
    assert run.validation["mini_rte"] == {50: 40.0, 70: 60.0}


def test_a_task_that_has_no_such_split_is_left_out_alone(make_run, read):
    make_run("a", tasks=("x", "y"), evals=((50, {"x": 40}), (100, {"x": 50})), tuned=50)
    make_run("b", tasks=("x", "y"), test={"y": 7}, seed=1)
    (first, second), problems = read()
    assert (first.scores, first.tasks, first.tuned_per_task) == ({"x": 50}, ("x",), 25)
    assert second.scores == {"y": 7}
    assert [(p.status, p.reason) for p in problems] == [
        ("not counted", "y: not evaluated, because there is no validation split"),
        ("not counted", "x: not evaluated, because there is no test split"),
    ]


@pytest.mark.parametrize("finished", [None, False])
def test_a_run_that_does_not_say_that_it_is_finished_is_not(make_run, read, finished):
    make_run("a", finished=finished)
    runs, (problem,) = read()
    assert (runs, problem.status) == ([], "incomplete")


def test_a_last_line_that_a_crash_cut_short(make_run, read):
    folder = make_run("a")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 1')
    assert len(read()[0]) == 1


def test_a_bad_prompt_file_costs_the_heat_maps_alone(make_run, read):
    folder = make_run("a", bank={"shared": np.ones((2, 3), np.float32)})
    content = (folder / "prompts.safetensors").read_bytes()
    (folder / "prompts.safetensors").write_bytes(content[:-4])
    (run,), (problem,) = read()
    assert run.bank == {}
    assert "left out only of the heat maps" in problem.reason


def test_a_second_run_of_the_same_cell_is_not_another_seed(make_run, read):
    make_run("a", test={"mini_rte": 50.0})
    make_run("b", test={"mini_rte": 70.0})
    make_run("c", test={"mini_rte": 70.0}, label="another")
    runs, (problem,) = read()
    assert [run.label for run in runs] == ["MPT", "another"]
    assert problem.status == "not counted"
    assert "runs/a; --gin.LABEL=NAME" in problem.reason


def test_labels_that_differ_in_case_are_one_method(make_run, read):
    make_run("a", label="MPT", seed=0)
    make_run("b", label="mpt", seed=1)
    make_run("c", label="Mpt", seed=0)  # the cell of the first
    runs, (problem,) = read()
    assert [(run.label, run.seed) for run in runs] == [("MPT", 0), ("MPT", 1)]
    assert "same method, task, shots and seed as" in problem.reason


def test_what_a_run_says_of_its_circumstances(make_run, read):
    data = {"mini_rte, split train": {"rows": 2490}, "mini_rte, split validation": {"rows": 277}}
    recorded = {"backbone": {"fingerprint": "ab12", "bits": ""}, "data": data}
    tested = make_run("a", test={"mini_rte": 50}, **recorded)
    (tested / "test/mini_rte.jsonl").write_text("{}\n" * 300)
    (tested / "config.gin").write_text("INITIAL_CHECKPOINT_PATH = \\\n    '/models/t5_base/'\n")
    os.utime(tested / "test/metrics.json", (1e9, 1e9))
    validated = make_run("b", seed=1, **recorded)
    (validated / "config.gin").write_text("INITIAL_CHECKPOINT_PATH = @assets.path()\n")
    make_run("c", seed=2, backbone=["x"], data={"mini_rte, split train": 7})
    first, second, third = read()[0]
    assert (first.rows, first.train_rows) == ({"mini_rte": 300}, {"mini_rte": 2490})
    assert (first.backbone, first.day) == ("t5_base (ab12)", "2001-09-09")
    assert (second.rows, second.backbone) == ({"mini_rte": 277}, "mini (ab12)")
    assert (third.rows, third.train_rows, third.backbone) == ({}, {}, "")


def test_folders_are_found_once(make_run, tmp_path):
    inner = make_run("a/b")
    (tmp_path / "runs/a/loop").symlink_to(tmp_path / "runs")
    found = folders.find([str(tmp_path / "runs"), str(inner)])
    assert [path.as_posix() for path in found] == [inner.as_posix()]


def test_paths_that_hold_no_run(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty/deeper").mkdir(parents=True)
    for name, message in (
        ("nowhere", "there is no folder"),
        ("file", "is a file"),
        ("empty", "is not a run folder and contains none"),
    ):
        with pytest.raises(UserError, match=message):
            folders.find([str(tmp_path / name)])


@pytest.mark.parametrize(
    ("folders", "split", "score"),
    [
        ({"test": "validation"}, "validation", 50.0),  # the best of training
        ({"test": None}, "test", 70.0),  # an earlier version did not say
        ({"own": "own", "train": "train", "validation": "validation"}, "own", 70.0),
        ({"elsewhere": "test", "dev": "dev"}, "test", 70.0),
        ({"train": "train"}, "validation", 50.0),
    ],
)
def test_an_evaluation_counts_by_the_split_that_it_states(make_run, read, folders, split, score):
    folder = make_run("a", tasks=("x",))
    for place, stated in folders.items():
        found = {"x": {"accuracy": 70.0 if stated in (None, split) else 99.0}, "mean": {}}
        (folder / place).mkdir()
        if stated:
            found["evaluated"] = {"split": stated}
        (folder / place / "metrics.json").write_text(json.dumps(found))
    ((run,), _) = read()
    assert (run.split, run.scores) == (split, {"x": score})
