"""The five SuperGLUE targets of the paper, and ReCoRD, one of its sources."""

import tensorflow as tf

from mpt_jax.tasks import metrics, postprocessors
from mpt_jax.tasks.paper import splits
from mpt_jax.tasks.paper.task import SMALL_EPOCHS, Form, PaperTask, Row, accuracy

_FALSE_TRUE = ("False", "True")


def without_markup(text: tf.Tensor) -> tf.Tensor:
    """HTML line breaks become spaces, bold marks go."""
    return tf.strings.regex_replace(tf.strings.regex_replace(text, "<br>", " "), "</?b>", "")


def answer_of_question(row: Row) -> Row:
    """MultiRC: one answer to judge; "group" [2] int32 says of which paragraph and question."""
    texts = {name: without_markup(row[name]) for name in ("question", "answer", "paragraph")}
    return {**texts, "group": tf.stack([row["idx"]["paragraph"], row["idx"]["question"]])}


def marked_spans(row: Row) -> Row:
    """WSC: the text with the noun between stars and the pronoun between hashes."""
    spans = tf.stack([row["span1_text"], row["span2_text"]])
    starts = tf.stack([row["span1_index"], row["span2_index"]])
    signs = tf.constant(["*", "#"])
    text = row["text"]
    for i in tf.unstack(tf.argsort(starts, direction="DESCENDING")):  # a mark moves what follows
        text = _mark(text, spans[i], starts[i], signs[i])
    return {"text": text}


def _mark(text: tf.Tensor, span: tf.Tensor, start: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
    """Puts `sign` around `span` at word number `start`; a text without it there stays as it is."""
    words = tf.strings.split(text)
    before = tf.strings.reduce_join(words[:start], separator=" ")
    after = tf.strings.reduce_join(words[start:], separator=" ")
    length, total = tf.strings.length(span), tf.strings.length(after)
    marked = tf.strings.strip(tf.strings.join([before, sign, span, sign], " "))
    marked += tf.strings.substr(after, tf.minimum(length, total), total)
    return tf.where(tf.strings.substr(after, 0, length) == span, marked, text)


def one_row_per_answer(rows: tf.data.Dataset, training: bool) -> tf.data.Dataset:
    """ReCoRD: in training a row for each right answer, else one with the first of them."""

    def with_answer(row: Row) -> tf.data.Dataset:
        answers = row["answers"] if training else row["answers"][:1]
        return tf.data.Dataset.from_tensor_slices(answers).map(lambda one: {**row, "answer": one})

    return rows.flat_map(with_answer)


def cloze(row: Row) -> Row:
    """ReCoRD: the highlights under a passage become sentences of it; entities in one line."""
    highlight = "\n@highlight\n"
    passage = tf.strings.regex_replace(row["passage"], rf"""([.?!"']){highlight}""", r"\1 ")
    return {
        "query": row["query"],
        "entities": tf.strings.reduce_join(row["entities"], separator=", "),
        "passage": tf.strings.regex_replace(passage, highlight, ". "),
        "targets": row["answer"],
        "references": row["answers"],
    }


def f1_over_answers(words: tuple[str, ...]) -> list[metrics.MetricFn]:
    """MultiRC's two metrics."""
    return [metrics.multirc(positive=words[1], negative=words[0])]


TASKS = {
    "multirc": PaperTask(
        builder="super_glue/multirc:1.0.2",
        splits=splits.HALVES,
        t5=Form("multirc", "question: {question} answer: {answer} paragraph: {paragraph}"),
        attempt=Form(
            "superglue-multirc", "question: {question} answer: {answer} paragraph: {paragraph}"
        ),
        words=_FALSE_TRUE,
        metrics=f1_over_answers,
        key_metric="f1",
        read=answer_of_question,
        postprocess_fn=postprocessors.grouped,
        input_length=348,
    ),
    "boolq": PaperTask(
        builder="super_glue/boolq:1.0.2",
        splits=splits.HALVES,
        t5=Form("boolq", "passage: {passage} question: {question}"),
        attempt=Form("superglue-boolq", "question: {question} passage: {passage}"),
        words=_FALSE_TRUE,
        epochs=SMALL_EPOCHS,
    ),
    "wic": PaperTask(
        builder="super_glue/wic:1.0.2",
        splits=splits.HALVES,
        t5=Form("wic", "sentence1: {sentence1} sentence2: {sentence2} word: {word}"),
        attempt=Form("superglue-wic", "sentence1: {sentence1} sentence2: {sentence2} word: {word}"),
        words=_FALSE_TRUE,
        epochs=SMALL_EPOCHS,
    ),
    "wsc": PaperTask(
        builder="super_glue/wsc.fixed:1.0.2",
        splits=splits.HALVES,
        t5=Form("wsc", "text: {text}"),
        attempt=Form("superglue-wsc.fixed", "text: {text}"),
        words=_FALSE_TRUE,
        read=marked_spans,
        epochs=SMALL_EPOCHS,
    ),
    "cb": PaperTask(
        builder="super_glue/cb:1.0.2",
        splits=splits.HALVES,
        t5=Form("cb", "hypothesis: {hypothesis} premise: {premise}"),
        attempt=Form("superglue-cb", "premise: {premise} hypothesis: {hypothesis}"),
        words=("entailment", "contradiction", "neutral"),
        metrics=lambda words: [*accuracy(words), metrics.macro_f1],
        epochs=SMALL_EPOCHS,
    ),
    "record": PaperTask(
        builder="super_glue/record:1.0.2",
        splits=splits.held_out(),
        t5=Form("record", "query: {query} entities: {entities} passage: {passage}"),
        attempt=Form(
            "superglue-record", "record query: {query} entities: {entities} passage: {passage}"
        ),
        metrics=lambda _: [metrics.squad],
        key_metric="f1",
        read=cloze,
        arrange=one_row_per_answer,
        postprocess_fn=postprocessors.references,
        target_length=64,
    ),
}
