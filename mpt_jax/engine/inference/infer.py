"""Prediction for lines of text."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from mpt_jax import hosts
from mpt_jax.engine.inference.input_lines import STANDARD_INPUT, InputLines
from mpt_jax.engine.inference.output_lines import ANSWER, OutputLines
from mpt_jax.engine.inference.predictor import Prediction, Predictor, Row, TextReader
from mpt_jax.engine.settings import Inference
from mpt_jax.errors import UserError
from mpt_jax.product.description import ProductInfo


def infer(settings: Inference) -> None:
    """Predict for lines of text; write a JSON object a line, in order, batch by batch.

    A file is checked from end to end before the work; a run that was stopped goes on where it was
    (see `output_lines`).

    Raises:
        UserError: unknown task, bad input (the line is named), an output that cannot be written
            or is of another run.
    """
    model, batch_size = settings.model, settings.batch_size
    lines = open_lines(settings)
    with OutputLines(settings.output) as out:
        predictor = Predictor(
            model,
            settings.params(jax.random.key(0)),
            settings.partitioner,
            lengths=settings.task_feature_lengths,
            batch_size=batch_size,
        )
        answer = predictor.predict
        if settings.rank_labels:
            answer = _ranker(predictor, model.method.info)
        count = truncated = 0
        size = None
        streams = settings.inputs == STANDARD_INPUT  # whose batches are of any size
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


def open_lines(settings: Inference) -> InputLines:
    """The lines of text, checked where they are a file; errors are `infer`'s."""
    model, inputs = settings.model, settings.inputs
    if inputs == STANDARD_INPUT and jax.process_count() > 1:
        raise UserError("INPUTS = '-' is read by one process: give several hosts a file.")
    limit = settings.task_feature_lengths["inputs"]
    reader = TextReader(model.input_vocabulary, model.tasks, limit, settings.too_long)
    forms = model.method.info.input_forms
    lines = InputLines(inputs, reader, settings.task, forms, settings.input_format)
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
    predictor: Predictor, info: ProductInfo
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
