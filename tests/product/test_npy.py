"""NumPy files of one prompt: exact both ways, read by NumPy; others are refused."""

import dataclasses

import foreign_prompts
import numpy as np
import pytest
import toy_start

from mpt_jax.errors import UserError
from mpt_jax.product import product_file
from mpt_jax.product.formats import npy

PROMPT = foreign_prompts.leaves()["shared"]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    foreign_prompts.answer_at_once(monkeypatch)


def _info(tmp_path, tasks=("a",), rank=0):
    info = product_file.load(toy_start.write(tmp_path, toy_start.factors()))[1]
    return dataclasses.replace(info, tasks=tasks, rank=rank, length=3, width=16)


def test_a_prompt_comes_in_as_it_is(tmp_path):
    path = tmp_path / "encoder.prompt.prompt.prompt"  # as published: without a suffix
    with path.open("wb") as stream:
        np.save(stream, PROMPT)
    bank, info = npy.read(str(path), "rte", foreign_prompts.BACKBONE)
    assert bank["task_prompts"].tobytes() == PROMPT.tobytes()
    assert bank["task_prompts"].shape == (1, *PROMPT.shape)
    assert (info.tasks, info.method, info.rank) == (("rte",), "prompt_tuning", 0)
    assert (info.backbone, info.vocabulary_size) == (foreign_prompts.FINGERPRINT, 384)


@pytest.mark.parametrize("array", [np.asfortranarray(PROMPT), PROMPT.astype(np.float16)])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_other_layouts_hold_the_same_numbers(tmp_path, array, version):
    with (tmp_path / "p.npy").open("wb") as stream:
        np.lib.format.write_array(stream, array, version)
    bank, _ = npy.read(str(tmp_path / "p.npy"), "rte", foreign_prompts.BACKBONE)
    np.testing.assert_array_equal(bank["task_prompts"][0], array.astype(np.float32))


@pytest.mark.parametrize("rank", [1, 2])
def test_a_composed_prompt_goes_out_and_comes_back(tmp_path, rank):
    bank = foreign_prompts.leaves(tasks=1, rank=rank)
    path = str(tmp_path / "p.npy")
    npy.write(path, bank, _info(tmp_path, rank=rank))
    wanted = bank["shared"] * (bank["task_u"][0] @ bank["task_v"][0])
    np.testing.assert_array_equal(np.load(path, allow_pickle=False), wanted)
    again, info = npy.read(path, "a", foreign_prompts.BACKBONE)
    npy.write(str(tmp_path / "q.npy"), again, info)
    assert (tmp_path / "q.npy").read_bytes() == (tmp_path / "p.npy").read_bytes()


def test_a_prompt_shared_by_all_tasks_goes_out(tmp_path):
    npy.write(str(tmp_path / "p.npy"), {"shared": PROMPT}, _info(tmp_path, ("a", "b")))
    np.testing.assert_array_equal(np.load(tmp_path / "p.npy", allow_pickle=False), PROMPT)


def test_several_prompts_and_other_products_are_refused(tmp_path):
    with pytest.raises(UserError, match="one prompt, and the bank 2.*--tasks=NAME"):
        npy.write("p.npy", foreign_prompts.leaves(), _info(tmp_path, ("a", "b"), 1))
    with pytest.raises(UserError, match="more than prompts"):
        npy.write("p.npy", {"task_prompts": PROMPT[None], "x": PROMPT}, _info(tmp_path))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (PROMPT[0], r"shape is \(16,\)"),
        (PROMPT[None], r"shape is \(1, 3, 16\)"),
        (PROMPT[:0], r"shape is \(0, 16\)"),
        (PROMPT.astype(np.float64), "'<f8', save it as float32"),
        (PROMPT.astype(np.int32), "'<i4'"),
        (PROMPT.astype(">f4"), "'>f4'"),
        (np.full_like(PROMPT, np.nan), "not finite"),
    ],
)
def test_other_arrays_are_refused(tmp_path, array, message):
    np.save(tmp_path / "p.npy", array)
    with pytest.raises(UserError, match=message):
        npy.read(str(tmp_path / "p.npy"), "rte", foreign_prompts.BACKBONE)


def test_a_pickled_array_is_refused(tmp_path):
    np.save(tmp_path / "p.npy", np.array([[None]]), allow_pickle=True)
    with pytest.raises(UserError, match="Python objects"):
        npy.read(str(tmp_path / "p.npy"), "rte", foreign_prompts.BACKBONE)


def test_a_header_that_promises_more_than_the_file_has_allocates_nothing(tmp_path):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000000000), }\n"
    (tmp_path / "p.npy").write_bytes(
        b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    )
    with pytest.raises(UserError, match="not a NumPy file of a prompt"):
        npy.read(str(tmp_path / "p.npy"), "rte", foreign_prompts.BACKBONE)
