"""Reading gin without importing: what is set, what is used, where."""

import pytest

from mpt_jax.configuration import gin_source
from mpt_jax.errors import UserError

TEXT = """\
from __gin__ import dynamic_registration
import not_installed_anywhere as lib
A = 1
A = 2
eval/A = 3
lib.f:
  x = [%A, {'k': @scope/lib.g()}]
"""


def test_read_expands_includes_and_keeps_the_last_value(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.gin").write_text(TEXT)
    (tmp_path / "b.gin").write_text("include 'a.gin'\nB = %A\n")
    source = gin_source.read(["b.gin"], ["lib.f.x=1", "B=7"], [])
    values = {name: b.value for name, b in source.values().items()}
    assert values == {"A": 2, "eval/A": 3, "B": 7}
    assert source.names() == {"lib.f", "lib.g"}
    assert [s.module for s in source.imports] == ["not_installed_anywhere"]
    assert [b.where for b in source.overrides] == ["--gin.lib.f.x", "--gin.B"]
    gin_source.check_all_set(source)


def test_references_are_found_at_any_depth():
    macro = gin_source.Reference("A", is_macro=True)
    function = gin_source.Reference("g", is_macro=False)
    assert list(gin_source.references({"k": [1, (macro,)], function: "A"})) == [function, macro]


def test_unset_macros_say_which_shipped_file_sets_them(tmp_path, monkeypatch):
    shipped = tmp_path / "gin"
    (shipped / "suites").mkdir(parents=True)
    (shipped / "suites" / "glue.gin").write_text("MIXTURE = 'glue'\n")
    (shipped / "run.gin").write_text("MIXTURE = %gin.REQUIRED\n")
    monkeypatch.setattr(gin_source.gin_files, "shipped_root", lambda: shipped)
    source = gin_source.read(["run.gin"], [], [])
    with pytest.raises(UserError, match="VALUE or --gin_file=gin/suites/glue.gin$"):
        gin_source.check_all_set(source)
