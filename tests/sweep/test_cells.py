import dataclasses
import pathlib

import pytest
import sweep_plans

from mpt_jax.errors import UserError
from mpt_jax.sweep import cells, plan_file
from mpt_jax.sweep.plan import Method, Stage

PLAN = sweep_plans.PLAN
ROOT = pathlib.Path("root")
MINI = plan_file.load("gin/sweeps/mini.toml")


def overrides(run, step=0):
    return dict(override.split("=", 1) for override in run.steps[step].overrides)


def cell(method, shots="16", plan=PLAN, root=ROOT):
    return cells.target_run(plan, root, method, "a", shots, 3)


def test_cells_of_other_methods_differ_by_the_method_alone():
    runs = {method.label: cell(method) for method in PLAN.methods}
    assert len({run.folder for run in runs.values()}) == len(runs)
    for label, run in runs.items():
        own = {"LABEL": label, "MODEL_DIR": str(run.folder)}
        shared = {"A": "1", "C": "3", "TRAIN_STEPS": "9", "MIXTURE_OR_TASK_NAME": "a"}
        shared |= {"RANDOM_SEED": "3", "FEW_SHOT_SEED": "3", "FEW_SHOT": "16"}
        rest = overrides(run).items() - (own | shared).items()
        assert (own | shared).items() <= overrides(run).items()
        assert {name for name, _ in rest} <= {"SOURCE_PROMPTS", "D"}
        places = {"PROMPTS": str(run.folder), "EVAL_OUTPUT_DIR": f"{run.folder}/test"}
        assert overrides(run, 1) == {"A": "1", "F": "6", **places}
        assert [step.command for step in run.steps] == ["train", "eval"]
    assert runs["no teachers"].steps[0].files == ("gin/mpt_target.gin", "gin/methods/spot.gin")
    assert overrides(runs["no teachers"])["D"] == "4"
    assert runs["no teachers"].name == "targets/no_teachers/a-16-3"


def test_scores_are_in_a_folder_of_their_split():
    folder = pathlib.Path("sweep")
    for settings, split in (((), "test"), (("EVAL_SPLIT='validation'",), "validation")):
        evaluation = dataclasses.replace(PLAN.evaluation, settings=settings)
        plan = dataclasses.replace(PLAN, evaluation=evaluation)
        for run in cells.target_runs(plan, folder):
            assert run.scores == run.folder / split / "metrics.json"
            assert f"EVAL_OUTPUT_DIR={run.folder / split}" in run.steps[1].overrides


def test_settings_of_a_number_of_shots_are_for_it_alone():
    full = cell(PLAN.methods[0], "full")
    assert "TRAIN_STEPS" not in overrides(full) and overrides(full)["FEW_SHOT"] == "None"


def test_methods_start_from_the_source_run_of_their_seed():
    prompts = {m.label: overrides(cell(m)).get("SOURCE_PROMPTS") for m in PLAN.methods}
    assert prompts == {
        "MPT": "root/sources/mpt-3",
        "no teachers": "root/sources/shared-3",
        "attention": "root/sources/mpt-3/teachers",
        "scratch": None,
    }
    assert [cell(m).after for m in PLAN.methods] == ["sources/mpt-3", "sources/shared-3",
                                                     "sources/mpt-3", None]  # fmt: skip


def test_source_runs_are_those_that_methods_need_and_their_teachers_come_first():
    runs = cells.source_runs(PLAN, ROOT)
    names = [f"sources/{n}-{seed}" for n in ("mpt", "shared") for seed in PLAN.seeds]
    assert [run.name for run in runs] == names
    assert overrides(runs[3]) == {
        "A": "1",
        "B": "2",
        "E": "5",
        "RANDOM_SEED": "3",
        "TEACHER_PROMPTS": "root/sources/mpt-3/teachers",
        "MODEL_DIR": "root/sources/shared-3",
    }
    assert [run.after for run in runs] == [None, None, "sources/mpt-0", "sources/mpt-3"]
    part = PLAN.select(methods=["no teachers"])
    assert [run.name for run in cells.source_runs(part, ROOT)] == names
    assert cells.source_runs(PLAN.select(methods=["scratch"]), ROOT) == []


