import pytest

from mpt_jax.errors import UserError
from mpt_jax.tasks.local import rows as local_rows
from mpt_jax.tasks.local.form import Example, Form
from mpt_jax.tasks.local.template import BadRow

FORM = Form(
    "{text}", "{label}", label_words=("a", "b"), round_to=None, numbers=False, several=False
)


def numbered(labels):
    return [(line, {"text": f"t{line}", "label": label}) for line, label in enumerate(labels, 2)]


def read(rows, skip_bad_rows=False):
    return local_rows.examples(rows, FORM, "x.csv", "line", skip_bad_rows=skip_bad_rows)


def test_good_rows_are_examples_in_order():
    assert read(numbered("ab")) == [Example("t2", ("a",)), Example("t3", ("b",))]


def test_bad_rows_of_one_cause_are_one_line_the_most_frequent_first():
    rows = [(1, BadRow("it is torn")), *numbered("ac" + "d" * 1249), (1300, {"label": "a"})]
    with pytest.raises(UserError) as error:
        read(rows)
    assert str(error.value).splitlines()[:-1] == [
        "x.csv: 1,252 bad of 1,253 rows:",
        "  1,249 lines (4, 5, 6, 7, 8, ...): the label 'd' is not one of 'a', 'b'.",
        "  line 1: it is torn",
        "  line 3: the label 'c' is not one of 'a', 'b'.",
        "  line 1300: there is no field 'text', only 'label'.",
    ]
    with pytest.raises(UserError, match=r"\n  3 lines \(3, 4, 5\): the label 'c'"):
        read(numbered("accc"))


def test_the_first_ten_causes_are_listed_and_the_rest_counted():
    rows = [*numbered("acdefghijklm"), (14, BadRow("it is torn")), *numbered("ab")]
    with pytest.raises(UserError) as error:
        read(rows)
    lines = str(error.value).splitlines()
    assert lines[0] == "x.csv: 12 bad of 15 rows:"
    assert lines[1:11] == [
        f"  line {number}: the label {label!r} is not one of 'a', 'b'."
        for number, label in enumerate("cdefghijkl", 3)
    ]
    assert lines[11] == "  and 2 more"
    assert "skip_bad_rows=True" in lines[12]


def test_a_reader_s_bad_row_is_reported_with_its_line():
    with pytest.raises(UserError, match="1 bad of 2 rows:\n  line 9: it is torn\n"):
        read([*numbered("a"), (9, BadRow("it is torn"))])


def test_skipped_rows_are_counted(capsys):
    assert read(numbered("axb"), skip_bad_rows=True) == [
        Example("t2", ("a",)),
        Example("t4", ("b",)),
    ]
    err = capsys.readouterr().err
    assert err == (
        "x.csv: 1 bad of 3 rows skipped:\n  line 3: the label 'x' is not one of 'a', 'b'.\n"
    )
    read(numbered("ab"), skip_bad_rows=True)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("skip_bad_rows", [False, True])
def test_one_fault_of_every_row_is_told_once(skip_bad_rows):
    rows = [(line, {"txt": "t", "label": "a"}) for line in range(1, 100)]
    with pytest.raises(UserError) as error:
        read(rows, skip_bad_rows)
    assert str(error.value) == (
        "x.csv: every row is bad: there is no field 'text', only 'txt', 'label'. "
        "Did you mean 'txt'?"
    )


def test_nothing_is_left():
    with pytest.raises(UserError, match="x.csv: 2 bad of 2 rows:\n"):
        read(numbered("xy"), skip_bad_rows=True)
    with pytest.raises(UserError, match="x.csv holds no rows"):
        read([])


def test_held_out_rows_hang_on_the_inputs_alone():
    rows = [Example(f"row {i % 500}", (str(i),)) for i in range(1000)]
    train, validation = local_rows.held_out(rows, 0.2)
    assert sorted(train + validation) == sorted(rows)
    assert 0.15 < len(validation) / len(rows) < 0.25
    assert not {row.inputs for row in train} & {row.inputs for row in validation}
    # The same rows whatever their order, and more rows where the share is larger.
    assert set(local_rows.held_out(rows[::-1], 0.2)[1]) == set(validation)
    assert set(validation) < set(local_rows.held_out(rows, 0.5)[1])
    # The side of a row must never change: resumed and repeated runs rely on it.
    assert [row.inputs for row in local_rows.held_out(rows[:30], 0.1)[1]] == [
        "row 4",
        "row 9",
    ]


def test_rows_of_equal_inputs_share_their_references():
    rows = [
        Example("one", ("a", "b")),
        Example("two", ("c",)),
        Example("one", ("b", "d")),
    ]
    assert local_rows.with_references(rows) == [
        Example("one", ("a", "b", "d")),
        Example("two", ("c",)),
    ]
