"""Runs that train nothing: evaluation of a split, and prediction for lines of text."""

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from mpt_jax import files, hosts
from mpt_jax.engine import step as step_lib
from mpt_jax.engine.checkpoints import RestoreCheckpointConfig
from mpt_jax.engine.data import DatasetConfig, pad_rows
from mpt_jax.engine.evaluation import Evaluator, Metrics
from mpt_jax.engine.initialize import check_backbone_is_there, initial_params, token_shapes
from mpt_jax.engine.length_buckets import cut_batch
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.errors import UserError, did_you_mean

METRICS_FILE = "metrics.json"


def evaluate(
    *,
    model: Any,
    dataset_cfg: DatasetConfig,
    restore_checkpoint_cfg: RestoreCheckpointConfig,
    partitioner: PjitPartitioner,
    output_dir: str,
) -> dict[str, dict[str, float]]:
    """Decode a split and score it; T5X's `eval.evaluate`.

    Prints the metrics and writes `<output_dir>/metrics.json` and `<task>.jsonl` (inputs, targets,
    predictions).

    Args:
        model: with the prompts to evaluate, e.g. `methods.restored.Restored`.
        dataset_cfg: tasks, split, lengths and batch size.
        restore_checkpoint_cfg: the backbone.
        partitioner: the mesh.
        output_dir: made where it is missing.

    Returns:
        {task: {metric: value}}, and the mean of the key metrics under "mean".

    Raises:
        UserError: bad settings or files; an output folder that cannot be written, before any
            work is done.
    """
    check_evaluation(model, dataset_cfg, restore_checkpoint_cfg, partitioner, output_dir)
    results = _evaluate(model, dataset_cfg, restore_checkpoint_cfg, partitioner, output_dir)
    put_out_metrics(results, output_dir)
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
    path = os.path.join(output_dir, METRICS_FILE)
    hosts.on_first(lambda: files.check_writable(path, setting="EVAL_OUTPUT_DIR"))


def put_out_metrics(results: Metrics, output_dir: str) -> None:
    """Prints the metrics and writes `<output_dir>/metrics.json`; every process calls it."""
    path = os.path.join(output_dir, METRICS_FILE)
    text = json.dumps(results, indent=2) + "\n"
    hosts.on_first(lambda: files.write_whole(path, text, setting="EVAL_OUTPUT_DIR"))
    if hosts.is_first():
        for task, metrics in results.items():
            print(task, "  ".join(f"{name} {value:.2f}" for name, value in metrics.items()))


def _evaluate(
    model: Any,
    dataset_cfg: DatasetConfig,
    restore: RestoreCheckpointConfig,
    partitioner: PjitPartitioner,
    output_dir: str,
) -> dict[str, dict[str, float]]:
    evaluator = Evaluator(dataset_cfg, model.FEATURE_CONVERTER_CLS)
    lengths = dataset_cfg.task_feature_lengths
    params = _params(model, partitioner, restore, lengths, dataset_cfg.batch_size)
    predict = step_lib.make_eval_step(model.predict_batch, partitioner)
    score = step_lib.make_eval_step(model.score_batch, partitioner)
    return evaluator.run(
        lambda batch: predict({}, params, partitioner.shard_whole_batch(batch)),
        lambda batch: score({}, params, partitioner.shard_whole_batch(batch)),
        output_dir=output_dir,
    )


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
) -> None:
    """Predict for lines of text, one input each; write a JSON object a line, in order.

    Args:
        model: with trained prompts.
        restore_checkpoint_cfg: the backbone.
        partitioner: the mesh.
        inputs: a UTF-8 text file; empty lines are refused.
        task_feature_lengths: token limits; longer inputs are cut.
        batch_size: rows decoded at a time.
        task: whose prompt to use; may be left out where there is one task.
        output: file to write; None: standard output.

    Raises:
        UserError: unknown task, unreadable or empty input, an output that cannot be written;
            all before any work is done.
    """
    partitioner.check_batch_size(batch_size)
    task_id, lines = read_inputs(model.tasks, task, inputs, output)
    params = _params(model, partitioner, restore_checkpoint_cfg, task_feature_lengths, batch_size)
    predict = step_lib.make_eval_step(model.predict_batch_with_aux, partitioner)
    records = []
    for start in range(0, len(lines), batch_size):
        chunk = lines[start : start + batch_size]
        batch = pad_rows(text_batch(model, chunk, task_id, task_feature_lengths), batch_size)
        batch = cut_batch(batch, {"inputs": _powers_of_two(task_feature_lengths["inputs"])})
        ids, aux = jax.device_get(predict({}, params, partitioner.shard_whole_batch(batch)))
        records += [
            prediction(model, task_id, text, row, score)
            for text, row, score in zip(chunk, ids, aux["scores"], strict=False)
        ]
    hosts.on_first(lambda: put_out("".join(records), output))


