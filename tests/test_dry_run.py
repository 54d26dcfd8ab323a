"""`--dry_run`: the configuration is printed and its files looked for, and nothing is trained."""

import gin
import pytest

from mpt_jax import cli
from mpt_jax.configuration import config

TARGET = ["train", "--gin_file=gin/mpt_target.gin", "--dry_run", "--logtostderr"]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    gin.clear_config()


def test_the_configuration_is_printed_with_t5xs_bindings_and_nothing_is_written(tmp_path, capsys):
    (tmp_path / "source").mkdir()
    given = ["--gin.SOURCE_PROMPTS=source", "--gin_bindings=TRAIN_STEPS = 7"]
    assert cli.main([*TARGET, *given]) == 0
    config.parse([_written(tmp_path, capsys.readouterr().out)])
    assert gin.query_parameter("TRAIN_STEPS/macro.value") == 7
    assert gin.query_parameter("SOURCE_PROMPTS/macro.value") == "source"
    assert not (tmp_path / "runs").exists()


def test_what_is_not_there_is_named_and_what_is_not_read_is_not_looked_for(capsys):
    assert cli.main(TARGET) == 2
    assert "SOURCE_PROMPTS = 'runs/mpt_source' does not exist" in capsys.readouterr().err
    assert cli.main([*TARGET, "--gin_file=gin/methods/prompt_tuning.gin"]) == 0


def test_the_backbone_that_ships_is_named_mini_and_a_folder_of_that_name_by_its_path(capsys):
    given = [*TARGET, "--gin_file=gin/methods/prompt_tuning.gin"]
    given += ["--gin_file=gin/models/checkpoint.gin", "--gin.INITIAL_CHECKPOINT_PATH="]
    assert cli.main([*given[:-1], f"{given[-1]}mini"]) == 0
    assert cli.main([*given[:-1], f"{given[-1]}./mini"]) == 2
    assert "INITIAL_CHECKPOINT_PATH './mini' does not exist" in capsys.readouterr().err


def test_the_flag_of_gpus_on_several_hosts_is_known_and_bindings_are_checked(capsys):
    arguments, _ = cli.parse_arguments([*TARGET, "--multiprocess_gpu", "--tfds_data_dir=x"])
    assert arguments.multiprocess and arguments.tfds_data_dir == "x"
    assert cli.main([*TARGET, "--gin_bindings=TRAIN_STEPS"]) == 2
    assert "--gin_bindings='TRAIN_STEPS' is not NAME = VALUE" in capsys.readouterr().err


def _written(folder, text):
    (folder / "printed.gin").write_text(text)
    return "printed.gin"
