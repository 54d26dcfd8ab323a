import io
import os

import pytest
import seqio

from mpt_jax.engine.inference import input_lines, predictor
from mpt_jax.engine.inference.input_lines import InputLines
from mpt_jax.engine.inference.predictor import TextReader
from mpt_jax.errors import UserError
from mpt_jax.tasks.local import files
from mpt_jax.tasks.local.template import Template

TASKS = ("nli", "qa")
FORMS = {"nli": "premise: {premise} hypothesis: {hypothesis}"}


@pytest.fixture(name="read")
def _read(tmp_path, monkeypatch):
    """The rows (text, task) of some bytes, as a file or on standard input."""

    def run(content, name="lines.txt", task="nli", form=None, limit=80):
        reader = TextReader(seqio.ByteVocabulary(), TASKS, limit)
        path = name
        if name == "-":
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        else:
            path = tmp_path / name
            path.write_bytes(content)
        lines = InputLines(str(path), reader, task, FORMS, form)
        lines.check()
        rows = list(lines.rows())
        run.fields = [dict(row.fields) for row in rows]
        return [(row.text, TASKS[row.task_id]) for row in rows]

    return run


def test_plain_text(read):
    expected = [("one", "nli"), ('{"a": 1}', "nli"), ("zwei\u2028ü", "nli")]
    text = 'one\n{"a": 1}\r\nzwei\u2028ü'.encode()
    for name in ("lines.txt", "-"):
        assert read(text, name) == expected
        assert read(b"\xef\xbb\xbf" + text, name) == expected


def test_objects(read):
    content = b"""{"input": "one"}
{"input": "\\u00fc", "task": "qa", "premise": "unused"}
{"premise": "a", "hypothesis": 2, "id": 7}
"""
    expected = [("one", "nli"), ("ü", "qa"), ("premise: a hypothesis: 2", "nli")]
    for name, form in (("rows.jsonl", None), ("rows.txt", "jsonl"), ("-", None), ("-", "jsonl")):
        assert read(content, name, form=form) == expected


@pytest.mark.parametrize(("kind", "mark"), [("csv", b","), ("tsv", b"\t")])
def test_tables_are_read_as_training_reads_them(read, kind, mark, tmp_path):
    rows = [b"id premise hypothesis task", b"7 2.50 b ", b"8 c d nli"]
    content = b"\n".join(row.replace(b" ", mark) for row in rows)
    (tmp_path / f"train.{kind}").write_bytes(content)
    template = Template(FORMS["nli"], "inputs")
    trained = [template.fill(row) for _, row in files.read_file(tmp_path / f"train.{kind}")]
    for name, form in ((f"rows.{kind}", None), ("rows.txt", kind), ("-", kind)):
        assert read(content, name, form=form) == [(text, "nli") for text in trained]
        assert [fields["id"] for fields in read.fields] == ["7", "8"]
    assert read(b"id" + mark + b"input\n1" + mark + b"any", f"r.{kind}") == [("any", "nli")]
    for bad, message in (
        (content + b"\n9", "line 4: it has 1 columns, the header has 4"),
        (content.splitlines()[0], "has no rows: the first line of a table names its columns"),
        (content.replace(b"premise", b"text"), 'line 2 has no "input", and there is no field'),
        (content + b"\n\xff" + mark * 3, "not UTF-8"),
    ):
        with pytest.raises(UserError, match=message):
            read(bad, f"rows.{kind}")


def test_numbers_in_fields_stay_as_written_as_in_training(read):
    content = b'{"premise": 2.50, "hypothesis": 1e3, "id": 7}'
    assert read(content, "rows.jsonl") == [("premise: 2.50 hypothesis: 1e3", "nli")]
    assert read.fields == [{"premise": 2.5, "hypothesis": 1000.0, "id": 7}]


