"""The eight GLUE tasks of the paper."""

import tensorflow as tf

from mpt_jax.tasks import metrics
from mpt_jax.tasks.paper import splits
from mpt_jax.tasks.paper.task import SMALL_EPOCHS, Form, PaperTask, Row, accuracy_and_f1


def similarity(row: Row) -> Row:
    """STS-B: the score as the nearest multiple of 0.2, "0.0" to "5.0" (half to even, as T5)."""
    return {**row, "targets": tf.strings.as_string(tf.round(row["label"] * 5) / 5, precision=1)}


TASKS = {
    "mnli": PaperTask(
        builder="glue/mnli:2.0.0",
        splits=splits.MNLI,
        t5=Form("mnli", "hypothesis: {hypothesis} premise: {premise}"),
        attempt=Form("mnli", "premise: {premise} hypothesis: {hypothesis}"),
        words=("entailment", "neutral", "contradiction"),
    ),
    "qqp": PaperTask(
        builder="glue/qqp:2.0.0",
        splits=splits.held_out(),
        t5=Form("qqp", "question1: {question1} question2: {question2}"),
        words=("not_duplicate", "duplicate"),
        metrics=accuracy_and_f1,
    ),
    "qnli": PaperTask(
        builder="glue/qnli:2.0.0",
        splits=splits.held_out(),
        t5=Form("qnli", "question: {question} sentence: {sentence}"),
        words=("entailment", "not_entailment"),
    ),
    "sst2": PaperTask(
        builder="glue/sst2:2.0.0",
        splits=splits.held_out(),
        t5=Form("sst2", "sentence: {sentence}"),
        words=("negative", "positive"),
    ),
    "stsb": PaperTask(
        builder="glue/stsb:2.0.0",
        splits=splits.HALVES,
        t5=Form("stsb", "sentence1: {sentence1} sentence2: {sentence2}"),
        metrics=lambda _: [metrics.correlation],
        key_metric="pearson",
        read=similarity,
        epochs=SMALL_EPOCHS,
    ),
    "mrpc": PaperTask(
        builder="glue/mrpc:2.0.0",
        splits=splits.HALVES,
        t5=Form("mrpc", "sentence1: {sentence1} sentence2: {sentence2}"),
        words=("not_equivalent", "equivalent"),
        metrics=accuracy_and_f1,
        epochs=SMALL_EPOCHS,
    ),
    "rte": PaperTask(
        builder="glue/rte:2.0.0",
        splits=splits.HALVES,
        t5=Form("rte", "sentence1: {sentence1} sentence2: {sentence2}"),
        words=("entailment", "not_entailment"),
        epochs=SMALL_EPOCHS,
    ),
    "cola": PaperTask(
        builder="glue/cola:2.0.0",
        splits=splits.HALVES,
        t5=Form("cola", "sentence: {sentence}"),
        words=("unacceptable", "acceptable"),
        metrics=lambda _: [metrics.matthews],
        key_metric="matthews",
        epochs=SMALL_EPOCHS,
    ),
}
