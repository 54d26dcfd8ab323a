"""The product of a run: that of its best evaluation, whole, and missed where it is gone."""

import numpy as np
import pytest
import toy
from toy_loop import (
    STEPS,
    TASKS,
    assert_product_is_of,
    checkpoint,
    contents,
    interrupt,
    is_finished,
    run,
    steps_saved,
)

from mpt_jax.engine.checkpoints import CheckpointConfig
from mpt_jax.engine.initialize import RestoreCheckpointConfig
from mpt_jax.errors import UserError
from mpt_jax.methods.prompt_tuning import PromptTuning
from mpt_jax.product import product_file


def test_the_product_is_of_the_best_evaluation_also_after_a_resume(
    backbone, fetched, scores, tmp_path
):
    scores |= {2: 10.0, 4: 30.0, 6: 20.0}
    fetched.at = {5: interrupt}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, backbone, period=2)
    run(tmp_path, backbone, period=2)
    assert_product_is_of(tmp_path, step=4)
    assert is_finished(tmp_path)


def test_a_mean_that_is_not_finite_is_never_better(backbone, fetched, scores, tmp_path):
    scores |= {2: np.nan, 4: 30.0, 6: np.nan}
    fetched.at = {3: interrupt}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, backbone, period=2)
    run(tmp_path, backbone, period=2)
    assert_product_is_of(tmp_path, step=4)
    assert "NaN" not in (tmp_path / "metrics.jsonl").read_text()


def test_without_evaluation_the_product_is_of_the_last_step(backbone, tmp_path):
    for _ in range(2):
        run(tmp_path, backbone, infer_eval_dataset_cfg=None)
        assert_product_is_of(tmp_path, step=STEPS)
        (tmp_path / "prompts.safetensors").unlink()


def test_a_lost_product_of_the_last_step_is_made_again(backbone, scores, tmp_path):
    scores |= {2: 1.0, 4: 2.0, 6: 3.0}
    run(tmp_path, backbone)
    before = contents(tmp_path)
    product = tmp_path / "prompts.safetensors"
    product.write_bytes(before[product][:100])
    run(tmp_path, backbone)
    after = contents(tmp_path)
    for path in (product, tmp_path / "prompts.json", tmp_path / "metrics.jsonl"):
        assert after[path] == before[path]


def test_a_lost_product_of_an_earlier_step_is_missed(backbone, fetched, scores, tmp_path, capfd):
    scores |= {2: 9.0, 4: 2.0, 6: 1.0}
    fetched.at = {5: interrupt}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, backbone, period=100)
    (tmp_path / "prompts.safetensors").unlink()
    run(tmp_path, backbone, period=100)
    assert "note: the product of step 2, the best so far, is gone" in capfd.readouterr().err
    assert_product_is_of(tmp_path, step=6)

    run(tmp_path, backbone, period=100, total_steps=7, eval_period=100)  # 7: 0.0
    (tmp_path / "prompts.safetensors").unlink()
    with pytest.raises(UserError, match=f"the run in {tmp_path} is finished, but its product"):
        run(tmp_path, backbone, period=100, total_steps=7, eval_period=100)


def test_without_checkpoints_the_product_is_all_that_stays(backbone, fetched, tmp_path):
    unsaved = {
        "checkpoint_cfg": CheckpointConfig(None, RestoreCheckpointConfig(backbone)),
        "infer_eval_dataset_cfg": None,
        "stats_period": None,
        "num_microbatches": None,
    }
    fetched.at = {2: interrupt}
    with pytest.raises(KeyboardInterrupt, match="without checkpoints, at step 2 of"):
        run(tmp_path, backbone, **unsaved)
    run(tmp_path, backbone, **unsaved)  # from the start
    assert len(fetched) == 2 + STEPS
    assert steps_saved(tmp_path) == []
    assert product_file.load(str(tmp_path))[1].step == STEPS


def test_a_full_disk_for_the_product_is_one_message(backbone, scores, tmp_path, monkeypatch):
    def full(*unused_args, **unused_kwargs):
        raise UserError("cannot write prompts.safetensors: No space left on device.")

    scores |= {2: 1.0, 4: 2.0}
    run(tmp_path, backbone, period=2, total_steps=2)
    monkeypatch.setattr(product_file, "save", full)
    with pytest.raises(UserError, match="No space left on device"):
        run(tmp_path, backbone, period=2)
    assert steps_saved(tmp_path) == [2, 4]
    assert_product_is_of(tmp_path, step=2)


INDEPENDENT = {"model": toy.model(PromptTuning(prompt_length=4), TASKS, toy.ONE_LAYER), "period": 2}


def assert_rows_are_of(model_dir, *steps):
    """Each task's prompt is that of a checkpoint of its own, and the description says so."""
    bank, info = product_file.load(str(model_dir))
    assert info.task_steps == dict(zip(TASKS, steps, strict=True))
    for row, step in enumerate(steps):
        saved = checkpoint(model_dir, step)["trainable/prompt_bank/task_prompts"]
        np.testing.assert_array_equal(bank["task_prompts"][row], saved[row])
    return info


def test_each_of_independent_tasks_has_its_own_best_step(
    backbone, fetched, scores, tmp_path, capfd
):
    scores |= {2: (5.0, 9.0), 4: (8.0, 1.0), 6: (7.0, 2.0)}
    fetched.at = {5: interrupt}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, backbone, **INDEPENDENT)
    run(tmp_path, backbone, **INDEPENDENT)
    info = assert_rows_are_of(tmp_path, 4, 2)
    assert [info.metrics[task]["likeness"] for task in TASKS] == [8.0, 9.0]
    assert info.metrics["mean"] == {"key_metric": 8.5} and info.step == 4
    told = "step 6, best validation score 8.50 at each task's own best step; product"
    assert told in capfd.readouterr().err


def test_a_lost_product_of_independent_tasks_is_made_again_or_missed(
    backbone, fetched, scores, tmp_path, capfd
):
    scores |= {2: (5.0, 9.0), 4: (8.0, 1.0), 6: (7.0, 2.0)}
    fetched.at = {5: interrupt}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, backbone, **INDEPENDENT)
    (tmp_path / "prompts.safetensors").unlink()
    run(tmp_path, backbone, **INDEPENDENT)
    assert "the product of step 2, the best so far, is gone" in capfd.readouterr().err
    # What was interrupted is saved at step 5, so both earlier evaluations are lost.
    assert_rows_are_of(tmp_path, 6, 6)
