"""Evaluation and prediction agree with each other and with the texts they were given."""

import dataclasses
import functools
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from mpt_jax import files
from mpt_jax.engine import initialize, saving
from mpt_jax.engine import settings as settings_lib
from mpt_jax.engine.data.pipeline import DatasetConfig
from mpt_jax.engine.evaluation.evaluate import evaluate
from mpt_jax.engine.inference.infer import infer
from mpt_jax.engine.inference.predictor import Predictor
from mpt_jax.engine.initialize import RestoreCheckpointConfig
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.engine.settings import Evaluation, Inference
from mpt_jax.errors import UserError
from mpt_jax.methods.mpt import MPT
from mpt_jax.methods.restored import Restored
from mpt_jax.models import EncoderDecoderModel
from mpt_jax.tasks.mixtures import bind_tasks

TASKS = ("toy_a", "toy_b")
LENGTHS = {"inputs": 12, "targets": 6}


def write(folder, **fields):
    """A backbone, and prompts whose tasks differ."""
    toy.save(folder)
    model = toy.model(MPT(prompt_length=4), TASKS, toy.ONE_LAYER, **fields)
    params = initialize.start(model, toy.one_layer(), jax.random.key(3))
    for leaf in ("task_u", "task_v"):
        shape = params["prompt_bank"][leaf].shape
        params["prompt_bank"][leaf] = 3 * jax.random.normal(jax.random.key(4), shape)
    saving.save(model, str(folder), params, step=0, results={}, feature_lengths=LENGTHS)
    return str(folder)


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("run"))


class Echo(EncoderDecoderModel):
    """Answers with the first bytes of the text, moved on by the task: compiles at once."""

    def predict_batch_with_aux(self, params, batch, rng=None):
        tokens = batch["encoder_input_tokens"][:, : batch["decoder_input_tokens"].shape[1]]
        moved = jnp.where(tokens > 2, tokens + batch["task_ids"][:, None], tokens)
        return moved, {"scores": -tokens.sum(axis=1) / 7}

    def rank_batch(self, params, batch):
        """The better, the nearer a label's length is to the text's."""
        lengths = (batch["encoder_input_tokens"] > 1).sum(axis=1)
        return -abs((batch["label_tokens"] > 0).sum(axis=2) - lengths[:, None]).astype(float)


@pytest.fixture(name="echo")
def _echo(infer, folder, monkeypatch):
    """As `infer`, of a model that needs no parameters."""
    model = toy.model(Restored(folder), TASKS, toy.ONE_LAYER)
    fields = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
    monkeypatch.setattr(settings_lib, "initial_params", lambda *_: {})
    return functools.partial(infer, model=Echo(**fields))


@pytest.fixture(name="infer")
def _infer(folder, tmp_path):
    """`infer` of given lines, as a function that returns the records."""
    model = toy.model(Restored(folder), TASKS, toy.ONE_LAYER)
    names = (f"out_{number}.jsonl" for number in itertools.count())

    def run(text, output="", batch_size=4, model=model, restore=folder, **changes):
        output = next(names) if output == "" else output
        (tmp_path / "lines.txt").write_text(text, encoding="utf-8")
        arguments = {
            "model": model,
            "restore_checkpoint_cfg": RestoreCheckpointConfig(restore),
            "partitioner": PjitPartitioner(),
            "inputs": str(tmp_path / "lines.txt"),
            "task_feature_lengths": LENGTHS,
            "batch_size": batch_size,
            "task": "toy_a",
            "output": output and (output if "://" in output else str(tmp_path / output)),
        }
        infer(Inference(**{**arguments, **changes}))
        return records(tmp_path / output) if output else None

    return run


