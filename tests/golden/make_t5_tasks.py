"""Writes t5_tasks.json: what T5's own preprocessors and metrics make of a few rows.

Run once, in a separate environment, since t5's dependencies replace seqio and
tensorflow-datasets by older nightlies:

    python -m venv t5_oracle
    t5_oracle/bin/pip install seqio tensorflow-datasets gin-config babel sacrebleu scikit-learn \
        rouge-score
    t5_oracle/bin/pip install --no-deps t5==0.9.4
    t5_oracle/bin/python tests/golden/make_t5_tasks.py

The rows have the traps in them: markup, white space, case, spans in either order, several answers.
"""

import json
import pathlib

import numpy as np
import seqio
import t5.data.tasks  # noqa: F401  (registers T5's tasks)
import tensorflow as tf
from t5.evaluation import metrics

OUTPUT = pathlib.Path(__file__).with_name("t5_tasks.json")

ROWS = {
    "mnli": [
        {"premise": "A man sleeps. ", "hypothesis": "Nobody  is awake.", "label": k, "idx": 0}
        for k in range(3)
    ],
    "qqp": [
        {"question1": "How old?", "question2": "what age: 3?", "label": k, "idx": 0}
        for k in range(2)
    ],
    "qnli": [
        {"question": "Who <b>sang</b>?", "sentence": "Anna\nsang.", "label": k, "idx": 0}
        for k in range(2)
    ],
    "sst2": [{"sentence": "a fine film ", "label": k, "idx": 0} for k in range(2)],
    "stsb": [
        {"sentence1": "A dog.", "sentence2": "A cat.", "label": score, "idx": 0}
        for score in (0.0, 0.1, 0.3, 0.5, 1.8, 2.5, 3.7, 3.8, 4.25, 4.9, 4.95, 5.0)
    ],
    "mrpc": [
        {"sentence1": "He won .", "sentence2": "He was it .", "label": k, "idx": 0}
        for k in range(2)
    ],
    "rte": [
        {"sentence1": "It rains.", "sentence2": "It is dry.", "label": k, "idx": 0}
        for k in range(2)
    ],
    "cola": [{"sentence": "Him ran.", "label": k, "idx": 0} for k in range(2)],
    "multirc": [
        {
            "paragraph": "<b>Sent 1: </b>Tom ran.<br><b>Sent 2: </b>He <i>fell</i>.<br>",
            "question": "Who <b>fell</b>?",
            "answer": "Tom<br>Smith",
            "idx": {"paragraph": 3, "question": 7, "answer": k},
            "label": k,
        }
        for k in range(2)
    ],
    "boolq": [
        {"question": "is ice cold", "passage": "Ice -- water.", "label": k, "idx": 0}
        for k in range(2)
    ],
    "wic": [
        {
            "word": "bank",
            "sentence1": "The bank .",
            "sentence2": "A bank .",
            **{"start1": 4, "end1": 8, "start2": 2, "end2": 6, "label": k, "idx": 0},
        }
        for k in range(2)
    ],
    "wsc": [
        {
            "text": text,
            **{"span1_text": span1, "span1_index": at1, "span2_text": span2, "span2_index": at2},
            "label": k,
            "idx": 0,
        }
        for k, (text, span1, at1, span2, at2) in enumerate(
            [
                ("Mark told Pete many lies about himself, sadly.", "Pete", 2, "himself", 6),
                ("When he came, Mark Smith's son left.", "Mark Smith", 3, "he", 1),
            ]
        )
    ],
    "cb": [
        {"premise": "I doubt that.", "hypothesis": "It is so.", "label": k, "idx": 0}
        for k in range(3)
    ],
    "record": [
        {
            "passage": 'He said "no"\n@highlight\nThey sang\n@highlight\nDone!\n@highlight\nEnd',
            "query": "@placeholder left",
            "entities": ["Anna", "Tom"],
            "answers": ["Anna", "Tom"],
            "idx": {"passage": 4, "query": 5},
        }
    ],
    "squad": [
        {
            "id": "1",
            "title": "t",
            "question": " Who's the  chief (really)?",
            "context": '"The" chief\nwas Anna-Mae F\u00f6rster.',
            "answers": {"text": ["Anna-Mae", "A. F\u00f6rster."], "answer_start": [4, 4]},
        }
    ],
}
T5_NAMES = {
    **{n: f"glue_{n}_v002" for n in ("mnli", "qqp", "qnli", "sst2", "stsb", "mrpc", "rte", "cola")},
    **{n: f"super_glue_{n}_v102" for n in ("multirc", "boolq", "wic", "cb", "record")},
    "squad": "squad_v010_allanswers",
}


