import pytest

from mpt_jax import cli
from mpt_jax.errors import UserError
from mpt_jax.report.reported import MPT_BY_TASK
from mpt_jax.sweep import plan_file
from mpt_jax.sweep.plan import Method, Plan, Source, Stage

WHOLE = """
tasks = ["a"]
shots = [16, "full"]
seeds = [0, 1]
settings = ["A=1"]
sources = [
    { name = "s" },
    { name = "t", files = ["t.gin"], settings = ["T=1"], teachers = "s" },
]
methods = [
    { label = "one", source = "t" },
    { label = "two", files = ["m.gin"], settings = ["M=1"], source = "s/teachers" },
]
[source]
files = ["source.gin"]
settings = ["B=2"]
[target]
files = ["target.gin", "more.gin"]
settings = ["C=3"]
[target.by_shots]
16 = ["TRAIN_STEPS=9"]
[evaluation]
files = ["eval.gin"]
settings = ["D=4"]
"""
SHORT = """
tasks = ["a"]
shots = [16]
seeds = [0]
methods = [{ label = "one" }]
"""


@pytest.fixture(name="load")
def _load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def load(text):
        (tmp_path / "my.toml").write_text(text, encoding="utf-8")
        return plan_file.load("my.toml")

    return load


def test_every_key(load):
    assert load(WHOLE) == Plan(
        name="my.toml",
        methods=(Method("one", source="t"), Method("two", ("m.gin",), ("M=1",), "s/teachers")),
        sources=(Source("s"), Source("t", ("t.gin",), ("T=1",), "s")),
        tasks=("a",),
        shots=("16", "full"),
        seeds=(0, 1),
        settings=("A=1",),
        source=Stage(("source.gin",), ("B=2",)),
        target=Stage(("target.gin", "more.gin"), ("C=3",)),
        evaluation=Stage(("eval.gin",), ("D=4",)),
        by_shots={"16": ("TRAIN_STEPS=9",)},
    )


def test_the_shipped_run_files_are_the_default(load):
    plan = load(SHORT)
    stages = (plan.source, plan.target, plan.evaluation)
    assert [s.files for s in stages] == [
        (f"gin/mpt_{s}.gin",) for s in ("source", "target", "eval")
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tasks = [", "my.toml is not a TOML file: "),
        (SHORT + "tsks = []", "my.toml: unknown key 'tsks'. Did you mean 'tasks'? Known keys: "),
        (SHORT.replace("label =", "lable ="), "methods, row 1: unknown key 'lable'. Did you mean"),
        (SHORT.replace('label = "one"', ""), "my.toml: methods, row 1: label is missing."),
        (SHORT + "sources = [{ name = 's', tasks = [] }]", "sources, row 1: unknown key 'tasks'"),
        (SHORT + "[source]\nby_shots = {}", "my.toml: source: unknown key 'by_shots'"),
        (SHORT + "[target]\nstep = 3", "my.toml: target: unknown key 'step'. Known keys:"),
        (SHORT.replace('["a"]', '"a"'), "tasks must be a list of strings, not 'a'"),
        (SHORT.replace('["a"]', "[1]"), "tasks holds 1, which is not a string"),
        (SHORT.replace("[16]", "16"), "shots must be a list, not 16"),
        (SHORT.replace("[16]", "[0]"), 'shots: 0 is neither a positive number nor "full"'),
        (SHORT.replace("[16]", "[true]"), "shots: True is neither"),
        (SHORT.replace("[0]", '["0"]'), "seeds: '0' is not a whole number"),
        (SHORT.replace("[0]", "[]"), "my.toml: seeds is empty"),
        (SHORT.replace('{ label = "one" }', '"one"'), "methods holds 'one', which is not a table"),
        (SHORT + "source = 's'", "source must be a table, not 's'"),
        (SHORT.replace("tasks", "settings"), "my.toml: tasks is empty"),
    ],
)
def test_each_mistake_is_one_message(text, message, load):
    with pytest.raises(UserError) as refusal:
        load(text)
    assert message in str(refusal.value)


def test_bytes_that_are_no_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"my\.toml is not a TOML file"):
        plan_file.load("my.toml")


def test_the_plan_of_the_paper_s_table(capsys):
    """It has the tasks of the published averages, and its files and settings are accepted."""
    averaged = {task for tasks in MPT_BY_TASK.values() for task in tasks}
    assert set(plan_file.load("gin/sweeps/paper.toml").tasks) == averaged
    assert cli.run(["sweep", "gin/sweeps/paper.toml", "--dry_run"]) == 0
    assert "all                 444      0      0    444" in capsys.readouterr().out


def test_the_working_directory_comes_before_the_shipped_plans(load, tmp_path):
    assert len(plan_file.load("gin/sweeps/mini.toml").tasks) == 8
    (tmp_path / "gin/sweeps").mkdir(parents=True)
    (tmp_path / "gin/sweeps/mini.toml").write_text(SHORT)
    assert plan_file.load("gin/sweeps/mini.toml").tasks == ("a",)


def test_a_plan_that_is_not_there(load):
    load(SHORT)
    for name, near in (
        ("mi.toml", "'my.toml'"),
        ("gin/sweeps/mimi.toml", "'gin/sweeps/mini.toml'"),
    ):
        with pytest.raises(UserError, match=f"no plan '{name}'. Did you mean {near}.* Looked in: "):
            plan_file.load(name)
