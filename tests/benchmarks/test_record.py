import csv
import datetime

import record


def test_rows_become_a_csv_with_how_they_came_about(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", [str(record.ROOT / "benchmarks/step.py"), "--size=mini"])
    path = tmp_path / "measured" / "step.csv"
    rows = [{"what": "a step, mini", "seconds": 1.23456789}, {"what": "rate", "count": 3}]
    record.write(path, rows, machine="a chip")
    with path.open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    today = str(datetime.date.today())
    made = {"command": "python benchmarks/step.py --size=mini", "date": today, "machine": "a chip"}
    assert first == {"what": "a step, mini", "seconds": "1.23457", "count": "", **made}
    assert second == {"what": "rate", "seconds": "", "count": "3", **made}


def test_rows_become_a_table():
    rows = [{"file": "prompt", "refused": 3}, {"file": "rows", "refused": 0}]
    lines = ["| file | refused |", "|---|---|", "| prompt | 3 |", "| rows | 0 |"]
    assert record.markdown(rows).splitlines() == lines


def test_nothing_is_written_without_a_path():
    record.write(None, [{"what": "a step"}])
