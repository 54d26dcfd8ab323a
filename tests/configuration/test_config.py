"""Gin files and overrides end as the right arguments, or as one message that names the mistake.

The toy module and gin files are written into temporary folders.
"""

import re
import sys

import gin
import pytest

from mpt_jax.configuration import config
from mpt_jax.engine.records import run_folder
from mpt_jax.errors import UserError

HEAD = "from __gin__ import dynamic_registration\nimport toylib\n"
RUN = (
    HEAD
    + """
WIDTH = %gin.REQUIRED
NAME = %gin.REQUIRED
DEPTH = 2
toylib.Layer:
  width = %WIDTH
  name = %NAME
toylib.build:
  layer = @toylib.Layer()
  depth = %DEPTH
"""
)
TOYLIB = """
import dataclasses
from mpt_jax.errors import UserError

@dataclasses.dataclass
class Layer:
    width: int
    name: str = "layer"

    def __post_init__(self):
        if self.width == 13:
            raise UserError("no width of 13.")
        if self.width == 14:
            raise ZeroDivisionError("a bug")

def build(layer, depth=1, rate=0.5):
    return layer, depth, rate

def twice(x=1):
    return 2 * x
"""


@pytest.fixture(scope="module", autouse=True)
def toylib(tmp_path_factory):
    """Importable once for all tests: gin's registry outlives a configuration."""
    folder = tmp_path_factory.mktemp("toylib")
    (folder / "toylib.py").write_text(TOYLIB)
    (folder / "toy_t5x").mkdir()
    (folder / "toy_t5x" / "work.py").write_text("def work(steps=1):\n    return steps\n")
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    sys.modules.pop("toylib", None)


@pytest.fixture(autouse=True)
def toy(tmp_path, monkeypatch):
    (tmp_path / "run.gin").write_text(RUN)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    gin.clear_config()


def build(*overrides, files=("run.gin",)):
    config.parse(files, overrides)
    layer, depth, rate = config.call("toylib", "build")
    return layer.width, layer.name, depth, rate


def refused(*overrides, text=None, files=("run.gin",)):
    """The message that `text` (or `files`) with `overrides` gives."""
    if text is not None:
        with open("bad.gin", "w") as file:
            file.write(text)
        files = ["bad.gin"]
    with pytest.raises(UserError) as error:
        build(*overrides, files=files)
    return str(error.value)


def test_macros_and_arguments_by_any_ending_of_their_name():
    assert build("WIDTH=3", "NAME='x'") == (3, "x", 2, 0.5)
    assert build("WIDTH=3", "NAME='x'", "toylib.build.rate=1e-3") == (3, "x", 2, 1e-3)
    assert build("WIDTH=3", "NAME='x'", "build.depth=7") == (3, "x", 7, 0.5)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/tmp/x", "/tmp/x"),
        ("runs", "runs"),
        ("'runs'", "runs"),
        ('"a b"', "a b"),
        ("a b", "a b"),
        ("it's", "it's"),
        ("gs://bucket/run-1", "gs://bucket/run-1"),
        ("-1.5", -1.5),
        ("None", None),
        ("(1, 'a')", (1, "a")),
        ("{'inputs': 64}", {"inputs": 64}),
        ("%DEPTH", 2),
    ],
)
def test_a_value_that_is_no_gin_value_is_a_string(value, expected):
    assert build("WIDTH=1", f"NAME={value}")[1] == expected


def test_an_entry_point_named_like_its_module(toy):
    """T5X users write --gin.train.eval_period=...; our run files import the module `train`."""
    text = "from __gin__ import dynamic_registration\nfrom toy_t5x import work\n"
    (toy / "entry.gin").write_text(text + "work.work.steps = 2\n")
    for override, expected in [("work.steps=3", 3), ("work.work.steps=4", 4)]:
        config.parse(["entry.gin"], [override])
        assert config.call("toy_t5x.work", "work") == expected


def test_later_files_win_and_overrides_win_over_them(toy):
    (toy / "later.gin").write_text("WIDTH = 5\nNAME = 'later'\nDEPTH = 9\n")
    assert build("DEPTH=1", files=["run.gin", "later.gin"]) == (5, "later", 1, 0.5)
    assert build("NAME=x", files=["later.gin", "run.gin", "later.gin"])[1:3] == ("x", 9)