def tensors(value, name=""):
    """A row as tensors of the types that TFDS gives."""
    if isinstance(value, dict):
        return {key: tensors(each, key) for key, each in value.items()}
    if isinstance(value, float):
        return tf.constant(value, tf.float32)
    if isinstance(value, int):
        return tf.constant(value, tf.int64 if name == "label" else tf.int32)
    return tf.constant(value)


def texts(name: str, row: dict) -> list[dict]:
    """The examples that T5's first preprocessor makes of a row."""
    if name == "wsc":  # T5 registers only its generative form of it
        preprocessor = t5.data.preprocessors.wsc
    else:
        preprocessor = seqio.TaskRegistry.get(T5_NAMES[name]).preprocessors[0]
    dataset = preprocessor(tf.data.Dataset.from_tensors(tensors(row)))
    return [
        {key: example[key].decode() for key in ("inputs", "targets")}
        for example in dataset.as_numpy_iterator()
    ]


LABELS = ["y", "y", "n", "n", "y", "n", "y", "y"]
GIVEN = ["y", "n", "n", "y", "?", "", "y", "y"]
QUESTIONS = [1, 1, 2, 2, 2, 3, 4, 4]
ANSWERS = [["The red car!", "a boat"], ["anna"], ["Tom and Eve"], ["1 . 5"]]
ANSWERS_GIVEN = ["red car", "anna and tom", "", "1 . 5"]
SCORES = ["0.0", "1.4", "3.8", "5.0", "2.2"]
SCORES_GIVEN = ["0.4", "1.4", "2.0", "4.8", "no"]


def metric_values() -> dict:
    """T5's metrics of the answers above, by our names."""
    ids = {"y": 1, "n": 0}
    targets = [ids[word] for word in LABELS]
    predictions = [ids.get(word, -1) for word in GIVEN]
    grouped = [{"value": v, "group": q} for v, q in zip(targets, QUESTIONS, strict=True)]
    values = [{"value": v} for v in predictions]
    qa = metrics.squad(ANSWERS, ANSWERS_GIVEN)
    scores = [float(score) for score in SCORES]
    scores_given = [-1.0 if score == "no" else float(score) for score in SCORES_GIVEN]
    matthews = metrics.sklearn_metrics_wrapper("matthews_corrcoef")
    exact = metrics.mean_group_metric(metrics.all_match)(grouped, values)["exact_match"]
    return {
        "accuracy": metrics.accuracy(targets, predictions)["accuracy"],
        "binary_f1": metrics.f1_score_with_invalid(targets, predictions)["f1"],
        "macro_f1": metrics.mean_multiclass_f1(2)(targets, predictions)["mean_2class_f1"],
        "matthews": 100 * matthews(targets, predictions)["matthews_corrcoef"],
        "multirc_f1": metrics.multirc_f1_over_all_answers(grouped, values)["f1"],
        "multirc_exact_match": exact,
        "squad_f1": qa["f1"],
        "squad_exact_match": qa["em"],
        "pearson": metrics.pearson_corrcoef(scores, scores_given)["pearson_corrcoef"],
        "spearman": metrics.spearman_corrcoef(scores, scores_given)["spearman_corrcoef"],
    }


def main() -> None:
    """Writes the file."""
    golden = {
        "texts": {
            name: [{"row": row, "examples": texts(name, row)} for row in rows]
            for name, rows in ROWS.items()
        },
        "metrics": {
            "labels": [LABELS, GIVEN, QUESTIONS],
            "answers": [ANSWERS, ANSWERS_GIVEN],
            "scores": [SCORES, SCORES_GIVEN],
            "values": {name: float(np.asarray(v)) for name, v in metric_values().items()},
        },
    }
    OUTPUT.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
