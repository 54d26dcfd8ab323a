"""What nothing reads or enters is refused; what a user means for another run is not."""

import pytest

from mpt_jax.configuration import gin_effects, gin_files, gin_source
from mpt_jax.errors import UserError

RUN = """
A = 1
B = %A
UNREAD = 2
CHAIN = %UNREAD
lib.f.x = [%B, {'k': @train/deep/lib.g()}]
train/lib.g.y = 1
"""


@pytest.fixture(autouse=True)
def _files(tmp_path, monkeypatch):
    """A shipped file, which may set what nothing reads, and another that reads more."""
    monkeypatch.chdir(tmp_path)
    shipped = tmp_path / "package" / "gin"
    shipped.mkdir(parents=True)
    (shipped / "run.gin").write_text(RUN)
    (shipped / "other.gin").write_text("lib.h.z = @elsewhere/lib.g()\nlib.h.w = %EVAL_PERIOD\n")
    monkeypatch.setattr(gin_files, "shipped_root", lambda: shipped)
    gin_effects._shipped.cache_clear()
    yield
    gin_effects._shipped.cache_clear()


def check(own="", *overrides):
    with open("own.gin", "w") as file:
        file.write(own)
    gin_effects.check(gin_source.read(["gin/run.gin", "own.gin"], overrides, []))


def refusal(own="", *overrides):
    with pytest.raises(UserError) as refused:
        check(own, *overrides)
    return str(refused.value)


@pytest.mark.parametrize("override", ["A=3", "B=3", "lib.f.x=3", "train/lib.g.y=3"])
def test_what_is_read_or_entered_is_accepted(override):
    check("", override)
    check(override)


def test_overrides_count_in_the_run_at_hand():
    assert refusal("", "AA=3").startswith(
        "--gin.AA: nothing reads a macro 'AA', so that this would"
    )
    assert "Did you mean" not in refusal("", "UNREAD=3")  # read by a macro that nothing reads
    assert "--gin.EVAL_PERIOD: nothing reads" in refusal("", "EVAL_PERIOD=3")
    check("lib.f.w = %EVAL_PERIOD", "EVAL_PERIOD=3")


def test_a_users_file_may_be_meant_for_another_run():
    check("EVAL_PERIOD = 3\nelsewhere/lib.g.y = 1\n")
    assert refusal("\nTRIAN = 3").startswith(f"{gin_files.find('own.gin')}, line 2: nothing reads")


@pytest.mark.parametrize("scope", ["trian", "train/deep/er", "deep", "A"])
def test_a_scope_that_no_reference_enters(scope):
    message = refusal(f"{scope}/lib.g.y = 3")
    assert f"no reference enters the scope {scope!r}" in message
    assert "Scopes: train, train/deep." in message
    assert f"--gin.{scope}/lib.g.y: no reference" in refusal("", f"{scope}/lib.g.y=3")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("EVAL_STEPS", "an evaluation reads the whole split"),
        ("CHECKPOINT_PATH", "set INITIAL_CHECKPOINT_PATH"),
        ("train_eval/lib.g.y", "an evaluation decodes \\(scope infer_eval\\)"),
    ],
)
def test_names_of_t5x_are_answered_with_ours(name, remedy):
    with pytest.raises(UserError, match=f"Of T5X's .*: {remedy}"):
        check("", f"{name}=3")


DECLARED = "TASKS = [1]\nlib.local.register.tasks = %TASKS\n"
REGISTERED = "MIXTURE_OR_TASK_MODULE = @lib.local.register()\nlib.f.m = %MIXTURE_OR_TASK_MODULE\n"


def declared(later="", *overrides):
    """A user's file that declares tasks, then one with what comes later."""
    for name, text in (("own.gin", DECLARED + REGISTERED), ("later.gin", later)):
        with open(name, "w") as file:
            file.write(text)
    gin_effects.check(gin_source.read(["own.gin", "later.gin"], overrides, []))


def test_declared_tasks_that_a_later_file_puts_aside_are_refused():
    declared()
    with pytest.raises(UserError, match=r"own\.gin, line 1: .*later\.gin, line 1.*: give the file"):
        declared("MIXTURE_OR_TASK_MODULE = 'mini'\n")


def test_declared_tasks_and_another_module_are_written_as_a_list():
    declared("", "MIXTURE_OR_TASK_MODULE=[@lib.local.register(), 'mine']")
    with pytest.raises(UserError, match=r"MODULE=\"\[@local\.register\(\), 'MODULE'\]\" registers"):
        declared("", "MIXTURE_OR_TASK_MODULE=mine")
