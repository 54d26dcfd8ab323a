"""The two data-to-text targets of the paper, in a wording of ours: T5 and ATTEMPT have neither."""

from collections.abc import Callable

import tensorflow as tf

from mpt_jax.tasks import metrics, postprocessors
from mpt_jax.tasks.paper import splits
from mpt_jax.tasks.paper.task import Form, PaperTask, Row

_MOST_REFERENCES = 1000  # to one meaning: far more than there are


def references_together(rows: tf.data.Dataset, training: bool) -> tf.data.Dataset:
    """E2E: trained on row by row; else all texts of one meaning representation are one row.

    TFDS stores each text as a separate row, in no order.
    """
    texts = rows.map(
        lambda row: {
            "meaning": row["meaning_representation"],
            "targets": row["target"],
            "references": row["target"][None],
        }
    )
    if training:
        return texts
    groups = texts.group_by_window(
        key_func=lambda row: tf.strings.to_hash_bucket_fast(row["meaning"], tf.int64.max),
        reduce_func=lambda _, same: same.batch(_MOST_REFERENCES),
        window_size=_MOST_REFERENCES,
    )
    return groups.map(
        lambda rows: {
            "meaning": rows["meaning"][0],
            "targets": rows["targets"][0],
            "references": rows["targets"],
        }
    )


def triples(row: Row) -> Row:
    """WebNLG: the triples "subject | property | object" in one line, in the order of the data."""
    given = row["references"]
    return {
        "triples": tf.strings.reduce_join(row["input"], separator=" && "),
        "targets": row["target"],
        "references": tf.cond(tf.size(given) > 0, lambda: given, lambda: row["target"][None]),
    }


def _task(builder: str, form: Form, **how: Callable) -> PaperTask:
    return PaperTask(
        builder=builder,
        splits=splits.OWN,
        t5=form,
        metrics=lambda _: [metrics.bleu],
        key_metric="bleu",
        postprocess_fn=postprocessors.references,
        target_length=128,
        **how,
    )


TASKS = {
    "e2e": _task(
        "gem/e2e_nlg:1.1.0", Form("e2e", "meaning: {meaning}"), arrange=references_together
    ),
    "webnlg": _task("gem/web_nlg_en:1.1.0", Form("webnlg", "triples: {triples}"), read=triples),
}
