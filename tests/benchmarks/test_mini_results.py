import csv

import comparison
import mini_results


def test_the_page_and_the_csv_hold_every_cell(tmp_path):
    found = [
        {"method": method.name, "task": "mini_a", "shots": "16", "seed": seed, "score": score}
        for method in comparison.METHODS
        for seed, score in enumerate([10.0, 20.0])
    ]
    mini_results.write(found, ["mini_a"], ["16"], range(2), tmp_path / "page.md", "A note.")
    text = (tmp_path / "page.md").read_text()
    assert "A note." in text and "## 16 training examples" in text and "2 seeds" in text
    assert "| method | a | mean |\n|---|---|---|\n| MPT | 15.0 ± 7.1 |" in text
    with (tmp_path / "page.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found) and rows[0]["score"] == "10.000"
