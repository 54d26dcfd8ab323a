import numpy as np
import pytest
import tensorflow as tf

from mpt_jax.engine.data.feature_converter import TaskIdFeatureConverter
from mpt_jax.errors import UserError


@pytest.mark.parametrize("extra", [{}, {"task_ids": 1}])
def test_one_example_by_hand(extra):
    row = {"inputs": [7, 8, 1], "targets": [9, 1], "task_ids": [2]}
    dataset = tf.data.Dataset.from_tensors({k: tf.constant(v, tf.int32) for k, v in row.items()})
    converted = TaskIdFeatureConverter()(dataset, {"inputs": 4, "targets": 3, **extra})
    (example,) = converted.as_numpy_iterator()
    expected = {
        "encoder_input_tokens": [7, 8, 1, 0],
        "decoder_target_tokens": [9, 1, 0],
        "decoder_input_tokens": [0, 9, 1],
        "decoder_loss_weights": [1, 1, 0],
        "task_ids": 2,
    }
    assert set(example) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(example[name], value)
        assert example[name].dtype == np.int32


def test_packing_is_refused():
    with pytest.raises(UserError, match="pack = True"):
        TaskIdFeatureConverter(pack=True)
