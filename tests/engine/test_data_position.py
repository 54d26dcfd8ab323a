"""A tf.data iterator goes on where it was saved, through orbax's handler alone."""

import orbax.checkpoint as ocp
import pytest

from mpt_jax.engine.data.position import DataPositionHandler, RestoreDataPosition, SaveDataPosition


def _shuffled(seed=3):
    import tensorflow as tf

    data = tf.data.Dataset.range(50).repeat().shuffle(20, seed=seed).batch(2).prefetch(2)
    return iter(data)


def _take(iterator, count):
    return [next(iterator).numpy().tolist() for _ in range(count)]


def test_restored_iterator_gives_the_same_batches(tmp_path):
    iterator = _shuffled()
    _take(iterator, 31)  # past the first epoch
    with ocp.Checkpointer(DataPositionHandler()) as checkpointer:
        checkpointer.save(tmp_path / "data", args=SaveDataPosition(iterator))
        expected = _take(iterator, 40)
        restored = checkpointer.restore(tmp_path / "data", args=RestoreDataPosition(_shuffled()))
    assert _take(restored, 40) == expected


def test_truncated_files_raise(tmp_path):
    with ocp.Checkpointer(DataPositionHandler()) as checkpointer:
        checkpointer.save(tmp_path / "data", args=SaveDataPosition(_shuffled()))
        (data_file,) = (tmp_path / "data").glob("process_0.data*")
        data_file.write_bytes(data_file.read_bytes()[:10])
        with pytest.raises(Exception, match="Read less bytes"):
            checkpointer.restore(tmp_path / "data", args=RestoreDataPosition(_shuffled()))
