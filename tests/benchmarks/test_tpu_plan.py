"""The table of docs/tpu.md is the committed CSV's."""

import importlib.util
import pathlib

PATH = pathlib.Path(__file__).parents[2] / "benchmarks" / "tpu_plan.py"


def test_the_page_shows_the_rows_of_the_file():
    spec = importlib.util.spec_from_file_location("tpu_plan", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rows, page = module.read(), module.PAGE.read_text(encoding="utf-8")
    assert rows and module.BEGIN + module.table(rows) + module.END in page