def test_the_mini_comparison_has_its_documented_size_and_parses():
    runs = cells.all_runs(MINI, ROOT)
    assert len(runs) == 15 * 8 * 4 * 5 + 4 * 5
    assert len({run.name for run in runs}) == len(runs)
    cells.check(MINI, ROOT)
    few = cells.target_run(MINI, ROOT, MINI.methods[0], "mini_rte", "32", 1)
    assert few.name == "targets/MPT/mini_rte-32-1"  # where earlier results are
    assert overrides(few)["TRAIN_STEPS"] == "100" and overrides(few)["EVAL_PERIOD"] == "25"


def test_a_run_is_finished_when_its_record_and_its_scores_say_so(tmp_path):
    for run in cells.all_runs(PLAN, tmp_path):
        assert not run.has_started()
        sweep_plans.begin(run)
        assert run.has_started() and not run.is_finished()
        sweep_plans.finish(run)
        assert run.is_finished()


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"mean": 3}', b"[" * 200_000, b"NaN", None])
def test_what_does_not_load_is_not_done(damage, tmp_path):
    """Scores, a product and a record that are empty, cut short, of another kind, or gone."""
    source, *_, target = cells.all_runs(PLAN, tmp_path)
    for run in (source, target):
        sweep_plans.finish(run)
    product = source.folder / "prompts.safetensors"
    for run, file in ((source, product), (source, source.folder / "run.json"),
                      (target, target.scores), (target, target.folder / "run.json")):  # fmt: skip
        before = file.read_bytes()
        file.write_bytes(damage) if damage is not None else file.unlink()
        assert not run.is_finished()
        assert run in cells.left_of([source, target])
        file.write_bytes(before)
        assert run.is_finished()


@pytest.mark.parametrize("score", [None, "50", True])
def test_a_score_that_is_no_number_is_no_row_of_a_table(score, tmp_path):
    run = cells.target_runs(PLAN, tmp_path)[0]
    sweep_plans.finish(run, score)
    with pytest.raises(UserError, match="metrics.json has no usable 'key_metric'"):
        run.score()


def test_a_source_run_is_left_as_long_as_a_cell_needs_it(tmp_path):
    part = PLAN.select(methods=["no teachers"], tasks=["a"], shots=["16"], seeds=["0"])
    mpt, shared, target = runs = cells.all_runs(part, tmp_path)
    assert cells.left_of(runs) == runs
    sweep_plans.finish(shared)
    assert cells.left_of(runs) == [target]  # the teachers have served
    sweep_plans.finish(target)
    assert cells.left_of(runs) == [] and not mpt.is_finished()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"methods": (Method("a", ("gin/methods/spto.gin",)),)},
            "train of targets/a/mini_news_nli-4-0: there is no gin file 'gin/methods/spto.gin'. "
            "Did you mean 'gin/methods/spot.gin'",
        ),
        ({"evaluation": Stage(("gin/mpt_evl.gin",))}, "Did you mean 'gin/mpt_eval.gin'"),
        ({"source": Stage(("gin/mpt_sorce.gin",))}, "Did you mean 'gin/mpt_source.gin'"),
        ({"settings": ("TRIAN_STEPS=3",)}, "no effect. Did you mean 'TRAIN_STEPS'"),
        ({"by_shots": {"full": ("EVAL_PERIODE=3",)}}, "full-0: --gin.EVAL_PERIODE: nothing reads"),
        ({"target": Stage(("gin/mpt_target.gin",), ("TRAIN_STEPS",))}, "TRAIN_STEPS= has no value"),
        ({"settings": ("SHARED_LEARNING_RATE=3",)}, "eval of targets/MPT"),  # it learns nothing
        ({"target": Stage(("gin/mpt_eval.gin",))}, "nothing reads a macro 'TRAIN_STEPS'"),
        ({"methods": (Method("a", ("gin/methods/spot.gin",)),)}, "SOURCE_PROMPTS (required by"),
        ({"settings": ("RANDOM_SEED=3",)}, "'RANDOM_SEED=3' has no effect: a sweep sets"),
    ],
)
def test_mistakes_are_found_before_any_run(fields, message):
    plan = dataclasses.replace(MINI, **fields)
    with pytest.raises(UserError) as refusal:
        cells.check(plan, ROOT)
    assert message in str(refusal.value)
    assert str(refusal.value).startswith("gin/sweeps/mini.toml: ")
