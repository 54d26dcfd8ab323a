"""Runs that train nothing: evaluation of a split, and prediction for lines of text."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from mpt_jax import feature_lengths, files, hosts, run_layout
from mpt_jax.configuration import config
from mpt_jax.engine import step as step_lib
from mpt_jax.engine.data.length_buckets import Batch
from mpt_jax.engine.data.pipeline import DatasetConfig, check_vocabularies
from mpt_jax.engine.evaluation import confusion as confusion_lib
from mpt_jax.engine.evaluation.confusion import Confusion
from mpt_jax.engine.evaluation.evaluator import Evaluator, PredictFn
from mpt_jax.engine.evaluation.task_metrics import Metrics
from mpt_jax.engine.inference.input_lines import STANDARD_INPUT, InputLines
from mpt_jax.engine.inference.output_lines import ANSWER, OutputLines
from mpt_jax.engine.inference.predictor import (
    TRUNCATE,
    Prediction,
    Predictor,
    Row,
    TextReader,
    label_tokens,
)
from mpt_jax.engine.initialize import (
    RestoreCheckpointConfig,
    check_backbone_is_there,
    initial_params,
    token_shapes,
)
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.engine.records import evaluated
from mpt_jax.errors import UserError
from mpt_jax.product import prompt_file


def evaluate(
    *,
    model: Any,
    dataset_cfg: DatasetConfig,
    restore_checkpoint_cfg: RestoreCheckpointConfig,
    partitioner: PjitPartitioner,
    output_dir: str | None = None,
    rank_labels: bool = False,
    confusion: bool = False,
) -> dict[str, dict[str, float]]:
    """Decode a split and score it; T5X's `eval.evaluate`.

    Prints the metrics, for tasks with label words `Evaluator.answers` too. Writes into
    `output_dir` `metrics.json` (see `evaluated`), `<task>.jsonl` (inputs, targets, predictions),
    `<task>.confusion.csv` where asked for, and the configuration, `config_eval.gin`.

    Args:
        model: with the prompts to evaluate, e.g. `methods.restored.Restored`.
        dataset_cfg: tasks, split, lengths and batch size.
        restore_checkpoint_cfg: the backbone.
        partitioner: the mesh.
        output_dir: made where it is missing; None: `evaluated.folder`, next to the prompts.
        rank_labels: answer with the most likely of the task's label words, instead of decoding.
        confusion: write and print the confusion matrix of each task with label words.

    Returns:
        {task: {metric: value}}, and the mean of the key metrics under "mean".

    Raises:
        UserError: bad settings or files; an output folder that cannot be written, before any
            work is done.
    """
    output_dir = output_dir or evaluated.folder(model.method.path, dataset_cfg.split)
    check_evaluation(model, dataset_cfg, restore_checkpoint_cfg, partitioner, output_dir)
    evaluator = Evaluator(dataset_cfg, model.FEATURE_CONVERTER_CLS)
    if rank_labels:
        _check_ranked(evaluator.tasks, model.method.info.label_words)
    if confusion:
        evaluator.check_confusions()
    lengths = dataset_cfg.task_feature_lengths
    params = _params(model, partitioner, restore_checkpoint_cfg, lengths, dataset_cfg.batch_size)
    predict = step_lib.make_eval_step(model.predict_batch, partitioner)
    score = step_lib.make_eval_step(model.score_batch, partitioner)
    ranked = _ranked(model, params, partitioner) if rank_labels else None
    results = evaluator.run(
        ranked or (lambda batch: predict(params, partitioner.shard_whole_batch(batch))),
        lambda batch: score(params, partitioner.shard_whole_batch(batch)),
        output_dir=output_dir,
    )
    of = evaluated.facts(model.method.path, dataset_cfg.split, lengths, rank_labels)
    of |= {evaluated.KEYS: evaluator.key_metrics, evaluated.ANSWERS: evaluator.answers()}
    put_out_metrics(results, of, output_dir, evaluator.confusions() if confusion else {})
    return results


def check_evaluation(
    model: Any,
    dataset_cfg: DatasetConfig,
    restore: RestoreCheckpointConfig,
    partitioner: PjitPartitioner,
    output_dir: str,
) -> None:
    """Raises UserError for what can be seen of `evaluate`'s arguments before any work is done."""
    partitioner.check_batch_size(dataset_cfg.batch_size)
    check_backbone_is_there(model, restore)
    check_vocabularies(dataset_cfg, model.input_vocabulary, model.output_vocabulary)
    path = os.path.join(output_dir, run_layout.EVALUATION)
    hosts.on_first(lambda: files.check_writable(path, setting="EVAL_OUTPUT_DIR"))


