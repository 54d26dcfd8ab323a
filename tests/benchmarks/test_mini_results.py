"""From finished runs to CSVs, pages and figures; the committed ones are those of the cells."""

import csv
import dataclasses
import json
import pathlib
import shutil

import mini_results
import numpy as np
import pytest
import run_folders
import sweep_plans
from mini import constant_answer, cosines, page, rates, regimes, scores, summary

from mpt_jax.errors import UserError
from mpt_jax.sweep import cells, plan_file
from mpt_jax.sweep.plan import Method

DOCS = pathlib.Path(__file__).parents[2] / "docs"
MADE = ("mini_results.md", "results.md", "mini_summary.csv", "mini_ablations_summary.csv")
MINI = plan_file.load(mini_results.PLANS["comparison"])


def _score(method, task, seed, percent, regime="unseen", shots="16"):
    return scores.Score(regime, method, task, shots, seed, 7, percent, 50.0, {"seconds": 2.0})


def _finish(run, of_task):
    sweep_plans.finish(run)
    of = {"key_metrics": dict.fromkeys(of_task, "accuracy")}
    found = {task: {"accuracy": score} for task, score in of_task.items()}
    found |= {"mean": {"key_metric": 0.0}, "evaluated": of}
    run.scores.write_text(json.dumps(found))


def test_the_committed_pages_and_figures_are_those_of_the_committed_cells(tmp_path):
    shutil.copytree(DOCS, tmp_path / "docs")
    for name in MADE[:1] + MADE[2:]:
        (tmp_path / "docs" / name).unlink()
    for figure in (tmp_path / "docs/figures").iterdir():
        figure.unlink()
    assert mini_results.main(["--tables_only", f"--docs={tmp_path / 'docs'}"]) == 0
    for name in (*MADE, *(f"figures/{file.name}" for file in (DOCS / "figures").iterdir())):
        assert (tmp_path / "docs" / name).read_bytes() == (DOCS / name).read_bytes(), name


def test_finished_cells_are_collected_and_joint_ones_task_by_task(tmp_path):
    plan = MINI.select(methods=["MPT", "adapters"], tasks=["mini_rte"], shots=["16"], seeds="01")
    for run in cells.target_runs(plan, tmp_path)[:3]:
        _finish(run, {"mini_rte": 60.0 + int(run.name[-1])})
    constants = {"mini_rte": 50.0, "mini_wic": 40.0}
    found = scores.collect(plan, tmp_path, "seen", constants)
    told = [(s.method, s.seed, s.percent, s.tuned, s.constant) for s in found]
    assert told == [
        ("MPT", 0, 60.0, 1234, 50.0),
        ("MPT", 1, 61.0, 1234, 50.0),
        ("adapters", 0, 60.0, 1234, 50.0),
    ]
    joint = dataclasses.replace(plan.select(methods=["MPT"], seeds="0"), tasks=("mini_targets",))
    (run,) = cells.target_runs(joint, tmp_path)
    _finish(run, {"mini_rte": 70.0, "mini_wic": 30.0})
    record = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(json.dumps({**record, "cost": {"seconds": 8, "steps": 7}}))
    found += scores.collect(joint, tmp_path, "seen", constants)
    assert [(s.task, s.percent, s.tuned, s.cost) for s in found[3:]] == [
        ("mini_rte", 70.0, 617, {"seconds": 4.0, "steps": 7}),
        ("mini_wic", 30.0, 617, {"seconds": 4.0, "steps": 7}),
    ]
    scores.write(tmp_path / "cells.csv", found)
    assert scores.read(tmp_path / "cells.csv") == found


