import pytest
import tensorflow as tf

from mpt_jax.tasks.paper import glue


@pytest.mark.parametrize(
    ("score", "text"),
    [(0.0, "0.0"), (0.1, "0.0"), (0.3, "0.4"), (2.5, "2.4"), (3.75, "3.8"), (4.95, "5.0")],
)
def test_a_score_becomes_the_nearest_fifth(score, text):
    row = {"label": tf.constant(score, tf.float32), "sentence1": tf.constant("a")}
    assert glue.similarity(row)["targets"] == text
    mapped = tf.data.Dataset.from_tensors(row).map(glue.similarity)
    assert next(mapped.as_numpy_iterator())["targets"].decode() == text