def put_out_metrics(
    results: Metrics,
    of: Mapping[str, Any],
    output_dir: str,
    confusions: Mapping[str, Confusion],
) -> None:
    """Prints what was found, and writes it with the configuration; every process calls it.

    The metrics are written last: where they are, the evaluation has come to its end.

    Args:
        results: the metrics.
        of: what was evaluated, as `evaluated.write` takes it.
        output_dir: of the evaluation.
        confusions: by task; of a task without one the file of an earlier evaluation is removed.
    """
    path = os.path.join(output_dir, run_layout.EVALUATION_CONFIG)
    text = config.operative_config()
    hosts.on_first(lambda: files.write_whole(path, text, setting="EVAL_OUTPUT_DIR"))
    hosts.on_first(lambda: _write_confusions(output_dir, of[evaluated.KEYS], confusions))
    hosts.on_first(lambda: evaluated.write(output_dir, results, of))
    if hosts.is_first():
        for task, metrics in results.items():
            told = {**metrics, **of[evaluated.ANSWERS].get(task, {})}
            print(task, "  ".join(f"{name} {value:.2f}" for name, value in told.items()))
            if task in confusions:
                print(*confusion_lib.told(confusions[task]), sep="\n")


def _write_confusions(
    output_dir: str, tasks: Iterable[str], confusions: Mapping[str, Confusion]
) -> None:
    for task in tasks:
        path = evaluated.file_of(output_dir, task, confusion_lib.SUFFIX)
        if task in confusions:
            text = confusion_lib.to_csv(confusions[task])
            files.write_whole(path, text, setting="EVAL_OUTPUT_DIR")
        else:
            path.unlink(missing_ok=True)


def _check_ranked(tasks: Sequence[str], words: Mapping[str, Sequence[str]]) -> None:
    for task in tasks:
        if not words.get(task):
            raise UserError(
                f"RANK_LABELS: task {task!r} has no label words to rank; name those that have "
                "some, --gin.MIXTURE_OR_TASK_NAME=\"['...']\"."
            )


def _ranked(model: Any, params: Mapping, partitioner: PjitPartitioner) -> PredictFn:
    """Token ids [B, S] of the most likely of the label words of each row's task."""
    words = [model.method.info.label_words.get(task, ()) for task in model.tasks]
    labels = label_tokens(model.output_vocabulary, words, len(words))
    known = labels.any(axis=2)  # a label has at least its end
    rank = step_lib.make_eval_step(model.rank_batch, partitioner)

    def predict(batch: Batch) -> np.ndarray:
        tasks = batch["task_ids"]
        asked = {name: batch[name] for name in ("encoder_input_tokens", "task_ids")}
        asked["label_tokens"] = labels[tasks]
        scores = jax.device_get(rank(params, partitioner.shard_whole_batch(asked)))
        best = np.where(known[tasks], scores, -np.inf).argmax(axis=1)
        return labels[tasks, best]

    return predict


