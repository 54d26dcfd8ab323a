"""What the loop learns from, says and refuses; on a toy model and toy tasks."""

import functools
import json

import numpy as np
import pytest
import seqio
import toy
from toy_loop import STEPS, assert_product_is_of, checkpoint, dataset, run, steps_saved

from mpt_jax.engine.checkpoints import CheckpointConfig, SaveCheckpointConfig
from mpt_jax.engine.initialize import RestoreCheckpointConfig
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.errors import UserError
from mpt_jax.methods.mpt import MPT
from mpt_jax.tasks.mixtures import bind_tasks


def test_a_run_says_what_it_trains_and_what_came_of_it(backbone, scores, tmp_path, capfd):
    scores.update({2: 40.0, 4: 60.0, 6: 50.0})
    run(tmp_path, backbone)
    lines = capfd.readouterr().err.splitlines()
    # A shared prompt of 4 x 16 numbers, and for each of two tasks 4 and 16.
    assert lines[0].startswith("training mpt: 104 numbers train, ")
    assert lines[1].split() == ["backbone", backbone]
    assert lines[2].split() == ["tasks", "toy_a,", "toy_b:", "48", "training", "rows"]
    assert lines[3].split() == ["folder", f"{tmp_path}:", "6", "steps"]
    assert " 1/6 " in lines[4]
    best = "best validation score 60.00 at step 4"
    assert lines[-1] == (
        f"finished {tmp_path}: step 6, {best}; product {tmp_path}/prompts.safetensors"
    )


def test_microbatches_learn_the_same(whole, backbone, tmp_path, scores):
    run(tmp_path, backbone, num_microbatches=2)
    leaves, others = (checkpoint(f, STEPS) for f in (whole[0], tmp_path))
    for name in leaves:
        if name.startswith("trainable/"):
            np.testing.assert_allclose(leaves[name], others[name], atol=1e-4)


def test_few_shot_sees_exactly_k_examples_of_each_task(backbone, fetched, tmp_path):
    few = dataset("train", few_shot=5)
    run(tmp_path, backbone, train_dataset_cfg=few, infer_eval_dataset_cfg=None)
    decode = seqio.ByteVocabulary().decode
    rows = [
        (int(task), decode(row.tolist()))
        for batch in fetched
        for task, row in zip(batch["task_ids"], batch["encoder_input_tokens"], strict=True)
    ]
    assert len(rows) == 8 * STEPS
    for task in (0, 1):
        assert len({text for owner, text in rows if owner == task}) == 5


def test_a_loss_that_is_not_finite_keeps_what_was_good(backbone, scores, tmp_path):
    with pytest.raises(UserError, match=r"not finite at step (\d).*tasks of its batch: .*toy_"):
        run(tmp_path, backbone, learning_rate=1e30, period=1, eval_period=1)
    last = steps_saved(tmp_path)[-1]
    assert 1 <= last < STEPS
    assert_product_is_of(tmp_path, step=1)
    losses = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1]["step"] == last


def test_metrics_of_scores_are_computed(backbone, tmp_path, monkeypatch):
    """The score of a text is the log likelihood of its tokens, by the model that is trained."""

    def mean_score(targets, scores):
        return {"mean_score": np.mean(scores)}

    task = seqio.TaskRegistry.get("toy_a")
    ranked = task.replace(name="toy_ranked", metric_fns=[mean_score])
    monkeypatch.setitem(seqio.TaskRegistry._REGISTRY, "toy_ranked", ranked)
    cfg = functools.partial(
        dataset, mixture_or_task_name=bind_tasks(["toy_ranked"], module="toy_tasks")
    )
    model = toy.model(MPT(prompt_length=4), ("toy_ranked",), toy.ONE_LAYER)
    run(
        tmp_path,
        backbone,
        model=model,
        train_dataset_cfg=cfg("train"),
        infer_eval_dataset_cfg=cfg("validation"),
        learning_rate=1e-9,
        total_steps=1,
    )
    *_, line = (tmp_path / "metrics.jsonl").read_text().splitlines()
    found = json.loads(line)["toy_ranked/mean_score"]
    # Nothing was learnt: each byte of a label, and its end, costs about log(384).
    assert found == pytest.approx(-np.log(384) * 5.1, rel=0.25)
    assert json.loads((tmp_path / "run.json").read_text())["key_metrics"] == {
        "toy_ranked": "mean_score"
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"infer_eval_dataset_cfg": functools.partial(dataset, "validation", batch_size=6)},
            "Batch size 6 does not divide",
        ),
        (
            {"checkpoint_cfg": functools.partial(CheckpointConfig, SaveCheckpointConfig(1))},
            "INITIAL_CHECKPOINT_PATH is not set",
        ),
        (
            {
                "checkpoint_cfg": functools.partial(
                    CheckpointConfig, SaveCheckpointConfig(1), RestoreCheckpointConfig("/no/such")
                )
            },
            "INITIAL_CHECKPOINT_PATH '/no/such' does not exist",
        ),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(changes, message, backbone, tmp_path):
    made = {name: make() for name, make in changes.items()}
    with pytest.raises(UserError, match=message):
        run(tmp_path / "run", backbone, partitioner=PjitPartitioner(), **made)
    assert not (tmp_path / "run").exists()