def read_inputs(
    tasks: tuple[str, ...], task: str | None, inputs: str, output: str | None
) -> tuple[int, list[str]]:
    """The task's id and the lines of text; arguments and errors are those of `infer`."""
    task_id, lines = _task_id(tasks, task), _read_lines(inputs)
    if output is not None:
        hosts.on_first(lambda: files.check_writable(output, setting="OUTPUT"))
    return task_id, lines


def prediction(model: Any, task_id: int, text: str, ids: np.ndarray, score: float) -> str:
    """One line of JSON for an input text and its decoded ids [S]."""
    record = {
        "task": model.tasks[task_id],
        "input": text,
        "prediction": model.output_vocabulary.decode(ids.tolist()),
        "score": round(float(score), 6),
    }
    return json.dumps(record, ensure_ascii=False) + "\n"


def _params(
    model: Any,
    partitioner: PjitPartitioner,
    restore: RestoreCheckpointConfig,
    lengths: Mapping[str, int],
    batch_size: int,
) -> dict:
    shapes = token_shapes(batch_size, lengths)
    return initial_params(model, partitioner, restore, shapes, jax.random.key(0))


def _task_id(tasks: tuple[str, ...], task: str | None) -> int:
    if task is None and len(tasks) == 1:
        return 0
    if task not in tasks:
        asked = "no TASK was given" if task is None else f"task {task!r} is not in the prompt file"
        raise UserError(f"{asked}; it holds {', '.join(tasks)}." + did_you_mean(task or "", tasks))
    return tasks.index(task)


def _read_lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read INPUTS {path!r} as UTF-8 text: {error}.") from error
    if not lines:
        raise UserError(f"INPUTS {path!r} is empty: give one input a line.")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            raise UserError(f"INPUTS {path!r}, line {number} is empty: remove it or fill it.")
    return lines


def text_batch(
    model: Any, lines: list[str], task_id: int, lengths: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """Tokenised lines as a batch [B, T]; the decoder side is empty and S long."""
    vocabulary = model.input_vocabulary
    tokens = np.zeros((len(lines), lengths["inputs"]), np.int32)
    for row, line in zip(tokens, lines, strict=True):
        ids = [*vocabulary.encode(line)[: len(row) - 1], vocabulary.eos_id]
        row[: len(ids)] = ids
    empty = np.zeros((len(lines), lengths["targets"]), np.int32)
    return {
        "encoder_input_tokens": tokens,
        "decoder_input_tokens": empty,
        "decoder_target_tokens": empty,
        "decoder_loss_weights": empty,
        "task_ids": np.full((len(lines),), task_id, np.int32),
    }


def _powers_of_two(limit: int) -> list[int]:
    return [length for length in (2**n for n in range(4, 20)) if length < limit]


def put_out(text: str, path: str | None) -> None:
    """Writes `text` to the file, or to standard output; the first process alone calls it."""
    if path is None:
        sys.stdout.write(text)
    else:
        files.write_whole(path, text, setting="OUTPUT")
