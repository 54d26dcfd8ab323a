"""A process that is killed at any step of writing: nothing half is read; a rerun makes it whole.

Death is played: from the n-th call that changes the disk on, none does anything any more.
"""

import os
import pathlib
import shutil

import jax
import numpy as np
import pytest
import toy
import toy_start
from etils import epath

from mpt_jax import cli
from mpt_jax.backbone import store
from mpt_jax.product import product_file

PATH = type(epath.Path("/"))
STEPS = [(os, "replace"), (os, "fsync"), (PATH, "write_bytes"), (PATH, "write_text")]
CLEANING = [(shutil, "rmtree"), (PATH, "unlink")]


class Killed(BaseException):
    """Neither caught nor cleaned up after."""


def _call(monkeypatch, work, lives: int) -> bool:
    """Whether `work` ended before the process died, which does `lives` steps on the disk."""
    left = lives

    def step(function):
        def run(*args, **kwargs):
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return function(*args, **kwargs)

        return run

    def clean(function):
        return lambda *args, **kwargs: function(*args, **kwargs) if left >= 0 else None

    with monkeypatch.context() as patched:
        for change, places in ((step, STEPS), (clean, CLEANING)):
            for place, name in places:
                patched.setattr(place, name, change(getattr(place, name)))
        try:
            work()
        except Killed:
            return False
    return True


def _tree(folder: pathlib.Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _convert(*arguments):
    return lambda: cli.run(["convert", *arguments])


def _bank_add():
    cli.run(["bank", "add", "bank", "more"])


def _save_backbone():
    params = jax.tree.map(lambda leaf: np.asarray(leaf) + 1, toy.backbone())
    store.save("saved", params, toy.CONFIG)


WORK = {
    "peft": (_convert("bank", "new", "--to=peft"), "new"),
    "prompts": (_convert("bank", "new/deep", "--to=mpt_jax"), "new"),
    "prompt file": (_convert("bank", "new/some.safetensors", "--to=mpt_jax"), "new"),
    "npy": (_convert("bank", "new/b.npy", "--to=npy", "--tasks=b"), "new"),
    "backbone": (_convert("saved", "new", "--to=mpt_jax"), "new"),
    "huggingface": (_convert("saved", "new", "--to=huggingface"), "new"),
    "bank add": (_bank_add, "bank"),
    "backbone of a run": (_save_backbone, "saved"),
}


def _read(place: str):
    """What a reader finds: numbers, and what they are said to be; None: nothing."""
    if place == "saved":
        return store.identify_weights(store.open_weights(place)), store.stated_in(place)
    bank, info = product_file.load(place)
    return {name: leaf.tobytes() for name, leaf in bank.items()}, info


@pytest.mark.parametrize("kind", WORK)
def test_a_killed_process_leaves_no_half_and_can_be_repeated(tmp_path, monkeypatch, capsys, kind):
    work, place = WORK[kind]
    lives, done = 0, False
    while not done:
        folder = tmp_path / str(lives)
        folder.mkdir()
        monkeypatch.chdir(folder)
        toy_start.write("bank", toy_start.factors(2), tasks=("a", "b"))
        more = {**toy_start.factors(1, seed=2), "shared": toy_start.factors()["shared"]}
        toy_start.write("more", more, tasks=("c",))
        store.save("saved", toy.backbone(), toy.CONFIG)
        before = _tree(folder)
        old = None if place == "new" else _read(place)
        done = _call(monkeypatch, work, lives)
        if place == "new":
            visible = _tree(folder / "new") if (folder / "new").exists() else {}
            seen = {name for name in visible if "partial" not in name}
            assert not done or seen
        else:
            seen = _read(place)
        if not done:
            work()
        if lives == 0:
            whole = _tree(folder)
            if place != "new":
                new = _read(place)
                assert new != old
        if place != "new":
            assert seen in (old, new)
        assert _tree(folder) == whole and whole != before
        lives += 1
    assert lives > 3
    capsys.readouterr()
