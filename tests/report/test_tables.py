"""Tables: what is best, and the CSV files to the digit."""

import csv
import io
import json

from mpt_jax.csv_text import csv_text
from mpt_jax.report import html, tables
from mpt_jax.report.settings import settings


def _labels_of_best(setting):
    return [
        [row.label for row in tables.rows(setting) if row.best[i]]
        for i in range(len(tables.columns(setting)))
    ]


def _labels_of_tied(setting):
    return [
        [row.label for row in tables.rows(setting) if row.tied[i]]
        for i in range(len(tables.columns(setting)))
    ]


def test_the_best_of_each_column_unless_another_is_equal(make_run, read):
    for label, x, y in (("a", 50, 70), ("b", 60, 70.04), ("c", 40, 60)):
        make_run(f"{label}x", label=label, tasks=("x",), test={"x": x})
        make_run(f"{label}y", label=label, tasks=("y",), test={"y": y})
    (setting,) = settings(read()[0])
    assert _labels_of_best(setting) == [["b"], [], ["b"]]
    assert _labels_of_tied(setting) == [[], ["a", "b"], []]


def test_within_overlapping_deviations_nothing_is_best(make_run, read):
    scores = {"a": (60, 64), "b": (58, 61), "c": (50, 51)}  # 62 ± 2.8, 59.5 ± 2.1, 50.5 ± 0.7
    for label, of_seeds in scores.items():
        for seed, score in enumerate(of_seeds):
            make_run(f"{label}{seed}", label=label, seed=seed, test={"mini_rte": score})
    (setting,) = settings(read()[0])
    assert (_labels_of_best(setting), _labels_of_tied(setting)) == ([[]], [["a", "b"]])
    runs = [run for run in read()[0] if run.label != "b"]
    (setting,) = settings(runs)
    assert (_labels_of_best(setting), _labels_of_tied(setting)) == ([["a"]], [[]])


def test_one_task_has_no_mean(make_run, read):
    make_run("a", test={"mini_rte": 40})
    (setting,) = settings(read()[0])
    assert [len(row.cells) for row in tables.rows(setting)] == [1]
    assert len(tables.table_csv(setting).splitlines()) == 2


def test_a_validation_score_does_not_beat_a_test_score(make_run, read):
    make_run("a", label="a", test={"mini_rte": 40})
    make_run("b", label="b")  # 50 on validation
    (setting,) = settings(read()[0])
    assert _labels_of_best(setting) == [["a"]]


def test_validation_scores_compete_among_themselves_and_one_alone_does_not(make_run, read):
    make_run("b", label="b")
    assert _labels_of_best(settings(read()[0])[0]) == [[]]
    make_run("a", label="a", evals=((100, 40.0),))
    assert _labels_of_best(settings(read()[0])[0]) == [["b"]]


def test_csv_of_a_table(make_run, read):
    make_run("x0", tasks=("x",), test={"x": 50})
    make_run("x1", tasks=("x",), seed=1, test={"x": 53})
    make_run("y0", tasks=("y",))
    (setting,) = settings(read()[0])
    assert tables.table_csv(setting).splitlines() == [
        "method,tuned_parameters_per_task,task,mean,std,seeds,split,constant_answer",
        "MPT,2708,x,51.5000,2.1213,2,test,",  # 3 / √2
        "MPT,2708,y,50.0000,,1,validation,",
        "MPT,2708,mean,50.0000,,1,test and validation,",
    ]


def test_csv_of_runs_and_of_what_is_left_out(make_run, read):
    make_run("a", tasks=("x", "y"), shots=None, test={"x": 50, "y": 60.25}, label='quote " here')
    make_run("b", reached=50)
    runs, problems = read()
    head, *lines = tables.runs_csv(runs).splitlines()
    assert head.startswith("stage,method,shots,task,metric,seed,split,score,")
    folder = runs[0].folder
    assert lines == [
        f'target,"quote "" here",all,x,accuracy,0,test,50.0000,1354,100,16,,,{folder}',
        f'target,"quote "" here",all,y,accuracy,0,test,60.2500,1354,100,16,,,{folder}',
    ]
    assert tables.problems_csv(problems).splitlines()[1:] == [
        f"{problems[0].folder},incomplete,at step 50 of 100"
    ]


def test_answers_that_are_all_one_stand_next_to_what_one_label_scores(make_run, read):
    folder = make_run("a", tasks=("x",), test={"x": 50})
    file = folder / "test/metrics.json"
    found = json.loads(file.read_text())
    found["evaluated"] = {
        "split": "test",
        "answers": {"x": {"same_answer": 97.5, "constant_answer": 49}},
    }
    file.write_text(json.dumps(found))
    runs, problems = read()
    (line,) = csv.DictReader(tables.runs_csv(runs).splitlines())
    assert (line["same_answer"], line["constant_answer"]) == ("97.5000", "49.0000")
    page = html.page("title", runs, settings(runs), [], problems, False)
    assert "98 % of the answers are the same" in page and "label scores 49.0" in page
    last = "<td>always the most frequent label</td><td>0</td><td></td>"
    assert f"<tfoot><tr>{last}<td>49.0</td></tr></tfoot>" in page
    assert tables.table_csv(settings(runs)[0]).splitlines()[1].endswith(",test,49.0000")
    make_run("b", tasks=("y",), test={"y": 50})  # has none: neither has the mean
    page = html.page("title", read()[0], settings(read()[0]), [], problems, False)
    assert f"{last}<td>49.0</td><td>–</td><td class='mean'>–</td>" in page
    found["evaluated"]["answers"] = {"x": [1]}
    file.write_text(json.dumps(found))
    assert read()[0][0].answers == {}


def test_a_cell_that_a_spreadsheet_would_run_is_quoted(make_run, read):
    formula = '=HYPERLINK("http://x","y")'
    make_run("a", label=formula, test={"mini_rte": -3.5})
    make_run("b", label="@x", evals=((100, None),))
    runs, problems = read()
    (line,) = csv.DictReader(tables.runs_csv(runs).splitlines())
    assert line["method"] == f"'{formula}" and line["score"] == "-3.5000"
    (line,) = csv.DictReader(tables.table_csv(settings(runs)[0]).splitlines()[:2])
    assert line["method"] == f"'{formula}" and float(line["mean"]) == -3.5
    for start in "=+-@\t":
        text = io.StringIO(csv_text([[f"{start}cmd", "-1e-3", -2, "\r=x"]]), newline="")
        assert list(csv.reader(text)) == [[f"'{start}cmd", "-1e-3", "-2", " =x"]]
    assert len(problems) == 1
