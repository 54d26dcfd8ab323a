import dataclasses
import functools
import json

import numpy as np
import pytest
import seqio
import tensorflow as tf

from mpt_jax.engine.data.feature_converter import TaskIdFeatureConverter
from mpt_jax.engine.data.pipeline import DatasetConfig
from mpt_jax.engine.evaluation.evaluator import Evaluator
from mpt_jax.errors import UserError
from mpt_jax.tasks import info
from mpt_jax.tasks.info import TaskInfo, register_info

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
        preprocessors=[seqio.preprocessors.tokenize, seqio.preprocessors.append_eos_after_trim],
        output_features={"inputs": BYTES, "targets": BYTES},
        metric_fns=metric_fns,
    )


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    monkeypatch.setattr(seqio.TaskRegistry, "_REGISTRY", {})
    monkeypatch.setattr(seqio.MixtureRegistry, "_REGISTRY", {})
    monkeypatch.setattr(info, "_INFO", {})
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


def run(evaluation, predict, score=None, **options):
    """The metrics of what functions of a batch answer."""
    functions = {"predict_batch": predict, "score_batch": score}
    found = {
        kind: [functions[question.function](batch) for batch in question.batches]
        for kind, question in evaluation.asked.items()
    }
    return evaluation.run(found, **options)


def copy(batch):
    """Right for toy_copy, wrong for toy_upper; as wide as the batch's inputs."""
    return batch["encoder_input_tokens"]


def minus_length(batch):
    return -(batch["decoder_loss_weights"].sum(axis=1)).astype(np.float32)


def test_each_prediction_meets_its_own_target():
    metrics = run(evaluator(), copy, minus_length)
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

    run(evaluator(), predict, minus_length)
    assert len(shapes) == 5  # 17 rows of both tasks in batches of 4
    assert [inputs for inputs, _ in shapes] == [(B, 4), (B, 4), (B, 6), (B, T), (B, T)]
    assert {targets for _, targets in shapes} == {(B, S)}


def test_outputs_are_written_next_to_their_rows(tmp_path):
    run(evaluator(), copy, minus_length, output_dir=tmp_path / "eval")
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


def test_answers_that_are_all_one_are_told():
    register_info("toy_copy", TaskInfo((word(0), word(1)), "accuracy"))
    right = evaluator(mixture_or_task_name="toy_copy")
    run(right, copy)
    assert right.collapses() == {}
    fixed = evaluator(mixture_or_task_name="toy_copy")
    run(fixed, lambda batch: np.tile(np.array(BYTES.vocabulary.encode(word(1)) + [1]), (B, 1)))
    assert fixed.collapses() == {"toy_copy": f"100 % of the answers are {word(1)!r}"}
    told = fixed.answers()["toy_copy"]
    assert (told["same_answer"], told["invalid_answers"]) == (100, 0)
    assert told["constant_answer"] == pytest.approx(100 / 11)  # all words differ


def test_one_answer_to_targets_that_are_all_one_is_right():
    register("toy_one", 1, [accuracy])
    register_info("toy_one", TaskInfo((word(0),), "accuracy"))
    one = evaluator(mixture_or_task_name="toy_one")
    run(one, copy)
    assert one.answers()["toy_one"]["same_answer"] == 100 and one.collapses() == {}


def test_the_mean_is_of_the_tasks_key_metrics():
    register_info("toy_upper", TaskInfo((), "mean_score"))
    metrics = run(evaluator(), copy, lambda batch: np.full(B, -4.0))
    assert metrics["mean"]["key_metric"] == (100 - 4) / 2


def test_a_key_metric_that_is_not_computed_is_refused_before_the_model_is_asked():
    register_info("toy_copy", TaskInfo((), "f1"))
    with pytest.raises(UserError, match="'f1' of task 'toy_copy'.*accuracy"):
        evaluator()


def test_in_place_of_the_default_key_metric_the_first_one_counts(capsys):
    """As t5's SQuAD, whose metrics are em and f1."""

    def em_and_f1(targets, predictions):
        exact = 100 * np.mean([t == p for t, p in zip(targets, predictions, strict=True)])
        return {"em": exact, "f1": np.float32(50)}

    register("toy_squad", 5, [em_and_f1])
    evaluation = evaluator(mixture_or_task_name=["toy_squad", "toy_copy"])
    assert evaluation.key_metrics == {"toy_squad": "em", "toy_copy": "accuracy"}
    (note,) = capsys.readouterr().err.splitlines()
    assert "'toy_squad' has no metric 'accuracy'" in note and "'em'" in note and "f1" in note
    metrics = run(evaluation, lambda batch: np.zeros((B, S), np.int32))
    assert metrics["toy_squad"] == {"em": 0, "f1": 50}
    assert metrics["mean"] == {"key_metric": 0}


def test_what_is_no_number_is_left_out(tmp_path):
    def numbers_and_others(targets, predictions):
        return {
            "shown": seqio.metrics.Text("five rows"),
            "toy_examples": {"targets": targets, "predictions": predictions},
            "histogram": seqio.metrics.Histogram(np.arange(3.0)),
            "name": "12",
            "right": seqio.metrics.Scalar(np.float64(12)),
            "share": np.array(0.5),
        }

    register("toy_texts", 5, [numbers_and_others])
    evaluation = evaluator(mixture_or_task_name="toy_texts")
    assert evaluation.key_metrics == {"toy_texts": "right"}
    metrics = run(evaluation, copy)
    assert metrics == {"toy_texts": {"right": 12, "share": 0.5}, "mean": {"key_metric": 12}}

    register("toy_speechless", 2, [lambda targets, predictions: {"t": seqio.metrics.Text("x")}])
    with pytest.raises(UserError, match="No metric of task 'toy_speechless' is a number"):
        evaluator(mixture_or_task_name="toy_speechless")


def divides(targets, predictions, by=0):
    return {"accuracy": 1 / by}


def picky(targets, predictions):
    return {"accuracy": sum(int(p) for p in predictions)}


@pytest.mark.parametrize(
    ("metric", "name"), [(divides, "divides"), (functools.partial(divides, by=0), "divides")]
)
def test_a_metric_that_fails_on_right_answers_is_refused_at_once(metric, name):
    register("toy_broken", 2, [accuracy, metric])
    message = f"The metric '{name}' of task 'toy_broken' fails: ZeroDivisionError"
    with pytest.raises(UserError, match=message):
        evaluator(mixture_or_task_name=["toy_copy", "toy_broken"])


def test_a_metric_that_fails_on_a_prediction_is_named(monkeypatch):
    monkeypatch.setitem(globals(), "word", str)
    register("toy_numbers", 3, [picky])
    evaluation = evaluator(mixture_or_task_name="toy_numbers")
    with pytest.raises(UserError, match="The metric 'picky' of task 'toy_numbers' fails: Value"):
        run(evaluation, lambda batch: np.full((B, S), 68, np.int32))


def test_a_key_metric_that_is_not_defined_makes_no_number_of_the_mean():
    def sometimes(targets, predictions):
        return {"accuracy": 100.0} if targets == predictions else {}

    register("toy_sometimes", 2, [sometimes])
    evaluation = evaluator(mixture_or_task_name=["toy_copy", "toy_sometimes"])
    metrics = run(evaluation, lambda batch: np.zeros((B, S), np.int32))
    assert np.isnan(metrics["mean"]["key_metric"])


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
        run(evaluator(), copy, minus_length, output_dir=tmp_path / "file")
