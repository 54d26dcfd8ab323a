"""Rows of many tasks in one batch keep their task's id, in training and in evaluation."""

import numpy as np
import paper_data
import pytest
import seqio

from mpt_jax.engine.data import pipeline
from mpt_jax.engine.data.feature_converter import TaskIdFeatureConverter
from mpt_jax.engine.evaluation.evaluator import Evaluator
from mpt_jax.tasks import mixtures, paper
from mpt_jax.tasks.info import info

BYTES = seqio.ByteVocabulary()
LENGTHS = {"inputs": 192, "targets": 48}
# Every metric, postprocessor and arrangement of rows is among them.
KINDS = ["mnli", "qqp", "stsb", "cola", "multirc", "cb", "record", "nq", "e2e", "webnlg"]


@pytest.fixture(autouse=True)
def _registered(paper_data_dir):
    paper.register(vocabulary=BYTES, data_dir=paper_data_dir)


def settings(names, split, **changes):
    bound = mixtures.bind_tasks(names, **changes)
    return pipeline.DatasetConfig(bound, LENGTHS, split, 32, split == "train", 0)


def text(tokens):
    return BYTES.decode(tokens[: np.flatnonzero(tokens == 1)[0]].tolist())


def test_training_batches_hold_the_rows_of_their_task_ids():
    names = mixtures.task_names("super_glue")
    sampled = {"min_tasks_per_batch": 2, "batch_size": 32}
    cfg = settings("super_glue", "train", **sampled)
    batches = pipeline.train_batches(cfg, TaskIdFeatureConverter, shard=seqio.ShardInfo(0, 1))
    seen = set()
    for _ in range(6):
        batch = next(batches)
        for row, k in zip(batch["encoder_input_tokens"], batch["task_ids"], strict=True):
            assert text(row) == paper_data.EXAMPLES[names[k]].t5
        seen |= set(batch["task_ids"].tolist())
    assert seen == set(range(5))


def test_whoever_knows_the_answer_of_each_task_id_scores_full_marks():
    names = mixtures.task_names(KINDS)
    answers = np.zeros((len(names), LENGTHS["targets"]), np.int32)
    for k, name in enumerate(names):
        tokens = [*BYTES.encode(paper_data.EXAMPLES[name].target), 1]
        answers[k, : len(tokens)] = tokens
    evaluator = Evaluator(settings(KINDS, "test"), TaskIdFeatureConverter)
    ((kind, question),) = evaluator.asked.items()
    ids = [batch["task_ids"] for batch in question.batches]
    results = evaluator.run({kind: [answers[each] for each in ids]})
    # Only one kind of row is stored: correlations are 0, and F1 where it is a negative one.
    key = {name: results[name][info(name).metric] for name in names}
    constant = dict.fromkeys(("stsb", "cola"), 0.0)
    assert key == pytest.approx({**dict.fromkeys(names, 100.0), **constant})
    wrong = evaluator.run({kind: [answers[each - 1] for each in ids]})
    assert wrong["mean"]["key_metric"] < 50
