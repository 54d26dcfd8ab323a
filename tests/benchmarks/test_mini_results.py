import csv

import mini_results
import sweep_plans

from mpt_jax.sweep import cells, plan_file


def test_finished_cells_become_the_page_and_the_csv(tmp_path):
    plan, folder = plan_file.load(mini_results.PLAN), tmp_path / "runs"
    for run in cells.target_runs(plan, folder):
        seed = int(run.name[-1])
        sweep_plans.finish(run, score=10.0 * (1 + seed) + ("wic" in run.name))
    page = tmp_path / "page.md"
    assert mini_results.main([f"--folder={folder}", f"--out={page}"]) == 0
    text = page.read_text(encoding="utf-8")
    assert "3 seeds" in text and "1080 target runs and 12 source runs" in text
    tables = text.split("\n## ")[1:]
    assert [part.splitlines()[0] for part in tables] == [
        "16 training examples",
        "32 training examples",
        "All training examples",
    ]
    for part in tables:
        _, _, head, _, *body = part.splitlines()
        assert head.split(" | ")[2:4] == ["news_nli", "rte"] and head.endswith(" | mean |")
        assert [row.split(" | ")[0].removeprefix("| ") for row in body] == [
            method.label for method in plan.methods
        ]
        assert body[0].startswith("| MPT | 1,234 | 20.0 ± 10.0 | 20.0 ± 10.0 | ")
        assert "| 21.0 ± 10.0 |" in body[0] and body[0].endswith("| **20.1 ± 10.0** |")
    with (tmp_path / "page.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1080
    assert rows[0] == {
        "method": "MPT",
        "task": "mini_news_nli",
        "shots": "16",
        "seed": "0",
        "tuned_parameters": "1234",
        "score": "10.000",
    }
