import csv
import importlib.util
import pathlib
import sys

PATH = pathlib.Path(__file__).parents[2] / "benchmarks" / "mini_results.py"


def benchmark():
    spec = importlib.util.spec_from_file_location("mini_results", PATH)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def records(module, scores):
    return [
        {"method": method.name, "task": task, "shots": "16", "seed": seed, "score": score}
        for method in module.METHODS
        for task, by_seed in scores.items()
        for seed, score in enumerate(by_seed)
    ]


def test_a_row_is_mean_and_sample_deviation_and_the_mean_is_over_seeds():
    module = benchmark()
    found = records(module, {"mini_a": [10.0, 20.0], "mini_b": [30.0, 30.0]})
    head, _, row, *others = module.table(found, "16", ["mini_a", "mini_b"])
    assert head == "| method | a | b | mean |"
    # a: 15 and sqrt(((10-15)^2 + (20-15)^2) / 1); seeds' means over tasks: 20 and 25
    assert row == "| MPT | 15.0 ± 7.1 | 30.0 ± 0.0 | **22.5 ± 3.5** |"
    assert len(others) == len(module.METHODS) - 1


def test_the_page_and_the_csv_hold_every_cell(tmp_path):
    module = benchmark()
    found = records(module, {"mini_a": [10.0, 20.0]})
    module.write(found, ["mini_a"], ["16"], range(2), tmp_path / "page.md", "A note.")
    text = (tmp_path / "page.md").read_text()
    assert "A note." in text and "## 16 training examples" in text and "2 seeds" in text
    with (tmp_path / "page.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found) and rows[0]["score"] == "10.000"


def test_rivals_differ_in_overlays_and_source_alone():
    module = benchmark()
    root = pathlib.Path("root")
    runs = [module.target_run(root, m, "mini_a", "16", 3) for m in module.METHODS]
    assert len({run.folder for run in runs}) == len(runs)
    for run in runs:
        plain = [o for o in run.overrides if not o.startswith("SOURCE_PROMPTS")]
        assert plain == [
            "MIXTURE_OR_TASK_NAME=mini_a",
            "RANDOM_SEED=3",
            "FEW_SHOT_SEED=3",
            "FEW_SHOT=16",
        ]
