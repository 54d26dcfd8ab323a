"""The script on miniature corpora: every run's gin files, and one cell up to the page."""

import collections
import json

import gin
import pytest
import real_data
import sweep_plans
from mini import by_name as mini_by_name
from mini import key_metric
from real import by_name, constant_answer, corpora, report, results, source_table

from mpt_jax.configuration import config
from mpt_jax.errors import UserError
from mpt_jax.sweep import cells, execution
from mpt_jax.sweep.plan import FULL
from mpt_jax.tasks import local

SIZES = ("EMB_DIM=8", "NUM_HEADS=1", "MLP_DIM=8", "NUM_LAYERS=1", "DECODER_LAYERS=1")
STEPS = ("TRAIN_STEPS=2", "WARMUP_STEPS=1", "BATCH_SIZE=4")
TARGETS = (*STEPS, "PROMPT_LENGTH=2", "EVAL_BATCH_SIZE=24")
CELLS = (["sst5"], [FULL], range(1))


@pytest.mark.parametrize("regime", ["seen", "unseen"])
def test_the_gin_files_of_every_run_parse(regime, tmp_path):
    plan = real_data.comparison(tmp_path, regime, *CELLS, SIZES, STEPS, TARGETS)
    first = real_data.pretraining(tmp_path, regime, SIZES, STEPS)
    runs = [first, *cells.all_runs(plan, tmp_path)]
    trainings = [run.steps[0] for run in runs]
    for step in [*trainings, runs[-1].steps[1]]:
        config.parse(step.files, step.overrides)
        assert gin.query_parameter("EMB_DIM/gin.macro.value") == 8
    cells.check(plan, tmp_path)


@pytest.mark.parametrize("stage", ["sources", "targets"])
def test_tasks_read_what_is_prepared(stage, tmp_path):
    plan = real_data.comparison(tmp_path, "seen", *CELLS, SIZES, STEPS, TARGETS)
    runs = {"sources": cells.source_runs, "targets": cells.target_runs}[stage](plan, tmp_path)
    config.parse(runs[0].steps[0].files, runs[0].steps[0].overrides)
    for task, corpus in zip(
        gin.get_bindings(local.names)["tasks"], getattr(corpora, stage.upper()), strict=True
    ):
        assert task.name == corpus.name and task.folder == str(tmp_path / "data")
        splits = ["train", "validation", "test"][: 3 if corpus in corpora.TARGETS else 2]
        assert task.splits == {split: f"{task.name}/{split}.jsonl" for split in splits}


@pytest.mark.parametrize("regime", ["seen", "unseen"])
def test_pretraining_names_each_task_and_reads_the_targets_only_if_seen(regime, tmp_path):
    (step,) = real_data.pretraining(tmp_path, regime, (), ()).steps
    config.parse(step.files, step.overrides)
    tasks = gin.get_bindings(local.names)["tasks"]
    read = (*corpora.SOURCES, *(corpora.TARGETS if regime == "seen" else ()))
    assert {task.name for task in tasks} == {"corruption", "overlap", *(c.name for c in read)}
    groups = gin.query_parameter("BATCH_GROUPS/gin.macro.value")
    names = [name for _, group in groups for name in group]
    assert sorted(names) == sorted(task.name for task in tasks)
    for task in tasks:
        assert task.inputs.startswith(f"{task.name} ") or task.name == "corruption"


def test_missing_data_are_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="--data: .*nowhere lacks"):
        real_data.main([f"--data={tmp_path / 'nowhere'}", f"--folder={tmp_path / 'runs'}"])


def test_cells_of_other_settings_are_refused_before_anything_is_trained(real_folder, tmp_path):
    plan = real_data.comparison(tmp_path, "seen", ["sst5"], [FULL], range(1))
    (run,) = cells.all_runs(plan.select(methods=["BitFit"]), tmp_path)
    sweep_plans.finish(run)
    (run.folder / "config.gin").write_text("LEARNING_RATE = 0.77\n")
    flags = ["--targets", "sst5", "--seeds", "1", "--methods", "BitFit"]
    with pytest.raises(UserError, match="other settings than the plan.s"):
        real_data.main([f"--data={real_folder}", f"--folder={tmp_path}", *flags])
    assert not (tmp_path / "data").exists()