def infer(
    *,
    model: Any,
    restore_checkpoint_cfg: RestoreCheckpointConfig,
    partitioner: PjitPartitioner,
    inputs: str,
    task_feature_lengths: Mapping[str, int],
    batch_size: int,
    task: str | None = None,
    output: str | None = None,
    input_format: str | None = None,
    too_long: str = TRUNCATE,
    rank_labels: bool = False,
) -> None:
    """Predict for lines of text; write a JSON object a line, in order, batch by batch.

    A file is checked from end to end before the work; a run that was stopped goes on where it was
    (see `output_lines`).

    Args:
        model: with trained prompts, a `methods.restored.Restored`.
        restore_checkpoint_cfg: the backbone.
        partitioner: the mesh.
        inputs: a UTF-8 file of plain text; or, named *.jsonl, *.csv or *.tsv, of rows with "input"
            (or the fields of their task's form of inputs) and perhaps "task"; "-": standard input,
            answered as it comes.
        task_feature_lengths: token limits.
        batch_size: rows decoded at a time, of any tasks.
        task: of rows that name none; may be left out where the bank has one.
        output: file to write; None: standard output.
        input_format: "text", "jsonl", "csv" or "tsv", where the name does not say it.
        too_long: "truncate" longer texts, and say how many, or "refuse" them.
        rank_labels: predict the most likely of the task's label words, instead of decoding.

    Raises:
        UserError: unknown task, bad input (the line is named), an output that cannot be written
            or is of another run.
    """
    feature_lengths.check(task_feature_lengths)
    partitioner.check_batch_size(batch_size)
    lines = open_lines(model, inputs, task, task_feature_lengths["inputs"], input_format, too_long)
    with OutputLines(output) as out:
        params = _params(
            model, partitioner, restore_checkpoint_cfg, task_feature_lengths, batch_size
        )
        predictor = Predictor(
            model, params, partitioner, lengths=task_feature_lengths, batch_size=batch_size
        )
        answer = _ranker(predictor, model.method.info) if rank_labels else predictor.predict
        count = truncated = 0
        size = None
        streams = inputs == STANDARD_INPUT  # whose batches are of any size
        for number, rows in enumerate(lines.batches(batch_size)):
            size = predictor.rows_for(len(rows)) if streams or size is None else size
            count, truncated = count + len(rows), truncated + sum(row.truncated for row in rows)
            if count < out.done:
                out.skip([record(model.tasks, row) for row in rows])
                continue
            answers = answer(rows, size, number)
            out.put([record(model.tasks, *pair) for pair in zip(rows, answers, strict=True)])
    if truncated:
        hosts.warn(lines.reader.truncation(truncated, count))


def open_lines(
    model: Any,
    inputs: str,
    task: str | None,
    limit: int,
    input_format: str | None = None,
    too_long: str = TRUNCATE,
) -> InputLines:
    """The lines of text, checked where they are a file; arguments and errors are `infer`'s."""
    if inputs == STANDARD_INPUT and jax.process_count() > 1:
        raise UserError("INPUTS = '-' is read by one process: give several hosts a file.")
    reader = TextReader(model.input_vocabulary, model.tasks, limit, too_long)
    lines = InputLines(inputs, reader, task, model.method.info.input_forms, input_format)
    lines.check()
    return lines


def record(tasks: Sequence[str], row: Row, answer: Prediction | None = None) -> dict[str, Any]:
    """What a line of the output says; without an answer, what it says of the input.

    Other fields of the line that was answered, as an "id", come after our own.
    """
    found = {"task": tasks[row.task_id], "input": row.text}
    others = {name: x for name, x in row.fields.items() if name not in ANSWER and name not in found}
    if answer is not None:
        found.update(zip(ANSWER, (answer.text, round(answer.score, 6)), strict=True))
    return {**found, **others}


def _ranker(
    predictor: Predictor, info: prompt_file.PromptInfo
) -> Callable[[list[Row], int, int], list[Prediction]]:
    """As `Predictor.predict`, but of a task's label words the most likely one."""
    tasks = predictor.model.tasks
    words = [tuple(info.label_words.get(task, ())) for task in tasks]

    def rank(rows: list[Row], size: int, number: int) -> list[Prediction]:
        for row in rows:
            if not words[row.task_id]:
                raise UserError(f"task {tasks[row.task_id]!r} has no label words to rank.")
        labels = [words[row.task_id] for row in rows]
        scores = predictor.rank(rows, labels, size)
        best = [int(found.argmax()) for found in scores]
        return [Prediction(labels[r][i], float(scores[r][i])) for r, i in enumerate(best)]

    return rank


def _params(
    model: Any,
    partitioner: PjitPartitioner,
    restore: RestoreCheckpointConfig,
    lengths: Mapping[str, int],
    batch_size: int,
) -> dict:
    shapes = token_shapes(batch_size, lengths)
    return initial_params(model, partitioner, restore, shapes, jax.random.key(0))
