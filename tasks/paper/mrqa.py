"""Questions answered by a span of their context: four MRQA targets, and SQuAD, a source."""

from collections.abc import Callable

import tensorflow as tf

from mpt_jax.tasks import metrics, postprocessors
from mpt_jax.tasks.paper import splits
from mpt_jax.tasks.paper.task import MRQA_EPOCHS, Form, PaperTask, Row

_TEMPLATE = "question: {question} context: {context}"


def spaced(text: tf.Tensor) -> tf.Tensor:
    """Punctuation (ASCII) apart from words, as T5 writes SQuAD, and all white space one space."""
    text = tf.strings.regex_replace(text, "([[:punct:]])", r" \1 ")
    return tf.strings.strip(tf.strings.regex_replace(text, r"\s+", " "))


def question(row: Row) -> Row:
    """MRQA: the first answer is the target, all of them are references."""
    answers = spaced(row["answers"])
    return {
        "question": spaced(row["question"]),
        "context": spaced(row["context"]),
        "targets": answers[0],
        "references": answers,
    }


def squad_question(row: Row) -> Row:
    """SQuAD, whose answers are one level down."""
    return question({**row, "answers": row["answers"]["text"]})


def _task(builder: str, read: Callable[[Row], Row] = question, length: int = 512) -> PaperTask:
    return PaperTask(
        builder=builder,
        splits=splits.held_out(),
        t5=Form("", _TEMPLATE),
        attempt=Form("squad", _TEMPLATE),  # one name for all five there
        metrics=lambda _: [metrics.squad],
        key_metric="f1",
        read=read,
        features=("question", "context", "answers"),  # the tokens in MRQA's rows cost most
        postprocess_fn=postprocessors.references,
        input_length=length,
        target_length=64,
        epochs=MRQA_EPOCHS,
    )


TASKS = {
    "squad": _task("squad/v1.1:3.0.0", squad_question, 256),
    "nq": _task("mrqa/natural_questions:1.0.0"),
    "hotpotqa": _task("mrqa/hotpot_qa:1.0.0"),
    "searchqa": _task("mrqa/search_qa:1.0.0"),
    "newsqa": _task("mrqa/news_qa:1.0.0"),
}
