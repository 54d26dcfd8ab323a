"""A lock is one process's, and goes with it; on a disk, and in a bucket where nobody holds it."""

import re
import subprocess
import sys

import pytest
import stand_in_bucket

from mpt_jax import lock
from mpt_jax.errors import UserError

HOLD = """
import sys, time
from mpt_jax import lock
with lock.held(sys.argv[1], ""):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(name="other")
def _other(tmp_path):
    """A process that holds the lock of `tmp_path / "a" / "lock"`."""
    path = tmp_path / "a" / "lock"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process, path
        process.kill()


def test_a_lock_is_refused_until_its_owner_is_gone_however_it_goes(other):
    process, path = other
    before = lock.descriptors()
    with (
        pytest.raises(UserError, match=rf"^taken\. \(It is process {process.pid} on \S+\)$"),
        lock.held(path, "taken."),
    ):
        pass
    process.kill()
    process.wait()
    for _ in range(2):
        with lock.held(path, "taken."):
            assert len(lock.descriptors()) == len(before) + 1
    assert set(lock.descriptors()) == set(before)


def test_a_child_that_gets_it_holds_it_on(tmp_path):
    path = tmp_path / "lock"
    with lock.held(path, "taken."):
        child = subprocess.Popen(["sleep", "60"], pass_fds=lock.descriptors())
    with pytest.raises(UserError, match="taken"), lock.held(path, "taken."):
        pass
    child.kill()
    child.wait()
    with lock.held(path, "taken."):
        pass


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "lock"
    with pytest.raises(UserError, match=f"cannot write {path}"), lock.held(path, ""):
        pass


def test_in_a_bucket_a_mark_is_the_lock_as_long_as_it_is_renewed(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_RENEWAL", 0.1)
    monkeypatch.chdir(tmp_path)
    stand_in_bucket.install(tmp_path / "buckets", monkeypatch)
    place = tmp_path / "buckets" / "b" / "run.lock"
    with lock.held("gs://b/run.lock", "taken."):
        assert re.match(r"process \d+ on ", place.read_text())
        with pytest.raises(UserError, match="taken"), lock.held("gs://b/run.lock", "taken."):
            pass
        assert place.exists()
    assert not place.exists()
    place.write_text("process 1 on a host that is gone\n")  # by one that was killed
    with lock.held("gs://b/run.lock", "taken."):
        pass
    assert not place.exists() and [path.name for path in tmp_path.iterdir()] == ["buckets"]