def test_seconds_add_up_over_calls(tmp_path):
    for _ in range(2):
        with real_data.timed("stage", tmp_path / "times.json"):
            pass
    first = real_data.times_in(tmp_path / "times.json")["stage"]
    with real_data.timed("stage", tmp_path / "times.json"):
        pass
    assert real_data.times_in(tmp_path / "times.json")["stage"] > first > 0


def test_from_the_files_to_the_page(real_folder, tmp_path):
    root = tmp_path / "runs"
    root.mkdir()
    real_data.prepare(real_folder, root)
    vocabulary = (root / real_data.VOCABULARY).read_bytes()
    real_data.prepare(tmp_path / "gone", root)  # done already
    assert (root / real_data.VOCABULARY).read_bytes() == vocabulary

    plan = real_data.comparison(root, "seen", *CELLS, SIZES, STEPS, TARGETS)
    plan = plan.select(methods=["prompt tuning from scratch"])
    (cell,) = cells.all_runs(plan, root)
    pretraining = real_data.pretraining(root, "seen", SIZES, STEPS)
    outcome = execution.carry_out([pretraining, cell], 1, tmp_path / "compiled")
    assert outcome.faults == ""
    assert pretraining.is_finished() and cell.is_finished()

    backbone = str(root / "pretraining" / "backbone")
    by_name.write(root / report.BY_NAME, plan, root, backbone, root / real_data.VOCABULARY)
    page = tmp_path / "page.md"
    times = {"pretraining": 60.0, "targets": 120.0}
    report.write(page, plan, root, "seen", times)
    text = page.read_text(encoding="utf-8")
    score = json.loads(cell.scores.read_text())["mean"]["key_metric"]
    (row,) = [line for line in text.splitlines() if line.startswith("| prompt tuning from scratch")]
    assert row.startswith(f"| prompt tuning from scratch | 16 | {score:.1f} | 1 |")  # 2 × 8 numbers
    names = [corpus.name for corpus in corpora.TARGETS]
    constant = constant_answer.of_target(root / "data", corpora.TARGETS[0])
    assert f"| constant answer | 0 | {constant:.1f} |" in text
    assert "1 + 1 layers, width 8" in text and "pretraining 1, targets 2" in text
    # Embedding and output layer, 6144 × 8 each, are all but a few thousand of the parameters.
    assert any(f"{size:,} parameters" in text for size in range(98_304, 107_000))
    asked = (tmp_path / "page_by_name.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in asked] == ["task", *names, "mean"]
    assert "| asked | sst5 | mpqa | sts | sick_r | e2e | mean |" in text
    assert text.endswith(f"{report.READING}\n\n{report.EMPTY}")
    page.write_text(text.replace(report.EMPTY, "By hand.\n"), encoding="utf-8")
    report.write(page, plan, root, "seen", times)
    assert page.read_text(encoding="utf-8") == text.replace(report.EMPTY, "By hand.\n")


def test_the_constant_answer(real_folder):
    by_name = {corpus.name: corpus for corpus in corpora.TARGETS}
    train = [{"label": "neutral"}] * 2 + [{"label": "positive"}]
    corpora.write_rows(train, real_folder / "sst5" / "train.jsonl")
    scored = [{"label": "neutral"}] + [{"label": "positive"}] * 3
    corpora.write_rows(scored, real_folder / "sst5" / "test.jsonl")
    names = ("sst5", "mpqa", "sts", "sick_r")
    found = [constant_answer.of_target(real_folder, by_name[name]) for name in names]
    assert found == [25.0, 50.0, 0.0, 0.0]


def test_the_facts_of_e2e_are_scored(tmp_path):
    e2e = corpora.TARGETS[-1]
    meanings = ["name[cotto], area[riverside]", "name[mill], area[riverside]"]
    rows = [
        {"meaning_representation": meaning, "reference": reference}
        for meaning in meanings
        for reference in ("mill by the river", "cotto in the city")
    ]
    for split in ("train", "validation", "test"):
        corpora.write_rows(rows, tmp_path / "e2e" / f"{split}.jsonl")
    assert constant_answer.of_text(tmp_path, e2e) == ("mill by the river", 75.0)
    # Of eight facts two names and two areas are wrong.
    assert constant_answer.of_references(tmp_path, e2e) == 50.0
    answers = ["cotto by the river", "a city"]
    found = results.slot_accuracy(tmp_path, e2e, answers)
    assert found == 50.0  # of four facts a name is missing, an area wrong


class Known:
    """Answers what it knows for an input, and "?" for others."""

    def __init__(self, answers):
        self.answers = answers

    def predict(self, texts):
        return [self.answers.get(text, "?") for text in texts]


def test_a_backbone_that_knows_a_target_by_its_name(real_folder, tmp_path):
    plan = real_data.comparison(tmp_path, "seen", *CELLS)
    real_data.prepare(real_folder, tmp_path)
    assert by_name.register(plan, tmp_path) == {"inputs": 96, "targets": 64}
    for corpus in corpora.TARGETS:
        inputs, words = key_metric.texts(corpus.name)
        prefix = f"{corpus.name} "
        known = Known({prefix + i: word for i, word in zip(inputs, words, strict=True)})
        asked = mini_by_name.asked(known, prefix)
        best = by_name.score(tmp_path / "data", corpus, asked)
        if not corpus.is_text:
            assert best == pytest.approx(100)
        unasked = mini_by_name.asked(known, "")
        assert by_name.score(tmp_path / "data", corpus, unasked) in (0, -0.0)


def test_the_table_of_source_runs(real_folder, tmp_path):
    """Its scores are those of the step that was chosen; the constant answer's are of its rows."""
    plan = real_data.comparison(tmp_path, "seen", ["sst5"], [FULL], range(2))
    plan = plan.select(methods=["MPT", "prompt tuning from scratch"])
    corpora.copy(real_folder, tmp_path / "data")
    names = [corpus.name for corpus in corpora.SOURCES]
    for seed, best in ((0, 70.0), (1, 80.0)):
        for folder, plus in ((f"mpt-{seed}", 0.0), (f"mpt-{seed}/teachers", 5.0)):
            run = tmp_path / "sources" / folder
            logged = [{"step": 1, "kind": "train", "loss": 1.0}]
            for step, score in ((2, best + plus), (4, 10.0)):
                scores = {f"{name}/accuracy": score for name in names}
                logged.append({"step": step, "kind": "eval", "mean/key_metric": score, **scores})
            corpora.write_rows(logged, run / "metrics.jsonl")
            record = {"tasks": names, "key_metrics": dict.fromkeys(names, "accuracy")}
            corpora.write_rows([{**record, "tuned_parameters": 1234}], run / "run.json")
    for name in names:
        (common, *_), *_ = sorted(labels(tmp_path, name), key=lambda item: -item[1])
        rows = [{"label": common}] + [{"label": "another"}] * 3
        corpora.write_rows(rows, tmp_path / "data" / name / "validation.jsonl")
    found = source_table.collect(plan, tmp_path)
    lines = source_table.lines(found)
    assert lines[0] == f"| source run | tuned, all six | {' | '.join(names)} |"
    assert lines[2:] == [
        "| mpt/teachers | 1,234 |" + " 80.0 ± 7.1 |" * 6,
        "| mpt | 1,234 |" + " 75.0 ± 7.1 |" * 6,
        "| always the commonest label | 0 |" + " 25.0 |" * 6,
    ]
    source_table.write(tmp_path / "sources.csv", found)
    written = (tmp_path / "sources.csv").read_text().splitlines()
    assert written[3] == "mpt/teachers,1,1234" + ",85.000" * 6
    assert written[-1] == "always the commonest label,,0" + ",25.000" * 6
    assert source_table.collect(plan.select(methods=["prompt tuning from scratch"]), tmp_path) == []


def labels(root, name):
    """(label, count) of the train rows of a prepared corpus."""
    rows = corpora.read_rows(root / "data" / name / "train.jsonl")
    return collections.Counter(row["label"] for row in rows).items()
