"""Checkpoints come back bit for bit, or not at all and with a message that helps."""

import errno
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
import tensorflow as tf

from mpt_jax.engine.checkpoints import Checkpointer, SaveCheckpointConfig
from mpt_jax.engine.initialize import RestoreCheckpointConfig
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.engine.step import TrainState
from mpt_jax.errors import UserError

KEEP_1, KEEP_2 = (SaveCheckpointConfig(period=1, keep=keep) for keep in (1, 2))
AXES = {"bank": {"shared": ("prompt_length", "embed"), "wide": ("embed", "mlp")}}


def _state(seed=0, width=8):
    keys = jax.random.split(jax.random.key(seed), 2)
    trainable = {
        "bank": {
            "shared": jax.random.normal(keys[0], (400, width)),
            "wide": jax.random.normal(keys[1], (width, 4)).astype(jnp.bfloat16),
        }
    }
    return TrainState(jnp.asarray(seed, jnp.int32), trainable, optax.adam(0.1).init(trainable))


def _assert_equal_bits(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype and np.asarray(x).tobytes() == np.asarray(y).tobytes()


@pytest.fixture
def saved(tmp_path):
    """A directory with checkpoints 3 and 5."""
    checkpointer = Checkpointer(tmp_path / "run", KEEP_2)
    for step in (3, 5):
        checkpointer.save(step, _state(step))
    checkpointer.close()
    return tmp_path / "run"


def test_round_trip_is_bit_exact(tmp_path):
    state = _state()
    checkpointer = Checkpointer(tmp_path, KEEP_1)
    assert checkpointer.latest_step() is None
    checkpointer.save(7, state)
    assert checkpointer.latest_step() == 7
    restored = checkpointer.restore(_state(1), 7)
    _assert_equal_bits(restored, state)
    checkpointer.close()


def test_restore_lays_the_state_on_another_mesh(tmp_path):
    state = PjitPartitioner(num_partitions=4).place_state(_state(), AXES)
    checkpointer = Checkpointer(tmp_path, KEEP_1)
    checkpointer.save(1, state)
    checkpointer.latest_step()  # waits
    wanted = PjitPartitioner(num_partitions=2).state_sharding(state, AXES)
    like = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        state,
        wanted,
    )
    restored = checkpointer.restore(like, 1)
    _assert_equal_bits(restored, state)
    assert jax.tree.map(lambda leaf: leaf.sharding, restored) == wanted
    checkpointer.close()


def test_the_state_may_be_donated_while_it_is_saved(tmp_path):
    scramble = jax.jit(lambda state: jax.tree.map(lambda x: x * 0 + 1, state), donate_argnums=0)
    checkpointer, state = Checkpointer(tmp_path, KEEP_1), _state(width=1024)
    expected = jax.tree.map(lambda leaf: np.array(leaf), state)
    checkpointer.save(1, state)
    for _ in range(3):
        state = scramble(state)
    jax.block_until_ready(state)
    _assert_equal_bits(checkpointer.restore(state, 1), expected)
    checkpointer.close()


def test_data_position_goes_with_the_state(tmp_path):
    def new_iterator():
        return iter(tf.data.Dataset.range(50).repeat().shuffle(20, seed=3).prefetch(2))

    iterator, checkpointer = new_iterator(), Checkpointer(tmp_path, KEEP_1)
    for _ in range(60):
        next(iterator)
    checkpointer.save(60, _state(), data_iterator=iterator)
    expected = [int(next(iterator)) for _ in range(60)]
    checkpointer.close()
    resumed, reopened = new_iterator(), Checkpointer(tmp_path, KEEP_1)
    reopened.restore_iterator(resumed, 60)
    assert [int(next(resumed)) for _ in range(60)] == expected
    reopened.close()


def test_keep_removes_older_ones(tmp_path):
    checkpointer = Checkpointer(tmp_path, KEEP_2)
    for step in (1, 2, 3):
        checkpointer.save(step, _state(step))
    checkpointer.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint_2", "checkpoint_3"]


def test_saving_a_step_twice_keeps_the_first(saved):
    checkpointer = Checkpointer(saved, KEEP_2)
    checkpointer.save(5, _state(5))
    checkpointer.latest_step()  # waits
    _assert_equal_bits(checkpointer.restore(_state(), 5), _state(5))
    _assert_equal_bits(checkpointer.restore(_state(), 3), _state(3))
    checkpointer.close()


