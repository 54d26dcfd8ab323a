"""Checksums per block of a tensor, and of a JSON object."""

import json

import numpy as np
import pytest
import safetensors.numpy

from mpt_jax import checksums
from mpt_jax.backbone import tensor_file
from mpt_jax.errors import UserError

VALUES = np.random.default_rng(0).normal(size=(100, 6)).astype(np.float32)


@pytest.fixture(name="file")
def _file(tmp_path, monkeypatch):
    """A tensor of 13 blocks of 8 rows, the last of 4."""
    monkeypatch.setattr(checksums, "_BLOCK", 8 * 6 * 4 + 3)
    (tmp_path / "file").write_bytes(tensor_file.to_bytes({"a": VALUES, "b": VALUES[0]}, {"c": "d"}))
    return tmp_path / "file"


def test_others_read_what_is_written(file):
    found = safetensors.numpy.load_file(file)
    assert found.keys() == {"a", "b"}
    np.testing.assert_array_equal(found["a"], VALUES)
    tensors, metadata = tensor_file.open_file(file)
    assert metadata["c"] == "d" and tensor_file.content_of(file.read_bytes())[1] == metadata
    np.testing.assert_array_equal(tensors["b"].whole(), VALUES[0])


def test_a_part_is_verified_and_what_lies_elsewhere_is_not_read(file):
    content = bytearray(file.read_bytes())
    content[-1 - VALUES[0].nbytes - VALUES[90:].nbytes] ^= 1  # in row 89 of `a`
    file.write_bytes(content)
    tensors, _ = tensor_file.open_file(file)
    np.testing.assert_array_equal(tensors["a"].read((slice(0, 87), slice(1, 3))), VALUES[:87, 1:3])
    for rows in (slice(88, 89), slice(None)):  # of the same block, or with it
        with pytest.raises(UserError, match="truncated or corrupted.*checksum of 'a' differs"):
            tensors["a"].read((rows, slice(None)))
    np.testing.assert_array_equal(tensors["a"].read((slice(96, 99), slice(None))), VALUES[96:99])
    with pytest.raises(ValueError, match="checksum of 'a'"):
        tensor_file.content_of(bytes(content))


def test_a_file_of_others_is_taken_as_it_is(tmp_path):
    safetensors.numpy.save_file({"a": VALUES}, tmp_path / "file")
    np.testing.assert_array_equal(tensor_file.open_file(tmp_path / "file")[0]["a"].whole(), VALUES)


def test_json_says_that_it_was_changed():
    values = {"b": [1, 2.5, None], "a": "x"}
    written = json.loads(json.dumps(checksums.sealed(values)))
    assert checksums.unsealed("f", written) == values == checksums.unsealed("f", values)
    with pytest.raises(UserError, match='f is not as it was written.*remove "checksum"'):
        checksums.unsealed("f", {**written, "a": "y"})
