"""What a row of the paper's task tables says, and how it becomes a SeqIO task.

A table row states facts: the dataset, its wording in T5's and in ATTEMPT's form, label words,
metrics, splits, lengths. Tables of rows are in `glue`, `super_glue`, `mrqa`, `others` and
`generation`; `paper` registers them with a run's settings.
"""

import dataclasses
import functools
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import seqio
import tensorflow as tf

from mpt_jax.tasks import metrics, registration
from mpt_jax.tasks.info import TaskInfo
from mpt_jax.tasks.metrics import MetricFn
from mpt_jax.tasks.paper.prepared_source import Arrange, PreparedSource
from mpt_jax.tasks.paper.splits import Recipe

Row = Mapping[str, Any]  # feature -> tensor of one example

# Epochs of the paper's single-task runs: as reported for ATTEMPT, whose settings it takes (?).
SMALL_EPOCHS, LARGE_EPOCHS, MRQA_EPOCHS = 20, 10, 5
_FOR_METRICS = ("references", "group")  # what a read row keeps for postprocessing


class Form(NamedTuple):
    """One way to word a task's inputs.

    Attributes:
      prefix: the task's name at the start of an input; "" where the form has none.
      template: the text after it, with fields of the row in braces.
    """

    prefix: str
    template: str

    def inputs(self, prefix: bool) -> str:
        """The template of a whole input, with or without the prefix."""
        return f"{self.prefix} {self.template}" if prefix and self.prefix else self.template


def accuracy(words: Sequence[str]) -> list[MetricFn]:
    """Accuracy; an answer that is not a label word is wrong."""
    del words
    return [metrics.accuracy]


def accuracy_and_f1(words: Sequence[str]) -> list[MetricFn]:
    """Accuracy, and F1 of label 1."""
    negative, positive = words
    return [metrics.accuracy, metrics.binary_f1(positive, negative)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PaperTask:
    """One task of the paper.

    Attributes:
      builder: name, config and version in TFDS.
      splits: which stored rows train, validate and test.
      own_splits: those with the dataset's own test split, where the paper's have another; None: as
        `splits`.
      t5: T5's wording; for tasks that T5 does not have, ours in its style.
      attempt: ATTEMPT's wording, of which the same holds; None: as `t5`.
      words: the label words in the order of the label ids; empty for other answers.
      metrics: from the label words in use to the metric functions.
      key_metric: the figure of the paper's tables.
      read: from a stored row to one with the fields of the templates and, without label words,
        the scalar string "targets"; may add "references" (all right answers) or "group".
      arrange: see `PreparedSource`.
      features: the stored features to read; empty means all.
      postprocess_fn: from decoded text to what the metrics compare; None: the text.
      input_length: longest input in tokens, the paper's.
      target_length: longest target in tokens.
      epochs: passes over the training rows.
    """

    builder: str
    splits: Recipe
    own_splits: Recipe | None = None
    t5: Form
    attempt: Form | None = None
    words: tuple[str, ...] = ()
    metrics: Callable[[Sequence[str]], Sequence[MetricFn]] = accuracy
    key_metric: str = "accuracy"
    read: Callable[[Row], Row] = dict
    arrange: Arrange | None = None
    features: tuple[str, ...] = ()
    postprocess_fn: Callable[..., Any] | None = None
    input_length: int = 256
    target_length: int = 16
    epochs: int = LARGE_EPOCHS


def add_task(
    name: str,
    task: PaperTask,
    form: Form,
    *,
    prefix: bool,
    digits: bool,
    own_test_sets: bool,
    vocabulary: seqio.Vocabulary,
    data_dir: str | None,
) -> None:
    """Registers `task` as `name`, worded as `form` says, answered by label words or label ids.

    With `own_test_sets` it has its `own_splits`.
    """
    words = tuple(map(str, range(len(task.words)))) if digits else task.words
    template = form.inputs(prefix)
    word_row = functools.partial(_word_row, read=task.read, template=template, words=words)
    registration.add_task(
        name,
        PreparedSource(
            name,
            task.builder,
            (own_test_sets and task.own_splits) or task.splits,
            arrange=task.arrange,
            features=task.features,
            data_dir=data_dir,
        ),
        [seqio.map_over_dataset(word_row)],
        vocabulary=vocabulary,
        metric_fns=task.metrics(words),
        postprocess_fn=task.postprocess_fn,
        info=TaskInfo(words, task.key_metric, template),
    )


def _word_row(row: Row, read: Callable[[Row], Row], template: str, words: Sequence[str]) -> Row:
    fields = read(row)
    # A label of -1, of a split without labels, is out of range and stops the run.
    targets = tf.gather(tf.constant(words), row["label"]) if words else fields["targets"]
    kept = {key: fields[key] for key in _FOR_METRICS if key in fields}
    return {"inputs": fill(template, fields), "targets": targets, **kept}


def fill(template: str, fields: Row) -> tf.Tensor:
    """The template's text, a scalar string, with each {field} replaced by that scalar string."""
    pieces = []
    for text, field, _, _ in string.Formatter().parse(template):
        pieces += [text] if field is None else [text, fields[field]]
    return tf.strings.join(pieces)
