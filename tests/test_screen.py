import io

from mpt_jax.screen import Screen

COLUMNS, ROWS = ("task", "rows"), [("reviews", "1,000"), ("[b]", "5")]


def test_plain_text_is_aligned():
    out = io.StringIO()
    Screen(out).table(COLUMNS, ROWS, numeric=("rows",))
    assert out.getvalue() == "task      rows\nreviews  1,000\n[b]          5\n"


def test_facts_are_aligned():
    out = io.StringIO()
    Screen(out).facts({"task": "reviews", "key metric": "f1"})
    assert out.getvalue() == "task        reviews\nkey metric  f1\n"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_a_drawn_table_with_the_cells_as_they_are():
    out = Terminal()
    Screen(out).table(COLUMNS, ROWS)
    lines = out.getvalue().splitlines()
    assert lines[0][0] == "┏" and any("[b]" in line for line in lines)