def test_includes_and_search_paths(toy):
    (toy / "parts").mkdir()
    (toy / "parts" / "sizes.gin").write_text("WIDTH = 8\n")
    (toy / "whole.gin").write_text("include 'run.gin'\ninclude 'sizes.gin'\n")
    config.parse(["whole.gin"], ["NAME=n"], search_paths=["parts"])
    assert config.call("toylib", "build")[0].width == 8


def test_an_override_reaches_functions_that_no_file_used():
    """T5X needs a gin file for this: it knows only what a file has registered."""
    assert build("WIDTH=@toylib.twice()", "NAME=n", "toylib.twice.x=4")[0] == 8


def test_the_operative_config_gives_the_same_run_again(toy):
    config.parse(["run.gin"], ["WIDTH=3", "NAME=/tmp/x"])
    at_start = run_folder.bindings(config.operative_config())
    before = config.call("toylib", "build")
    text = config.operative_config()
    assert "# toylib.build.rate = 0.5" in text.splitlines()  # a default is recorded
    assert run_folder.bindings(text) == at_start  # whatever has been called
    (toy / "again.gin").write_text(text)
    config.parse(["again.gin"])
    assert config.call("toylib", "build") == before
    assert config.operative_config() == text


def test_all_unset_macros_are_listed_at_once():
    message = refused()
    assert re.search(r"WIDTH \(required by .*run\.gin, line 4\): --gin\.WIDTH=VALUE", message)
    assert re.search(r"NAME \(required by .*run\.gin, line 5\): --gin\.NAME=VALUE", message)
    assert "DEPTH" not in message
    message = refused(text=HEAD + "toylib.build.depth = [%DEEP]\n")
    assert re.search(r"DEEP \(used in .*bad\.gin, line 3\)", message)


def test_macros_are_checked_before_anything_is_imported():
    message = refused(text="import not_installed_anywhere as lib\nlib.f.x = %WIDTH\n")
    assert message.startswith("these gin macros are not set:")


def test_an_override_macro_that_no_file_knows():
    message = refused("WIDHT=3")
    assert message.startswith("--gin.WIDHT: nothing reads a macro 'WIDHT'")
    assert "Did you mean 'WIDTH'" in message


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("WIDTH=[3", "'[3' is not a complete gin value"),
        ("WIDTH='3", "is not a complete gin value"),
        ("WIDTH=true", "gin writes True"),
        ("WIDTH=", "has no value"),
        ("9x=1", "'9x' is not a gin name"),
        ("toylib.bild.depth=1", "matching 'toylib.bild'. Did you mean 'toylib.build'"),
        ("bild.depth=1", "matching 'bild'. Did you mean 'build'"),
        ("build.dept=1", "doesn't have a parameter named 'dept'. Did you mean 'depth'"),
        ("Layer.widht=1", "doesn't have a parameter named 'widht'. Did you mean 'width'"),
        ("NAME=@toylib.twic()", "matching reference '@toylib.twic()'. Did you mean 'toylib.twice'"),
    ],
)
def test_a_wrong_override_names_itself_and_the_nearest(override, expected):
    message = refused("WIDTH=3", "NAME=n", override)
    assert message.startswith(f"--gin.{override.partition('=')[0]}")
    assert expected in message


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("A = = 1\n", 1, "Unable to parse value. In: A = = 1"),
        ("A = [1,\n", 2, "EOF in multi-line statement"),
        ("\ninclude 'rum.gin'\n", 2, "there is no gin file 'rum.gin'. Did you mean 'run.gin'"),
        (HEAD + "import toylibb\n", 3, "No module named 'toylibb'"),
        (HEAD + "toylb.build.depth = 1\n", 3, "Did you mean 'toylib'"),
        (HEAD + "toylib.bild.depth = 1\n", 3, "Did you mean 'build'"),
        (HEAD + "toylib.build.dept = 1\n", 3, "Did you mean 'depth'"),
        (HEAD + "toylib.build.depth = @toylib.twic()\n", 3, "Did you mean 'twice'"),
    ],
)
def test_a_wrong_line_is_named_with_the_nearest(text, line, expected):
    message = refused(text=text)
    assert re.search(rf"bad\.gin, line {line}: ", message)
    assert expected in message
    assert "\n" not in message


