"""`t5x report` as a user runs it: the files, the page, the same bytes again, and bad input."""

import csv
import os
import pathlib
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from mpt_jax import cli

FIGURES = {
    "parameters",
    "costs",
    "few_shot",
    "few_shot_by_task",
    "ablation_mpt",
    "learning_curves",
    "learning_curves_source",
    "similarity_source_prompts",
    "similarity_source_factors",
    "similarity_target_prompts",
    "similarity_target_factors",
}
TABLES = {"table_4_examples", "table_all_examples", "table_source_all_examples"}


def t5x(*arguments: str, cwd: pathlib.Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "mpt_jax.cli", *arguments]
    # Another order of sets than this process has.
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env=environment
    )


@pytest.fixture(name="report", scope="module")
def _report(comparison):
    """The folder of the report on the small comparison, made by a real process."""
    result = t5x("report", "runs", "--as_reported", cwd=comparison.parent)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    expected = "runs/report/report.html: 25 finished runs, 1 left out (listed in it)\n"
    assert result.stdout == expected
    return comparison / "report"


def test_its_files(report):
    names = {path.name for path in report.iterdir()}
    pictures = {f"{name}.{suffix}" for name in FIGURES for suffix in ("png", "svg")}
    lists = {f"{name}.csv" for name in (*TABLES, "costs", "runs", "left_out")}
    assert names == pictures | lists | {"report.html"}


def test_the_page_is_well_formed_and_needs_nothing_else(report):
    text = (report / "report.html").read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    assert "<script" not in text
    assert "@import" not in text
    assert not list(root.iter("link")) + list(root.iter("img"))
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    for element in root.iter():
        for name, value in element.attrib.items():
            if name.rpartition("}")[2] in ("href", "src"):
                assert value.startswith("#"), value
                assert value[1:] in ids
            for target in re.findall(r"url\((.*?)\)", value):
                assert target.lstrip("#") in ids
    # The names of XML's own vocabularies alone look like addresses.
    addresses = set(re.findall(r"https?://[^\"'< )]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_what_the_page_shows(report):
    root = ElementTree.fromstring((report / "report.html").read_text(encoding="utf-8"))
    namespace = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f".//figure/{namespace}svg")) == len(FIGURES)
    rows = [[" ".join("".join(td.itertext()).split()) for td in tr] for tr in root.iter("tr")]
    # MPT on mini_rte: 60 and 62; on mini_wic: 64 and 66; the mean: 62 and 64.
    assert ["MPT", "3,000", "2", "61.0 ± 1.4", "65.0 ± 1.4", "63.0 ± 1.4"] in rows
    label = "prompt <tuning> & more"
    assert [label, "2,500", "2", "61.0 ± 1.4", "65.0 ± 1.4", "63.0 ± 1.4"] in rows
    assert ["runs/stopped", "incomplete", "at step 50 of 100"] in rows
    assert ["MPT", "3,000", "120", "", "", "", "", "999 B"] in rows  # 100 and 140 seconds
    assert ["MPT without distillation", "3,000", *[""] * 6] in rows
    bold = ["".join(b.itertext()) for b in root.iter("b")]
    # Nothing is bold in the source table: it has one method.
    assert bold == ["61.0", "65.0", "63.0", "71.0", "75.0", "73.0"]
    assert "not told apart" not in "".join(root.itertext())
    assert "71.0†" not in "".join(root.itertext())
    assert "SPoT" in "".join(root.itertext())  # as reported


def test_the_page_says_what_it_is_of_and_what_is_where(report):
    root = ElementTree.fromstring((report / "report.html").read_text(encoding="utf-8"))
    assert root.find(".//h1").text == root.find(".//title").text == "Report of runs"
    texts = ["".join(dd.itertext()) for dd in root.iter("dd")]
    facts = dict(zip([dt.text for dt in root.iter("dt")], texts, strict=True))
    assert facts["Runs"].startswith("25 finished runs, 3 methods, 4 tasks. 1 folder left out")
    assert re.fullmatch(r"20\d\d-\d\d-\d\d( to .*)?", facts["Date"])
    assert (facts["Backbone"], facts["Split"]) == ("not known", "test: 24 runs; validation: 1 run")
    headings = [h2.get("id") for h2 in root.iter("h2")]
    links = [a.get("href") for a in root.find(".//nav").iter("a")]
    assert links == [f"#{name}" for name in headings]
    assert headings[-1] == "left_out"


