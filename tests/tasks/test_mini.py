import numpy as np
import pytest
import seqio

from mpt_jax.tasks import mini, mixtures
from mpt_jax.tasks.info import info
from mpt_jax.tasks.mini import suite as mini_suite

LENGTHS = {"inputs": 64, "targets": 24}


def rows_of(name, split="validation", count=50):
    task = seqio.get_mixture_or_task(name)
    dataset = task.get_dataset(LENGTHS, split, shuffle=False)
    return list(dataset.take(count).as_numpy_iterator())


@pytest.mark.parametrize("name", [*mini_suite.SUITE, *mini.PRETRAINING])
def test_tasks_read_tokenise_and_end(name):
    task = seqio.get_mixture_or_task(name)
    vocabulary = mini.vocabulary.vocabulary()
    for row in rows_of(name):
        for feature in ("inputs", "targets"):
            ids, text = row[feature], row[f"{feature}_pretokenized"].decode()
            assert ids[-1] == 1 and 2 not in ids
            assert len(ids) < LENGTHS[feature]  # so nothing was cut
            assert vocabulary.decode(ids[:-1].tolist()) == text
    assert task.source.num_input_examples("validation") > 0


@pytest.mark.parametrize("name", mini_suite.SUITE)
def test_right_answers_score_full_marks_in_the_key_metric(name):
    task = seqio.get_mixture_or_task(name)
    rows = rows_of(name)
    texts = [row["targets_pretokenized"].decode() for row in rows]
    targets = [
        task.postprocess_fn(text, example=row, is_target=True)
        for text, row in zip(texts, rows, strict=True)
    ]
    predictions = [task.postprocess_fn(text, example={}, is_target=False) for text in texts]
    scores = {k: v for fn in task.metric_fns for k, v in fn(targets, predictions).items()}
    assert scores[info(name).metric] == pytest.approx(100.0)


def test_label_words_are_the_targets():
    assert info("mini_wic").label_words == ("true", "false")
    assert info("mini_qa").label_words == ()
    assert all(
        len(mini.vocabulary.vocabulary().encode(w)) == 1
        for n in mini.SUITE
        for w in info(n).label_words
    )


def test_mixtures_hold_their_tasks_in_proportion_to_rows():
    assert set(mixtures.task_names("mini_sources")) == set(mini_suite.SOURCES)
    assert set(mixtures.task_names("mini_targets")) == set(mini_suite.TARGETS)
    for name in ("mini_sources", "mini_targets", "mini_pretrain", "mini_pretrain_seen"):
        mixture = seqio.get_mixture_or_task(name)
        for task in mixture.tasks:
            assert mixture.get_rate(task) == task.source.num_input_examples("train")


def test_pretraining_data_can_be_read_as_a_mixture():
    mixture = seqio.get_mixture_or_task("mini_pretrain")
    dataset = mixture.get_dataset(LENGTHS, "validation", shuffle=True, seed=0)
    rows = list(dataset.take(20).as_numpy_iterator())
    sentinel = mini.vocabulary.vocabulary().vocab_size - 1
    assert 0 < np.sum([sentinel in row["inputs"] for row in rows]) < 20
