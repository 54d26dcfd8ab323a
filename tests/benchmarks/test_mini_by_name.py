"""A backbone that is asked by name, in place of which a table answers."""

import seqio
from mini import by_name, key_metric

import mpt_jax.tasks.mini  # noqa: F401  registers the tasks


class Known:
    """Answers what it knows for an input, and "?" for others."""

    def __init__(self, name, prefix):
        rows = seqio.get_mixture_or_task(name).get_dataset(None, "test", shuffle=False)
        self.answers = {
            prefix + row["inputs_pretokenized"].decode(): row["targets_pretokenized"].decode()
            for row in rows.as_numpy_iterator()
        }

    def predict(self, texts):
        return [self.answers.get(text, "?") for text in texts]


def test_a_backbone_that_knows_a_task_by_its_name():
    known = Known("mini_wic", "wic ")
    names = {"mini_wic": "wic", "mini_rte": "rte"}
    found = by_name.lines(known, names, key_metric.score)
    assert found == [
        ("mini_wic", "100.000", "0.000"),
        ("mini_rte", "0.000", "0.000"),
        ("mean", "50.000", "0.000"),
    ]


def test_answers_that_do_not_correlate_score_nothing():
    answer = by_name.asked(Known("mini_similarity", ""), "x ")
    assert key_metric.score("mini_similarity", answer) == 0


def test_the_lengths_are_those_of_the_gin_files():
    found = by_name.lengths(["gin/suites/mini_target.gin"])
    assert found == {"inputs": 64, "targets": 24}