def records(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_infer_predicts_what_evaluation_did(folder, infer, tmp_path, capsys):
    settings = Evaluation(
        model=toy.model(Restored(folder), TASKS, toy.ONE_LAYER),
        dataset_cfg=DatasetConfig(
            mixture_or_task_name=bind_tasks(list(TASKS), module="toy_tasks"),
            task_feature_lengths=LENGTHS,
            split="test",
            batch_size=8,
            shuffle=False,
            seed=0,
        ),
        restore_checkpoint_cfg=RestoreCheckpointConfig(folder),
        partitioner=PjitPartitioner(),
        output_dir=str(tmp_path / "eval"),
    )
    results = evaluate(settings)
    assert results["mean"]["key_metric"] == np.mean([results[t]["likeness"] for t in TASKS])
    written = files.read_json(tmp_path / "eval" / "metrics.json")
    assert written.pop("evaluated")["split"] == "test" and written == results
    assert (
        f"toy_a likeness {results['toy_a']['likeness']:.2f}  invalid_answers"
        in capsys.readouterr().out
    )
    assert not list((tmp_path / "eval").glob("*.partial"))

    predictions = {}
    for task in TASKS:
        evaluated = records(tmp_path / "eval" / f"{task}.jsonl")
        text = "".join(f"{record['inputs']}\n" for record in evaluated)
        predicted = infer(text + "same\n", task=task, batch_size=8)
        predictions[task] = predicted.pop()["prediction"]
        assert [r["input"] for r in predicted] == [r["inputs"] for r in evaluated]
        assert [r["prediction"] for r in predicted] == [r["predictions"] for r in evaluated]
        assert {r["task"] for r in predicted} == {task}
    assert predictions["toy_a"] != predictions["toy_b"]


def test_a_row_does_not_depend_on_its_batch(infer):
    lines = ["a", "grün", "three words here", "x" * 40, "e"]
    together = infer("\n".join(lines), batch_size=8)
    apart = infer("\n".join(lines[1:]))
    for line, one, other in zip(lines[1:], together[1:], apart, strict=True):
        assert (one["input"], one["prediction"]) == (line, other["prediction"])
        np.testing.assert_allclose(one["score"], other["score"], atol=1e-4)


def test_predictions_go_to_standard_output_without_a_file(echo, capsys):
    echo("one\ntwo\n", output=None)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["input"] for line in lines] == ["one", "two"]


def test_the_task_may_be_left_out_where_there_is_one(echo):
    with pytest.raises(UserError, match="line 1: no task was given; it holds toy_a, toy_b"):
        echo("one\n", task=None)
    with pytest.raises(UserError, match="'toy_aa' is not .* toy_b. Did you mean 'toy_a'"):
        echo("one\n", task="toy_aa")


def test_rows_may_name_their_tasks(echo):
    rows = [{"input": "same", "task": task} for task in (*TASKS, *TASKS[::-1])] + [{"input": "e"}]
    mixed = echo("".join(json.dumps(row) + "\n" for row in rows), input_format="jsonl")
    assert [record["task"] for record in mixed] == [*TASKS, *TASKS[::-1], "toy_a"]
    assert [record["input"] for record in mixed] == [row["input"] for row in rows]
    for task in TASKS:
        (alone,) = echo("same\n", task=task)
        found = {record["prediction"] for record in mixed[:4] if record["task"] == task}
        assert found == {alone["prediction"]}


def test_of_labels_the_most_likely_is_predicted(echo, tmp_path):
    folder = write(tmp_path, label_words={"toy_a": ["bbb", "a"]})
    ranked = functools.partial(
        echo,
        input_format="jsonl",
        rank_labels=True,
        model=dataclasses.replace(echo.keywords["model"], method=Restored(folder)),
    )
    found = ranked('{"input": "x"}\n{"input": "xxx"}\n')
    assert [record["prediction"] for record in found] == ["a", "bbb"]
    assert [record["score"] for record in found] == [-1.0, -1.0]  # the end token is in the label
    with pytest.raises(UserError, match="task 'toy_b' has no label words to rank"):
        ranked('{"input": "x", "task": "toy_b"}\n')


def test_a_stopped_run_goes_on_where_it_was(echo, tmp_path, monkeypatch):
    echo = functools.partial(echo, output="out.jsonl")
    text = "".join(f"line {i}\n" for i in range(11))
    whole = echo(text)
    output, partial = tmp_path / "out.jsonl", tmp_path / "out.jsonl.partial"
    expected = output.read_bytes()

    lines, computed = expected.splitlines(keepends=True), []
    predict = Predictor.predict

    def record(self, rows, size, number):
        computed.append(number)
        return predict(self, rows, size, number)

    monkeypatch.setattr(Predictor, "predict", record)
    output.unlink()
    for left, batches in ((0, [0, 1, 2]), (3, [0, 1, 2]), (4, [0, 1, 2]), (6, [1, 2]), (11, [2])):
        partial.write_bytes(b"".join(lines[:left]) + b'{"task": "toy')
        computed.clear()
        assert echo(text) == whole and output.read_bytes() == expected
        assert computed == batches and not partial.exists()
        computed.clear()
        assert echo(text) == whole and computed == [2]  # a finished run is only checked
        output.unlink()


