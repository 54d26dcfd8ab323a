import pytest
import tensorflow as tf

from mpt_jax.tasks.paper.task import Form, fill

FIELDS = {"a": tf.constant("x {b}"), "b": tf.constant("y")}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("a: {a} b: {b}", "a: x {b} b: y"),
        ("{b}{b}.", "yy."),
        ("{{b}} {b}", "{b} y"),
        ("no field", "no field"),
    ],
)
def test_fields_are_filled_in_and_their_braces_mean_nothing(template, text):
    assert fill(template, FIELDS) == text
    mapped = tf.data.Dataset.from_tensors(FIELDS).map(lambda row: fill(template, row))
    assert next(mapped.as_numpy_iterator()).decode() == text


def test_a_prefix_stands_in_front_where_there_is_one():
    assert Form("rte", "text: {a}").inputs(prefix=True) == "rte text: {a}"
    assert Form("rte", "text: {a}").inputs(prefix=False) == "text: {a}"
    assert Form("", "text: {a}").inputs(prefix=True) == "text: {a}"