def test_what_is_finished_takes_the_place_of_its_regime_in_csv_page_and_figures(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(constant_answer, "score", lambda task: 12.5)
    docs, folder = tmp_path / "docs", tmp_path / "runs"
    shutil.copytree(DOCS, docs)
    committed = [s for s in scores.read(docs / "mini_results.csv") if s.regime == "unseen"]
    kept = [dataclasses.replace(s, regime="seen") for s in committed]
    scores.write(docs / "mini_results.csv", [*committed, *kept])
    part = MINI.select(methods=["MPT", "BitFit"], shots=["16", "full"], seeds="01")
    for run in cells.target_runs(part, folder / "unseen"):
        task = run.name.split("/")[2].split("-")[0]
        _finish(run, {task: 40.0 + ("BitFit" in run.name) + int(run.name[-1])})
    arguments = ["--regimes", "unseen", f"--folder={folder}", f"--docs={docs}", "--plans"]
    assert mini_results.main(arguments) == 0
    found = scores.read(docs / "mini_results.csv")
    assert [s for s in found if s.regime == "seen"] == kept
    assert len([s for s in found if s.regime == "unseen"]) == 2 * 8 * 2 * 2
    (line,) = [
        x
        for x in summary.read(docs / "mini_summary.csv")
        if (x.regime, x.shots, x.method, x.task) == ("unseen", "16", "BitFit", "mean")
    ]
    told = (line.tuned, line.seeds, line.mean, line.difference, line.low, line.verdict)
    assert told == (1234, 2, 41.5, 1.0, 1.0, "better")
    assert "| +1.0 [1.0, 1.0] | better | **41.5 ± 0.7** |" in (docs / "mini_results.md").read_text()
    assert "| BitFit | 17,152 | 41.5 ▲ | " in (docs / "results.md").read_text()


def test_cells_at_other_rates_than_the_chosen_ones_are_refused_or_carried_out_again(
    tmp_path, monkeypatch
):
    part = MINI.select(methods=["BitFit"], tasks=["mini_wic"], shots=["16"], seeds="0")
    (run,) = cells.target_runs(part, tmp_path / "unseen")
    _finish(run, {"mini_wic": 50.0})
    (run.folder / "config.gin").write_text("LEARNING_RATE = 0.77\n")
    flags = ["--regimes", "unseen", "--plans", "comparison", f"--folder={tmp_path}", "--methods"]
    flags += ["BitFit", "--tasks", "mini_wic", "--shots", "16", "--seeds", "0"]
    told = []
    monkeypatch.setattr(mini_results.command, "finish", lambda *a, **k: told.append((a, k)) or 1)
    monkeypatch.setattr(mini_results, "collect", lambda args: None)
    monkeypatch.setattr(mini_results, "draw", lambda docs: None)
    with pytest.raises(UserError, match="other settings than the plan.s"):
        mini_results.main(flags)
    assert not told
    assert mini_results.main([*flags, "--redo"]) == 1
    (((left, *_), asked),) = told
    assert left == [run] and asked == {"again": {run.name: run.folder}}


def test_a_seed_without_every_target_is_in_no_mean():
    found = [_score("MPT", task, seed, 10.0 * seed) for task in "ab" for seed in (1, 2)]
    found += [_score("LoRA", task, 2, 30.0) for task in "ab"] + [_score("LoRA", "a", 1, 99.0)]
    found += [_score("IA3", "a", 1, 99.0)]
    means = {x.method: x for x in summary.lines(found) if x.task == "mean"}
    assert (means["MPT"].mean, means["MPT"].seeds) == (15.0, 2)
    assert (means["LoRA"].mean, means["LoRA"].seeds, means["LoRA"].std) == (30.0, 1, None)
    assert means["LoRA"].difference == 10.0  # to MPT with seed 2, not to its mean
    assert means["LoRA"].verdict == ""  # one seed has no interval
    assert "IA3" not in means
    assert means["constant answer"].mean == 50.0


def test_the_verdict_is_that_of_the_interval_and_the_contrast_that_of_both_regimes(tmp_path):
    found = []
    for regime, ahead in (("unseen", 9.0), ("seen", 1.0)):
        for task, level in zip("abcd", (10, 30, 50, 70), strict=True):
            for seed in range(4):
                wobble = [3, -3][seed % 2]
                found += [
                    _score("MPT", task, seed, level + seed, regime),
                    _score("full", task, seed, level + seed + ahead + wobble, regime),
                    _score("worse", task, seed, level + seed - 5, regime),
                ]
    lines = summary.lines(found)
    of = {(x.regime, x.method): x for x in lines if x.task == "mean"}
    assert of["unseen", "full"].verdict == "better" and of["seen", "full"].verdict == "open"
    assert of["seen", "worse"].verdict == "worse"
    contrast = of["seen - unseen", "full"]
    assert contrast.difference == pytest.approx(-8) and contrast.verdict == "smaller"
    assert of["seen - unseen", "worse"].difference == 0.0
    summary.write(tmp_path / "s.csv", lines)
    again = summary.read(tmp_path / "s.csv")
    assert [dataclasses.astuple(x)[:6] for x in again] == [
        dataclasses.astuple(x)[:6] for x in lines
    ]
    assert "-8.0 [" in page.contrasts(again) and "smaller" in page.contrasts(again)
    assert "| full | 7 | 49.0" not in page.overview(again)
    assert "50.5 ▲" in page.overview(again)


def test_methods_stand_in_the_order_of_the_table_that_has_the_most():
    def line(shots, method):
        return summary.Line("seen", shots, method, summary.MEAN, tuned=1, mean=50.0)

    of_4 = [line("4", method) for method in ("MPT", "jointly", "constant")]
    of_16 = [line("16", method) for method in ("MPT", "LoRA", "jointly", "constant")]
    _, _, *rows = page.overview([*of_4, *of_16]).splitlines()
    assert [row.split(" | ")[0] for row in rows] == ["| MPT", "| LoRA", "| jointly", "| constant"]


def test_the_plan_has_the_rates_that_the_rule_finds():
    tried = plan_file.load(mini_results.PLANS["rates"])
    means = rates.read(DOCS / "mini_rates.csv", "unseen")
    assert rates.chosen(MINI, tried, means) == MINI


def test_of_equal_rates_the_middle_one_is_chosen_and_of_others_the_best():
    rows = [Method(f"m {x}", ("m.gin",), (f"LEARNING_RATE={x}",), "mpt") for x in (1, 2, 3)]
    rows.append(Method("other", ("m.gin",), ("LEARNING_RATE=9", "DROPOUT_RATE=0.1"), "mpt"))
    plan = dataclasses.replace(sweep_plans.PLAN, methods=rows[:1], sources=sweep_plans.PLAN.sources)
    tried = dataclasses.replace(plan, methods=tuple(rows))

    def found(*means):
        labels = [row.label for row in rows]
        (method,) = rates.chosen(plan, tried, dict(zip(labels, means, strict=False))).methods
        return method.settings

    assert found(5, 5, 5, 99) == found(5, 5, 1, 99) == ("LEARNING_RATE=2",)
    assert found(5.04, 5, 1, 99) == ("LEARNING_RATE=2",)
    assert found(5, 1, 6, 99) == found(5, 5, 5.2, 99) == ("LEARNING_RATE=3",)
    with pytest.raises(UserError, match="'m 3' has no score yet"):
        found(5, 5)


def test_the_seen_backbone_is_that_of_its_pretraining(tmp_path):
    run = regimes.pretraining(tmp_path / "pretrained")
    assert "--gin.MIXTURE_OR_TASK_NAME=mini_pretrain_seen" in run.steps[0].arguments
    part = MINI.select(methods=["MPT"], tasks=["mini_rte"], shots=["16"])
    plan = regimes.of(part, "seen", run.folder)
    assert plan.settings == (f"INITIAL_CHECKPOINT_PATH={run.folder / 'backbone'}",)
    cells.check(plan, tmp_path)
    assert regimes.of(part, "unseen", run.folder) is part


@pytest.mark.parametrize("name", ["joint", "ablations"])
def test_the_other_plans_share_the_cells_of_the_comparison(name, tmp_path):
    plan = plan_file.load(mini_results.PLANS[name])
    cells.check(plan, tmp_path)
    tried = plan_file.load(mini_results.PLANS["rates"])
    means = rates.read(DOCS / "mini_rates.csv", "unseen")
    assert rates.chosen(plan, tried, means).methods == plan.methods
    there = {run.name: run for run in cells.all_runs(MINI, tmp_path)}
    same = [run for run in cells.all_runs(plan, tmp_path) if run.name in there]
    assert same and all(run == there[run.name] for run in same)


def test_the_constant_answer_is_the_share_of_the_commonest_label():
    import mpt_jax.tasks.mini  # noqa: F401

    assert constant_answer.score("mini_news_nli") == pytest.approx(100 / 3)
    assert constant_answer.score("mini_similarity") == 0  # Pearson
    with (DOCS / "mini_rates.csv").open() as file:  # what `t5x eval` says of other rows
        told = {line["task"]: float(line["constant_answer"]) for line in csv.DictReader(file)}
    assert constant_answer.score("mini_wic", "validation") == told["mini_wic"]


def test_a_page_without_its_block_is_refused():
    with pytest.raises(UserError, match="p.md has no block 'scores'"):
        page.filled("text", {"scores": "x"}, "p.md")


def test_the_cosines_are_read_as_they_were_written(tmp_path):
    values = np.array([[1, 0.25], [0.25, 1]])
    found = [cosines.Cosines(regime, ("a", "b"), values, 2) for regime in ("unseen", "seen")]
    cosines.write(tmp_path / "c.csv", found)
    for one, other in zip(found, cosines.read(tmp_path / "c.csv"), strict=True):
        assert (one.regime, one.tasks, one.seeds) == (other.regime, other.tasks, other.seeds)
        np.testing.assert_allclose(one.values, other.values)
    assert cosines.collect(MINI, tmp_path, "seen") == []


def test_the_cosines_are_those_of_the_prompts_of_each_source_run(tmp_path):
    rng = np.random.default_rng(0)
    plan = MINI.select(methods=["MPT", "MPT without distillation"], seeds="01")
    expected = []
    for run in cells.source_runs(plan, tmp_path):
        shapes = {"shared": (3, 4), "task_u": (2, 3, 1), "task_v": (2, 1, 4)}
        bank = {n: rng.normal(size=shape).astype(np.float32) for n, shape in shapes.items()}
        seed = int(run.name[-1])
        about = {"tasks": ("mini_cloze", "mini_nli"), "shots": None, "source": True, "seed": seed}
        run_folders.make_run(run.folder, bank=bank, **about)
        a, b = ((bank["shared"] * (bank["task_u"][k] @ bank["task_v"][k])).ravel() for k in (0, 1))
        if "/mpt-" in run.name:
            expected.append(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    (found,) = cosines.collect(plan, tmp_path, "seen")
    assert (found.regime, found.tasks, found.seeds) == ("seen", ("mini_cloze", "mini_nli"), 2)
    np.testing.assert_allclose(found.values[0, 1], np.mean(expected), rtol=1e-6)


def test_the_rates_of_a_regime_take_the_place_of_its_old_ones(tmp_path):
    plan = dataclasses.replace(sweep_plans.PLAN, shots=("16", "full"), seeds=(0,), by_shots={})
    plan = plan.select(methods=["MPT", "scratch"])
    for run in cells.target_runs(plan, tmp_path):
        label, task = ("MPT" if "/MPT/" in run.name else "scratch"), run.name.split("/")[2][0]
        shots = None if "-full-" in run.name else 16
        best = 40.0 + 20 * ((label, task) == ("MPT", "a")) + 5 * (shots is None)
        evals = [(50, 10.0), (100, best)]
        run_folders.make_run(run.folder, label=label, tasks=(task,), shots=shots, evals=evals)
    file = tmp_path / "rates.csv"
    for regime in ("unseen", "seen", "seen"):
        rates.write(file, plan, tmp_path, regime)
    for regime in ("unseen", "seen"):
        assert rates.read(file, regime) == {"MPT": 52.5, "scratch": 42.5}
    assert len(file.read_text().splitlines()) == 1 + 2 * 2 * 2 * 3
    (header, *_), committed = file.read_text().splitlines(), DOCS / "mini_rates.csv"
    assert committed.read_text().splitlines()[0] == header