def test_what_another_run_has_left_is_refused(echo, tmp_path):
    echo = functools.partial(echo, output="out.jsonl")
    text = "one\ntwo\nthree\n"
    echo(text)
    partial = tmp_path / "out.jsonl.partial"
    output = tmp_path / "out.jsonl"
    left = output.read_text()
    output.unlink()
    for content, message in (
        (left.replace("two", "2"), "line 2 belongs to another input than that of INPUTS"),
        (left.replace('"prediction": "', '"prediction": "x', 1), "line 1 holds another prediction"),
        (left * 2, "has 6 lines, INPUTS has 3: it was left by another run. Delete it"),
        ("[1]\n", "line 1 is not a prediction"),
    ):
        partial.write_text(content)
        with pytest.raises(UserError, match=message):
            echo(text)
        assert partial.read_text() == content and not output.exists()
        partial.rename(output)  # as if that run were finished
        with pytest.raises(UserError, match=message):
            echo(text)
        assert output.read_text() == content
        output.unlink()
    output.write_text(left)
    with pytest.raises(UserError, match="has 3 lines, INPUTS has more: it was left by another run"):
        echo(text + "four\nfive\n")
    with pytest.raises(UserError, match="line 1 belongs to another input"):
        echo(text, task="toy_b")
    assert output.read_text() == left


def test_other_fields_of_a_line_are_in_its_answer(echo):
    lines = [{"input": "one", "id": 7, "meta": {"x": [1.5, None]}}, {"id": "b", "input": "two"}]
    found = echo("".join(json.dumps(line) + "\n" for line in lines), input_format="jsonl")
    assert [record["id"] for record in found] == [7, "b"]
    assert found[0]["meta"] == {"x": [1.5, None]} and "meta" not in found[1]
    again = json.dumps({**found[0], "input": "xyz"})  # an answer is asked about once more
    (record,) = echo(f"{again}\n", "new.jsonl", input_format="jsonl")
    assert (record["id"], record["input"], record["prediction"][:3]) == (7, "xyz", "xyz")


def test_a_failed_run_leaves_what_it_has_done(echo, tmp_path, monkeypatch):
    echo = functools.partial(echo, output="out.jsonl")
    predict = Predictor.predict
    monkeypatch.setattr(
        Predictor, "predict", lambda self, rows, size, n: predict(self, rows, size, 1 // (1 - n))
    )
    with pytest.raises(ZeroDivisionError):
        echo("a\nb\nc\nd\ne\n")
    assert not (tmp_path / "out.jsonl").exists()
    assert [r["input"] for r in records(tmp_path / "out.jsonl.partial")] == ["a", "b", "c", "d"]


def test_long_texts_are_truncated_and_counted_or_refused(echo, capsys):
    text = "a short one\nshort\n" + "x" * 40 + "\n"
    cut = echo(text)
    assert cut[2]["input"] == "x" * 40
    assert "t5x: warning: 1 of 3 texts were longer than 12 tokens" in capsys.readouterr().err
    with pytest.raises(UserError, match="line 3 has at least 13 tokens, more than the limit of 12"):
        echo(text, too_long="refuse")


def test_an_output_that_cannot_be_written_is_known_before_the_work(infer, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(settings_lib, "initial_params", pytest.fail)
    with pytest.raises(UserError, match="cannot write .*file/out: .*--gin.OUTPUT=PATH"):
        infer("one\n", output="file/out")
    with pytest.raises(UserError, match="local files only"):
        infer("one\n", output="gs://bucket/out")


def test_a_score_that_is_no_number_is_refused(echo, monkeypatch):
    def overflow(self, params, batch, rng=None):
        tokens = batch["encoder_input_tokens"][:, : batch["decoder_input_tokens"].shape[1]]
        return tokens, {"scores": jnp.full(len(tokens), jnp.nan)}

    monkeypatch.setattr(Echo, "predict_batch_with_aux", overflow)
    with pytest.raises(UserError, match="input 'some text' has the score nan"):
        echo("some text\n", task="toy_a")
