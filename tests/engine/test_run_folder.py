"""A run folder holds one configuration; resuming may change only what cannot change the result."""

import errno

import pytest

from mpt_jax.engine.records import run_folder
from mpt_jax.errors import UserError

CONFIG = """\
from __gin__ import dynamic_registration
import seqio

# Macros:
# ======
BATCH_SIZE = 16
MODEL_DIR = '/a'
TRAIN_STEPS = 100

# Parameters for train.train:
# ======
train.train.model_dir = %MODEL_DIR
train.train.total_steps = %TRAIN_STEPS
train/utils.DatasetConfig.batch_size = %BATCH_SIZE
utils.DatasetConfig.task_feature_lengths = \\
    {'inputs': 64,
     'targets': 8}
"""


def started(folder, config_text):
    """The folder of a run that has saved a checkpoint."""
    made = run_folder.prepare(str(folder), config_text)
    (made / "checkpoints" / "10").mkdir(parents=True)
    return made


def test_bindings_reads_values_over_several_lines():
    assert run_folder.bindings(CONFIG) == {
        "BATCH_SIZE": "16",
        "MODEL_DIR": "'/a'",
        "TRAIN_STEPS": "100",
        "train.train.model_dir": "%MODEL_DIR",
        "train.train.total_steps": "%TRAIN_STEPS",
        "train/utils.DatasetConfig.batch_size": "%BATCH_SIZE",
        "utils.DatasetConfig.task_feature_lengths": "{'inputs': 64, 'targets': 8}",
    }


def test_a_new_folder_and_the_same_run_again(tmp_path):
    folder = started(tmp_path / "a" / "run", CONFIG)
    assert (folder / "config.gin").read_text() == CONFIG
    assert run_folder.prepare(str(folder), CONFIG) == folder
    names = {path.name for path in folder.iterdir()}
    assert names == {"checkpoints", "config.gin", "run.lock"}


def test_a_start_that_failed_leaves_the_folder_free(tmp_path):
    folder = run_folder.prepare(str(tmp_path), CONFIG)
    (folder / "checkpoints").mkdir()
    corrected = CONFIG.replace("= 16", "= 32")
    run_folder.prepare(str(folder), corrected)
    assert (folder / "config.gin").read_text() == corrected


@pytest.mark.parametrize("product", ["prompts.safetensors", "backbone/model.safetensors"])
def test_a_product_without_checkpoints_is_guarded_too(product, tmp_path):
    folder = run_folder.prepare(str(tmp_path), CONFIG)
    (folder / product).parent.mkdir(exist_ok=True)
    (folder / product).write_bytes(b"")
    with pytest.raises(UserError, match="BATCH_SIZE: 16 there, 32 now"):
        run_folder.prepare(str(folder), CONFIG.replace("= 16", "= 32"))


def test_a_longer_run_in_another_place_is_the_same_run(tmp_path):
    started(tmp_path, CONFIG)
    longer = CONFIG.replace("TRAIN_STEPS = 100", "TRAIN_STEPS = 200").replace("'/a'", "'/b'")
    run_folder.prepare(str(tmp_path), longer)
    assert (tmp_path / "config.gin").read_text() == longer


def test_another_run_is_refused_and_nothing_changes(tmp_path):
    started(tmp_path, CONFIG)
    other = CONFIG.replace("= 16", "= 32").replace("'targets': 8", "'targets': 9") + "x.f.y = 1\n"
    with pytest.raises(UserError) as error:
        run_folder.prepare(str(tmp_path), other)
    assert str(error.value).splitlines()[1:-1] == [
        "  BATCH_SIZE: 16 there, 32 now",
        "  utils.DatasetConfig.task_feature_lengths: {'inputs': 64, 'targets': 8} there, "
        "{'inputs': 64, 'targets': 9} now",
        "  x.f.y: (not set) there, 1 now",
    ]
    assert "--gin.MODEL_DIR=FOLDER" in str(error.value)
    assert (tmp_path / "config.gin").read_text() == CONFIG


def test_a_macro_may_change_only_if_all_its_users_may():
    used_twice = CONFIG + "optimizers.schedule.scale = %TRAIN_STEPS\n"
    changed = used_twice.replace("TRAIN_STEPS = 100", "TRAIN_STEPS = 200")
    assert run_folder.differences(used_twice, changed) == {"TRAIN_STEPS": ("100", "200")}


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the model directory .*file/run"):
        run_folder.prepare(str(tmp_path / "file" / "run"), CONFIG)
    with pytest.raises(UserError, match="cannot write the model directory"):
        run_folder.prepare(str(tmp_path / "file"), CONFIG)


def test_a_full_disk_leaves_the_old_config(tmp_path, monkeypatch):
    folder = started(tmp_path, CONFIG)

    def full(*unused_args, **unused_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(type(folder), "write_bytes", full)
    with pytest.raises(UserError, match="No space left on device"):
        run_folder.prepare(str(tmp_path), CONFIG)
    assert (tmp_path / "config.gin").read_text() == CONFIG