def test_what_the_runs_do_not_support_stands_at_the_end(make_run, tmp_path):
    make_run("a", test={"mini_rte": 50})
    assert cli.main(["report", str(tmp_path / "runs"), "--title=A <b> & c"]) == 0
    text = (tmp_path / "runs/report/report.html").read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    assert root.find(".//h1").text == "A <b> & c"
    assert [h2.get("id") for h2 in root.iter("h2")][-1] == "left_out"
    assert text.index("Few-shot curves: ") > text.index("<h2 id='left_out'>")
    assert "mean" not in ["".join(th.itertext()) for th in root.iter("th")]


def test_its_csv_files(report):
    with (report / "table_all_examples.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9
    (mean,) = [row for row in rows if row["task"] == "mean" and row["method"] == "MPT"]
    assert (mean["mean"], mean["std"], mean["seeds"]) == ("73.0000", "1.4142", "2")
    assert len((report / "runs.csv").read_text().splitlines()) == 1 + 24 + 2
    with (report / "costs.csv").open(encoding="utf-8") as file:
        costs = [row for row in csv.DictReader(file) if row["shots"] == "4"]
    assert [(row["method"], row["seconds"], row["step_seconds"]) for row in costs] == [
        ("MPT", "120", ""),
        ("MPT without distillation", "", ""),
        ("prompt <tuning> & more", "120", ""),
    ]
    left_out = (report / "left_out.csv").read_text().splitlines()
    assert left_out[1:] == ["runs/stopped,incomplete,at step 50 of 100"]


def test_the_same_runs_give_the_same_bytes(report, comparison, tmp_path, monkeypatch):
    monkeypatch.chdir(comparison.parent)
    assert cli.main(["report", "runs", f"--output={tmp_path}", "--as_reported"]) == 0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(path.name for path in report.iterdir())
    for name in names:
        assert (tmp_path / name).read_bytes() == (report / name).read_bytes(), name


def test_pictures_name_no_date_and_no_program(report):
    for path in report.glob("*.svg"):
        text = path.read_text(encoding="utf-8")
        assert "<metadata" not in text
        assert "matplotlib.org" not in text
        ElementTree.fromstring(text)
    for path in report.glob("*.png"):
        assert b"Software" not in path.read_bytes()[:200]


def test_only_unfinished_runs_make_a_report_that_says_so(make_run, tmp_path, capsys):
    make_run("a", reached=50)
    assert cli.main(["report", str(tmp_path / "runs"), f"--output={tmp_path / 'out'}"]) == 0
    assert "0 finished runs, 1 left out" in capsys.readouterr().out
    text = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "at step 50 of 100" in text
    assert "<svg" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: RUN_DIR"),
        (["nowhere"], "there is no folder 'nowhere'"),
        (["empty"], "'empty' is not a run folder and contains none"),
        (["file"], "'file' is a file"),
        (["runs/a", "empty"], "'empty' is not a run folder"),
        (["runs", "--output=file"], "cannot write file/report.html"),
        (["runs", "--ouput=x"], "unknown flag '--ouput'. Did you mean '--output'?"),
        (["runs", "--gin.SEED=1"], "t5x report takes no --gin.SEED"),
    ],
)
def test_bad_input_is_one_message_and_damages_nothing(make_run, tmp_path, arguments, message):
    make_run("a")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("precious")
    before = sorted(tmp_path.rglob("*"))
    result = t5x("report", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("t5x: error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "file").read_text() == "precious"


def test_an_output_that_cannot_be_written_keeps_an_earlier_report(make_run, tmp_path):
    folder = make_run("a") / "report"
    folder.mkdir()
    (folder / "report.html").mkdir()
    result = t5x("report", "runs/a", cwd=tmp_path)
    assert result.returncode == 2
    assert "choose another place with --output=PATH" in result.stderr
    assert [path.name for path in folder.iterdir()] == ["report.html"]


def test_it_imports_neither_jax_nor_tensorflow(make_run, tmp_path):
    make_run("a", reached=50)
    script = (
        "import sys; from mpt_jax import cli; cli.main(['report', 'runs']);"
        "print(*{'jax', 'tensorflow', 'seqio', 'flax'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[1:] == [""]


def test_help_and_mistakes_answer_before_matplotlib_is_imported(tmp_path):
    script = (
        "import sys; from mpt_jax import cli; cli.main(['report', 'nowhere', '--x']);"
        "print(*{'matplotlib', 'numpy', 'jax'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == ""