def _largest_file(folder):
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def _truncate(content):
    return content[: len(content) // 2]


def _flip_a_bit(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def _numbers():
    return iter(tf.data.Dataset.range(50))


@pytest.fixture(name="resumable")
def _resumable(tmp_path):
    """A directory with checkpoints 3 and 5 of a state and of a count of as many numbers."""
    checkpointer, iterator = Checkpointer(tmp_path / "run", KEEP_2), _numbers()
    for step in range(1, 6):
        next(iterator)
        if step in (3, 5):
            checkpointer.save(step, _state(step), iterator)
    checkpointer.close()
    return tmp_path / "run"


DAMAGES = {
    "arrays cut": (lambda f: _largest_file(f / "state"), _truncate),
    "a bit of an array": (lambda f: _largest_file(f / "state"), _flip_a_bit),
    "the list of arrays": (lambda f: f / "state" / "_METADATA", _truncate),
    "the checksums cut": (lambda f: f / "sums" / "metadata", _truncate),
    "a bit of the checksums": (lambda f: f / "sums" / "metadata", _flip_a_bit),
    "the data position cut": (lambda f: f / "data" / "process_0.index", _truncate),
    "the data position gone": (lambda f: f / "data" / "process_0.index", None),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_serves(resumable, what, capfd):
    find, damage = DAMAGES[what]
    path = find(resumable / "checkpoint_5")
    path.write_bytes(damage(path.read_bytes())) if damage else path.unlink()
    checkpointer, iterator = Checkpointer(resumable, KEEP_2), _numbers()
    step, state = checkpointer.resume(_state(), iterator)
    assert (step, int(next(iterator))) == (3, 3)
    _assert_equal_bits(state, _state(3))
    (line,) = capfd.readouterr().err.splitlines()
    said = r"t5x: note: .*checkpoint_5 is truncated or corrupt \((.*)\)\. Going on from chec\w*_3"
    assert "{" not in re.match(said, line)[1]

    assert checkpointer.latest_step() == 5  # as long as the run has not gone on
    checkpointer.save(5, _state(50), iterator)
    checkpointer.latest_step()  # waits
    _assert_equal_bits(checkpointer.resume(_state(), _numbers())[1], _state(50))
    checkpointer.close()


def test_where_no_checkpoint_can_be_read_the_newest_is_named(resumable):
    for step in (3, 5):
        path = resumable / f"checkpoint_{step}" / "sums" / "metadata"
        path.write_bytes(_truncate(path.read_bytes()))
    checkpointer = Checkpointer(resumable, KEEP_2)
    with pytest.raises(
        UserError, match="checkpoint_5 is truncated or corrupt.*Unterminated.*No earlier"
    ):
        checkpointer.resume(_state(), _numbers())
    checkpointer.close()


def test_a_checkpoint_without_data_position_says_so(saved):
    checkpointer = Checkpointer(saved, KEEP_1)
    with pytest.raises(UserError, match="checkpoint_5.*data position"):
        checkpointer.restore_iterator(iter(tf.data.Dataset.range(3)), 5)
    checkpointer.close()


def test_other_shapes_and_leaves_are_named(saved):
    checkpointer = Checkpointer(saved, KEEP_1)
    with pytest.raises(UserError, match=r"shared as float32\[400, 8\], this run needs.*400, 16"):
        checkpointer.restore(_state(width=16), 5)
    state = _state()
    more = state.replace(trainable={**state.trainable, "adapter": jnp.zeros((2,))})
    with pytest.raises(UserError, match="checkpoint_5 lacks trainable/adapter"):
        checkpointer.restore(more, 5)
    less = state.replace(trainable={"bank": {"shared": state.trainable["bank"]["shared"]}})
    with pytest.raises(UserError, match="does not know, trainable/bank/wide"):
        checkpointer.restore(less, 5)
    checkpointer.close()


def test_nothing_to_resume_from(tmp_path):
    with pytest.raises(UserError, match="There is no checkpoint in"):
        Checkpointer(tmp_path / "empty", KEEP_1).resume(_state(), _numbers())


def test_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot use .*file/run for checkpoints.*MODEL_DIR"):
        Checkpointer(tmp_path / "file" / "run", KEEP_1)


@pytest.mark.parametrize("when", ["at once", "in the background"])
def test_a_full_disk_is_one_message_and_earlier_checkpoints_stay(saved, monkeypatch, when):
    full = OSError(errno.ENOSPC, "No space left on device")

    class FullDisk(ocp.future.Future):
        def result(self, timeout=None):
            raise full

    async def async_save(self, *args, **kwargs):
        if when == "at once":
            raise full
        return [FullDisk()]

    checkpointer = Checkpointer(saved, KEEP_1)
    monkeypatch.setattr(ocp.StandardCheckpointHandler, "async_save", async_save)
    with pytest.raises(UserError, match="No space left on device.*intact"):
        checkpointer.save(9, _state(9))
        checkpointer.latest_step()  # waits
    monkeypatch.undo()
    reopened = Checkpointer(saved, KEEP_1)
    _assert_equal_bits(reopened.restore(_state(), 5), _state(5))
    reopened.close()


@pytest.mark.parametrize("bad", [{"period": 0}, {"period": 5, "keep": 0}])
def test_save_config_out_of_range(bad):
    with pytest.raises(UserError, match=f"{list(bad)[-1]} must be a whole number of at least 1"):
        SaveCheckpointConfig(**bad)


@pytest.mark.parametrize("bad", [{"mode": "latest"}, {"dtype": "float16"}])
def test_restore_config_out_of_range(bad):
    with pytest.raises(UserError, match=f"{next(iter(bad))} must be '"):
        RestoreCheckpointConfig("x", **bad)
