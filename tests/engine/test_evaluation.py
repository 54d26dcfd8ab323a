import dataclasses
import json

import numpy as np
import pytest
import seqio
import tensorflow as tf

from mpt_jax.engine.data import DatasetConfig
from mpt_jax.engine.evaluation import Evaluator
from mpt_jax.engine.feature_converter import TaskIdFeatureConverter
from mpt_jax.errors import UserError
from mpt_jax.tasks.info import TaskInfo

BYTES = seqio.Feature(seqio.ByteVocabulary())
ROWS = {"toy_copy": 11, "toy_upper": 6}
B, T, S = 4, 10, 8


def accuracy(targets, predictions):
    return {"accuracy": 100 * np.mean([t == p for t, p in zip(targets, predictions, strict=True)])}


def mean_score(targets, scores):
    return {"mean_score": np.mean(scores)}


def aux(targets, predictions, aux_values):
    return {}


def word(i):
    return "abcdefgh"[i % 8] * (1 + i % 7)


def register(name, rows, metric_fns):
    def dataset_fn(split, shuffle_files=False, seed=None):
        words = [word(i) for i in range(rows)]
        targets = [w.upper() if name == "toy_upper" else w for w in words]
        return tf.data.Dataset.from_tensor_slices({"inputs": words, "targets": targets})

    seqio.TaskRegistry.add(
        name,
        source=seqio.FunctionDataSource(dataset_fn, ["validation"]),
        preprocessors=[seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
        output_features={"inputs": BYTES, "targets": BYTES},
        metric_fns=metric_fns,
    )


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    monkeypatch.setattr(seqio.TaskRegistry, "_REGISTRY", {})
    monkeypatch.setattr(seqio.MixtureRegistry, "_REGISTRY", {})
    register("toy_copy", ROWS["toy_copy"], [accuracy])
    register("toy_upper", ROWS["toy_upper"], [accuracy, mean_score])


CONFIG = DatasetConfig(
    mixture_or_task_name=["toy_copy", "toy_upper"],
    task_feature_lengths={"inputs": T, "targets": S},
    split="validation",
    batch_size=B,
    shuffle=False,
    seed=None,
    length_buckets={"inputs": [4, 6]},
)


def evaluator(**changes):
    return Evaluator(dataclasses.replace(CONFIG, **changes), TaskIdFeatureConverter)


def copy(batch):
    """Right for toy_copy, wrong for toy_upper; as wide as the batch's inputs."""
    return batch["encoder_input_tokens"]


def minus_length(batch):
    return -(batch["decoder_loss_weights"].sum(axis=1)).astype(np.float32)


def test_each_prediction_meets_its_own_target():
    metrics = evaluator().run(copy, minus_length)
    lengths = [len(word(i)) + 1 for i in range(ROWS["toy_upper"])]
    assert metrics == {
        "toy_copy": {"accuracy": 100},
        "toy_upper": {"accuracy": 0, "mean_score": pytest.approx(-np.mean(lengths))},
        "mean": {"key_metric": 50},
    }


def test_the_model_sees_few_full_short_batches():
    shapes = []

    def predict(batch):
        shapes.append((batch["encoder_input_tokens"].shape, batch["decoder_input_tokens"].shape))
        assert batch["task_ids"].shape == (B,)
        return copy(batch)

    evaluation = evaluator()
    for _ in range(2):
        shapes.clear()
        evaluation.run(predict, minus_length)
        assert len(shapes) == 5  # 17 rows of both tasks in batches of 4
        assert [inputs for inputs, _ in shapes] == [(B, 4), (B, 4), (B, 6), (B, T), (B, T)]
        assert {targets for _, targets in shapes} == {(B, S)}


def test_outputs_are_written_beside_their_rows(tmp_path):
    evaluator().run(copy, minus_length, output_dir=tmp_path / "eval")
    rows = [json.loads(line) for line in (tmp_path / "eval/toy_upper.jsonl").open()]
    assert rows == [
        {
            "inputs": word(i),
            "targets": word(i).upper(),
            "predictions": word(i),
            "scores": -(len(word(i)) + 1),
        }
        for i in range(ROWS["toy_upper"])
    ]
    assert sorted(path.name for path in (tmp_path / "eval").iterdir()) == [
        "toy_copy.jsonl",
        "toy_upper.jsonl",
    ]


def test_a_limit_takes_the_first_rows():
    evaluation = Evaluator(CONFIG, TaskIdFeatureConverter, num_examples=1)
    assert evaluation.run(copy, minus_length)["toy_upper"]["mean_score"] == -2


def test_the_mean_is_of_the_tasks_key_metrics(monkeypatch):
    def info(name):
        return TaskInfo((), "mean_score" if name == "toy_upper" else "accuracy")

    monkeypatch.setattr("mpt_jax.engine.evaluation.info", info)
    metrics = evaluator().run(copy, lambda batch: np.full(B, -4.0))
    assert metrics["mean"]["key_metric"] == (100 - 4) / 2


def test_a_key_metric_that_is_not_computed_is_refused(monkeypatch):
    monkeypatch.setattr("mpt_jax.engine.evaluation.info", lambda name: TaskInfo((), "f1"))
    with pytest.raises(UserError, match="'f1' of task 'toy_copy'.*accuracy"):
        evaluator().run(copy, minus_length)


def test_a_metric_without_its_function_is_refused():
    with pytest.raises(UserError, match="metrics of toy_upper need SCORE"):
        evaluator().run(copy)


def test_tasks_without_usable_metrics_are_refused():
    register("toy_silent", 2, [])
    with pytest.raises(UserError, match="toy_silent register no metric_fns"):
        evaluator(mixture_or_task_name="toy_silent")
    register("toy_aux", 2, [aux])
    with pytest.raises(UserError, match="'toy_aux' needs.*PREDICTION_WITH_AUX"):
        evaluator(mixture_or_task_name="toy_aux")


def test_nothing_stays_registered():
    evaluator()
    assert not seqio.MixtureRegistry.names()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write .*toy_copy.jsonl"):
        evaluator().run(copy, minus_length, output_dir=tmp_path / "file")