def test_a_file_that_includes_itself():
    assert "includes itself" in refused(text="include 'bad.gin'\n")


def test_a_file_that_is_no_text(toy):
    (toy / "bad.gin").write_bytes(b"\xff\xfe\x00")
    assert "cannot read the gin file" in refused(files=["bad.gin"])


def test_a_missing_argument_is_named():
    assert "build has no value for layer" in refused(text=HEAD + "toylib.build.depth = 1\n")
    message = refused(text=HEAD + "toylib.build.layer = @toylib.Layer()\n")
    assert "missing 1 required positional argument: 'width'" in message
    assert "--gin.Layer.width=VALUE" in message


def test_a_required_argument_of_a_function():
    message = refused(text=HEAD + "toylib.build.layer = %gin.REQUIRED\n")
    assert "Set it with --gin.build.layer=VALUE" in message


def test_errors_of_the_configured_code_come_out_as_raised():
    assert refused("WIDTH=13", "NAME=n") == "no width of 13."
    with pytest.raises(ZeroDivisionError, match=r"^a bug$"):
        build("WIDTH=14", "NAME=n")


def test_a_binding_of_t5xs_own_classes_is_refused():
    """As gin calls it; with the real T5X in tests_t5x/test_t5x_main.py."""
    unused = {("", "t5x.utils.DatasetConfig"): {}, ("", "mpt_jax.t5x.utils.X"): {"pack": True}}
    config.refuse_t5xs_own(unused)
    with pytest.raises(UserError, match="t5x.utils.DatasetConfig.pack is T5X's own and would have"):
        config.refuse_t5xs_own({("train", "t5x.utils.DatasetConfig"): {"pack": True}})


@pytest.mark.parametrize(
    ("argument", "remedy"),
    [("pack", "Set utils.X.pack of mpt_jax.t5x"), ("dtype", "what trains is saved as it is")],
)
def test_the_refusal_of_t5xs_own_names_what_to_set(argument, remedy):
    with pytest.raises(UserError, match=remedy):
        config.refuse_t5xs_own({("", "t5x.utils.X"): {argument: True}})


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ("mpt.MPT.prompt_length = None", r"mpt\.MPT\.prompt_length cannot be None: .* as int"),
        ("LENGTH = None\nmpt.MPT.prompt_length = %LENGTH", r"\(the macro LENGTH\) cannot be None"),
        ("mpt.MPT.prompt_length = 4.5", r"^mpt\.MPT\.prompt_length = 4\.5 must be a whole number"),
        ("mpt.MPT.prompt_length = '4'", r"prompt_length = '4' must be a whole number"),
        ("mpt.MPT.prompt_length = True", r"prompt_length = True must be a whole number"),
        (
            "A = 2024\nFROM = %A\nmpt.MPT.source_prompts = %FROM",
            r"^A = 2024 must be text .*: --gin\.A='\"2024\"'",
        ),
        ("A = %B\nB = None\na/mpt.MPT.rank = %A\nmpt.MPT.source_prompts = @a/mpt.MPT()", "a/mpt"),
    ],
)
def test_values_of_another_type_than_the_declared_one_are_refused(binding, message):
    text = "from __gin__ import dynamic_registration\nfrom mpt_jax.methods import mpt\n"
    with open("none.gin", "w") as file:
        file.write(text + binding)
    with pytest.raises(UserError, match=message):
        config.parse(["none.gin"])


def test_t5xs_short_names_of_an_entry_point_are_understood(toy):
    """`--gin.train.X=1`: `train` is the module and, for gin, the function in it."""
    text = "from __gin__ import dynamic_registration\nfrom toy_t5x import work\nwork.work.steps = 1"
    (toy / "entry.gin").write_text(text)
    for override, expected in [
        ("work.stepz=3", r"^--gin\.work\.stepz=3: .*'stepz'\. Did you mean 'steps'"),
        ("work.eval_steps=3", "Of T5X's eval_steps: an evaluation reads the whole split"),
    ]:
        with pytest.raises(UserError, match=expected):
            config.parse(["entry.gin"], [override])
