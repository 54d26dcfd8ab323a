import pytest

from mpt_jax.errors import UserError
from mpt_jax.tasks.local.template import BadRow, Template, plain, some


@pytest.mark.parametrize(
    ("template", "row", "expected"),
    [
        ("review: {text}", {"text": "good"}, "review: good"),
        ("{a} or {b}, {a}", {"a": "x", "b": "y"}, "x or y, x"),
        ("{{{a}}}", {"a": "x"}, "{x}"),
        ("{customer rating}", {"customer rating": "3"}, "3"),
        ("{a.b} {a[0]}", {"a.b": "dot", "a[0]": "bracket"}, "dot bracket"),
        ("{a} {b}", {"a": 1.5, "b": True}, "1.5 true"),
        ("{a}", {"a": "braces {b} stay"}, "braces {b} stay"),
    ],
)
def test_fill(template, row, expected):
    assert Template(template, "inputs").fill(row) == expected


def test_fields_are_named_once_in_order():
    assert Template("{b} {a} {b}", "inputs").fields == ("b", "a")


def test_a_list_gives_one_text_an_item():
    template = Template("{unit}: {answers}", "targets")
    row = {"unit": "kg", "answers": ["one", "two"]}
    assert list(template.fill_each(row)) == ["kg: one", "kg: two"]
    assert list(template.fill_each({"unit": "kg", "answers": "one"})) == ["kg: one"]


@pytest.mark.parametrize(
    ("template", "row", "reason"),
    [
        ("{txt}", {"text": 1, "label": 2}, "no field 'txt', only 'text', 'label'. Did you mean 't"),
        ("{a}", {"a": None}, "the field 'a' is null"),
        ("{a}", {"a": {"b": 1}}, "the field 'a' is an object"),
        ("{a} {b}", {"a": ["x"], "b": ["y"]}, "'a' and 'b' are both lists"),
        ("{a}", {"a": []}, "the list 'a' is empty"),
        ("{a}", {"a": [["x"]]}, "the field 'a' is a list, not a text"),
    ],
)
def test_bad_rows(template, row, reason):
    with pytest.raises(BadRow, match=reason):
        list(Template(template, "targets").fill_each(row))


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("review: {text", "expected '}'"),
        ("review: }", "Single '}'"),
        ("{}", "write the name of a field"),
        ("{a!r}", "write the name of a field"),
        ("{a:>3}", "write the name of a field"),
        ("no field", "names no field"),
        (3, "is not a template"),
    ],
)
def test_what_is_no_template_is_refused(template, expected):
    with pytest.raises(UserError, match=expected) as error:
        Template(template, "inputs")
    assert str(error.value).startswith(f"inputs = {template!r} ")


def test_plain_writes_truth_values_as_json_does():
    assert [plain(x) for x in (True, False, 1, 0.2, "True")] == [
        "true",
        "false",
        "1",
        "0.2",
        "True",
    ]


def test_some_names_the_first_few():
    assert some(["a", "b"]) == "'a', 'b'"
    assert some("abcdefghij") == "'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h' ... (10)"
