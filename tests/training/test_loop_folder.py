"""The folder of a run: one run at a time, and refused where it cannot be made."""

import shutil
import subprocess
import sys

import pytest
from test_lock import HOLD
from toy_loop import contents, run

from mpt_jax import lock
from mpt_jax.engine.data import pipeline
from mpt_jax.errors import UserError


def test_a_folder_on_unknown_storage_is_refused(backbone, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="'ftp://host/run' is on no kind of storage"):
        run("ftp://host/run", backbone)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("period", [None, 3])  # 3: a checkpoint is being written meanwhile
def test_a_run_whose_folder_is_deleted_ends_with_that(backbone, fetched, scores, tmp_path, period):
    folder = tmp_path / "run"
    fetched.at = {4: lambda: shutil.rmtree(folder, ignore_errors=True)}
    with pytest.raises(UserError) as stopped:
        run(folder, backbone, period=period)
    assert str(stopped.value) == (
        f"the run folder {folder} was deleted while the run was going, and its checkpoints with "
        "it: delete what is left of it, and start again."
    )
    assert len(fetched) == 4


def test_a_finished_run_returns_at_once_and_changes_nothing(
    whole, backbone, fetched, monkeypatch, capfd
):
    def reads_data(*unused_args, **unused_kwargs):
        raise AssertionError

    monkeypatch.setattr(pipeline, "train_batches", reads_data)
    before = contents(whole[0])
    assert run(whole[0], backbone) == whole[0]
    assert contents(whole[0]) == before
    assert f"note: the run in {whole[0]} is finished, so nothing is trained: step 6, best" in (
        capfd.readouterr().err
    )


def test_a_second_run_in_the_same_folder_is_refused_and_changes_nothing(backbone, tmp_path):
    taken = tmp_path / "run.lock"
    command = [sys.executable, "-c", HOLD, str(taken)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"another run is at work in {tmp_path}.*{process.pid}"):
            run(tmp_path, backbone)
        assert [path.name for path in tmp_path.iterdir()] == ["run.lock"]
        process.kill()
    run(tmp_path, backbone, total_steps=2, infer_eval_dataset_cfg=None)
    with lock.held(taken, "let go of."):
        pass
