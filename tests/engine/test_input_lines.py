import io

import pytest
import seqio

from mpt_jax import predictor
from mpt_jax.engine import input_lines
from mpt_jax.engine.input_lines import InputLines
from mpt_jax.errors import UserError
from mpt_jax.predictor import TextReader

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
        return [(row.text, TASKS[row.task_id]) for row in lines.rows()]

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


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty: give one input a line"),
        (b'{"input": "a"}\n\n', "line 2 is empty"),
        (b'{"input": " "}\n', "line 1 is empty"),
        (b'{"input": "a"}\n\xff\n', "as UTF-8 text: line 2: "),
        (b'{"input": "a"\n', "line 1 is no JSON object: Expecting"),
        (b'["a"]\n', "line 1 is no JSON object: write"),
        (b"[" * 100_000, "line 1 is no JSON object"),
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
