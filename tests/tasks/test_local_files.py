import pathlib

import pytest

from mpt_jax.errors import UserError
from mpt_jax.tasks.local import files as local_files
from mpt_jax.tasks.local.template import BadRow


@pytest.fixture(name="read")
def _read(tmp_path):
    """Reads a file of the given content: its rows, bad ones as their reason."""

    def read(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return [
            (line, str(row) if isinstance(row, BadRow) else row)
            for line, row in local_files.read_file(path)
        ]

    return read


def test_jsonl_keeps_numbers_as_they_are_written(read):
    content = '{"a": "é\u2028x", "b": 3.80, "c": 7}\n\n{"a": true, "b": null, "c": ["x", 1]}'
    assert read("rows.jsonl", content) == [
        (1, {"a": "é\u2028x", "b": "3.80", "c": "7"}),
        (3, {"a": True, "b": None, "c": ["x", "1"]}),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"a": 1', "it is not JSON: Expecting ',' delimiter (column 8)"),
        ("[1, 2]", "it is not a JSON object: [1, 2]"),
        ("3", "it is not a JSON object: 3"),
        ('{"a": NaN}', "it is not JSON: NaN is not a JSON number"),
        ("[" * 100_000, "it is not JSON: maximum recursion depth"),
        ('{"a": ' + "9" * 10_000 + "}", None),
    ],
)
def test_jsonl_rows_that_are_none(line, reason, read):
    ((number, row),) = read("rows.jsonl", line + "\n")
    assert number == 1
    assert (reason is None and row == {"a": "9" * 10_000}) or row.startswith(reason)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_csv_has_quotes_and_lines_within_them(newline, read):
    lines = ["text,label", '"a, ""b"" c",1', f'"two{newline}lines",2', "", "last,3"]
    assert read("rows.csv", newline.join(lines)) == [
        (2, {"text": 'a, "b" c', "label": "1"}),
        (3, {"text": f"two{newline}lines", "label": "2"}),
        (6, {"text": "last", "label": "3"}),
    ]


def test_tsv_takes_quotes_as_text(read):
    assert read("ROWS.TSV", 'text\tlabel\nhe said "no\t1\n"x"\t2\n') == [
        (2, {"text": 'he said "no', "label": "1"}),
        (3, {"text": '"x"', "label": "2"}),
    ]


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv"])
def test_a_ragged_row_is_bad(name, read):
    rows = ["a,b", "1,2", "1", "1,2,3"]
    content = "\n".join(rows).replace(",", "," if name.endswith("csv") else "\t")
    assert read(name, content) == [
        (2, {"a": "1", "b": "2"}),
        (3, "it has 1 columns, the header has 2"),
        (4, "it has 3 columns, the header has 2"),
    ]


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_the_mark_of_utf8_is_dropped(name, read):
    text = b'{"a": 1}' if name.endswith("jsonl") else b"a\n1\n"
    (found,) = read(name, b"\xef\xbb\xbf" + text)
    assert found[1] == {"a": "1"}


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.tsv"])
def test_an_empty_file_has_no_rows(name, read):
    assert read(name, "") == read(name, "\n\n") == []


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "rows.jsonl",
            '{"a": 1}\n{"a": "é"}\n'.encode("latin-1"),
            "rows.jsonl, line 2, is not UTF",
        ),
        ("rows.csv", 'a,b\n1,2\n"open,3\n4,5\n', "begins on line 3: unexpected end of data"),
        ("rows.csv", 'a,b\n"1"x,2\n', "begins on line 2: ',' expected after"),
        ("rows.csv", "text;label\nx;1\n", "separated by semicolons, where commas are expected"),
        ("rows.csv", "text\tlabel\nx\t1\n", "separated by tabs, where commas are expected"),
        ("rows.tsv", "text,label\nx,1\n", "separated by commas, where tabs are expected"),
        ("rows.jsonl", '[{"a": 1}, {"a": 2}]', "is one JSON array, .*jq -c '\\.\\[]'"),
        ("rows.jsonl", '\n[\n  {"a": 1},\n  {"a": 2}\n]\n', "is one JSON array"),
        ("rows.jsonl", '{\n  "a": 1\n}\n', "spreads an object over several lines, .*jq -c \\."),
        ("rows.csv", "a,b,a\n1,2,3\n", "the header names the column 'a' twice"),
    ],
)
def test_files_that_are_spoilt_as_a_whole(name, content, expected, read):
    with pytest.raises(UserError, match=expected):
        read(name, content)


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "rows.jsonl"])
@pytest.mark.parametrize(
    ("codec", "mark", "named"),
    [
        ("utf-16-le", b"\xff\xfe", "UTF-16"),
        ("utf-16-be", b"\xfe\xff", "UTF-16"),
        ("utf-32-le", b"\xff\xfe\0\0", "UTF-32"),
        ("utf-16-le", b"", "UTF-16LE"),
        ("utf-16-be", b"", "UTF-16BE"),
    ],
)
def test_another_unicode_is_named_with_a_command_that_mends_it(codec, mark, named, name, read):
    text = '{"a": "é"}\n' if name.endswith("jsonl") else "a\né\n"
    with pytest.raises(UserError, match=f"{name} is {named}: .*`iconv -f {named} -t UTF-8`"):
        read(name, mark + text.encode(codec))
    assert (mark + text.encode(codec)).decode(named) == text  # which is what iconv does


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv"])
def test_a_text_may_have_any_length(name, read):
    text = "word " * 100_000
    between = "," if name.endswith("csv") else "\t"
    assert read(name, f"a{between}b\n{text}{between}1\n") == [(2, {"a": text, "b": "1"})]


def test_a_missing_file_comes_with_the_nearest(tmp_path):
    (tmp_path / "train.jsonl").touch()
    with pytest.raises(UserError, match="trian.jsonl. Did you mean 'train.jsonl'"):
        list(local_files.read_file(tmp_path / "trian.jsonl"))
    with pytest.raises(UserError, match="there is no file"):
        list(local_files.read_file(tmp_path / "nowhere" / "train.jsonl"))


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "rows.csv").mkdir()
    with pytest.raises(UserError, match="Is a directory"):
        list(local_files.read_file(pathlib.Path(tmp_path / "rows.csv")))


@pytest.mark.parametrize("name", ["rows.json", "rows", "rows.jsnl", "rows.csv.gz"])
def test_an_unknown_suffix_is_refused(name):
    with pytest.raises(UserError, match=f"'{name}' is: known are .jsonl, .csv, .tsv"):
        local_files.reader_of(name)


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "rows.jsonl"])
def test_a_nul_byte_is_refused(name, read):
    content = b'{"a": 1}\n{"a": "x\0y"}\n' if name.endswith("l") else b"a\nx\0y\n"
    with pytest.raises(UserError, match=f"{name}, line 2, holds a NUL byte.* damaged"):
        read(name, content)