def test_texts_that_are_written_otherwise_than_in_training_are_noticed(read, capsys):
    warning = "t5x: warning: no input for the task 'nli' in"
    for name in ("lines.txt", "-"):
        read(b"one\npremise: only\n", name)
        assert capsys.readouterr().err.count(warning) == 1
        read(b"one\npremise: a hypothesis: b\n", name)
        assert not capsys.readouterr().err
    read(b"one\n", task="qa")  # states no form
    assert not capsys.readouterr().err


def test_lines_of_a_pipe_come_at_once(monkeypatch):
    read_end, write_end = os.pipe()
    reader = TextReader(seqio.ByteVocabulary(), TASKS, 80)
    with open(read_end, "rb") as source, open(write_end, "wb", buffering=0) as sink:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(source))
        batches = InputLines("-", reader, "qa", FORMS).batches(4)
        for texts in (["one"], ["two", "three"], list("abcd")):
            sink.write("".join(f"{text}\n" for text in texts).encode())
            assert [row.text for row in next(batches)] == texts  # or it would wait for ever
        sink.write(b"e\nf\ng\nh\ni\nlast")
        sink.close()
        assert [[row.text for row in batch] for batch in batches] == [list("efgh"), ["i", "last"]]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"premise": "", "hypothesis": " "}\n', "it is empty in 'premise', 'hypothesis'"),
        (b'{"input": "a", "other": NaN}\n', "line 1 is not a JSON object"),
        (b'{"input": "a", "other": "\\ud800"}\n', "line 1 holds half a character"),
        (b"", "is empty: give one input a line"),
        (b'{"input": "a"}\n\n', "line 2 is empty"),
        (b'{"input": " "}\n', "line 1 is empty"),
        (b'{"input": "a"}\n\xff\n', "as UTF-8 text: line 2: "),
        (b'{"input": "a"\n', "line 1 is not a JSON object: Expecting"),
        (b'["a"]\n', "line 1 is not a JSON object: write"),
        (b"[" * 100_000, "line 1 is not a JSON object"),
        (b'{"input": 1}\n', 'line 1: "input" is 1, not a text'),
        (b'{"input": "a", "task": 1}\n', 'line 1: "task" is 1, not a name'),
        (b'{"input": "a", "task": "q"}\n', "line 1: task 'q' is not in the bank; it holds nli, qa"),
        (b'{"input": "\\ud800"}\n', "line 1 holds half a character"),
        (b'{"text": "a", "task": "qa"}\n', "states no form of inputs for the task 'qa'"),
        (b'{"premise": "a"}\n', "no \"input\", and there is no field 'hypothesis'"),
    ],
)
def test_bad_lines_are_named(content, expected, read):
    with pytest.raises(UserError) as error:
        read(content, "rows.jsonl")
    assert expected in str(error.value) and "rows.jsonl" in str(error.value)


@pytest.mark.parametrize("name", ["-", "lines.txt", "rows.jsonl"])
@pytest.mark.parametrize("first", [False, True])
def test_a_line_that_is_too_long_is_named_before_it_is_read(name, first, read, monkeypatch):
    monkeypatch.setattr(input_lines, "LONGEST_LINE", 50)
    short = b'{"input": "one"}\n'
    content = b"y" * 51 if first else short + short[:-1].ljust(50) + b"\n"
    with pytest.raises(UserError, match=f"line {2 - first} has more than 50 bytes"):
        read(content + b"z" * 1000, name)
    assert len(read(short + short[:-1].ljust(49) + b"\n" + short, name)) == 3


def test_a_text_of_too_many_characters_is_refused(monkeypatch):
    monkeypatch.setattr(predictor, "LONGEST_TEXT", 50)
    reader = TextReader(seqio.ByteVocabulary(), TASKS, 8)
    assert reader.row("a" * 50, 0, "it").truncated
    with pytest.raises(UserError, match="it has 51 characters, more than 50"):
        reader.row("a" * 51, 0, "it")


def test_a_bank_of_many_tasks_lists_a_few():
    reader = TextReader(None, [f"task_{i}" for i in range(10_000)], 8)
    with pytest.raises(UserError, match=r"task_0, .*, task_19, ... \(10000\). Did you mean 'task_"):
        reader.task_id("task_99999")
