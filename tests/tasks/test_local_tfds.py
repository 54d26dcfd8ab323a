import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from mpt_jax.errors import UserError
from mpt_jax.tasks.local import tfds as local_tfds
from mpt_jax.tasks.local.template import BadRow


def row(number):
    return {
        "text": f"row {number} é",
        "label": number % 2,
        "score": np.float32(3.8),
        "flag": number == 0,
        "answers": [f"a{i}" for i in range(number + 1)],
        "nested": {"id": number},
        "raw": b"\xff" if number == 2 else b"fine",
    }


def as_read(number):
    plain = {"label": str(number % 2), "score": "3.8", "nested": {"id": str(number)}, "raw": "fine"}
    return {**row(number), **plain}


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory):
    """A prepared dataset, written by TFDS itself."""
    tfds.disable_progress_bar()
    features = {
        "text": tfds.features.Text(),
        "label": tfds.features.ClassLabel(names=["negative", "positive"]),
        "score": np.float32,
        "flag": np.bool_,
        "answers": tfds.features.Sequence(tfds.features.Text()),
        "nested": {"id": np.int32},
        "raw": tf.string,
    }
    data_dir = tmp_path_factory.mktemp("prepared")
    tfds.dataset_builders.store_as_tfds_dataset(
        name="reviews",
        version="1.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={"train": [(number, row(number)) for number in range(4)]},
        data_dir=data_dir,
        disable_shuffling=True,
    )
    return data_dir / "reviews" / "1.0.0"


def read(folder, split):
    return list(local_tfds.read_tfds(folder, split))


def test_rows_are_plain_and_numbered(folder):
    found = read(folder, "train")
    assert [number for number, _ in found] == [1, 2, 3, 4]
    assert [found[i][1] for i in (0, 1, 3)] == [as_read(i) for i in (0, 1, 3)]
    assert isinstance(found[2][1], BadRow) and str(found[2][1]) == "its text is not UTF-8"


def test_splits_may_be_slices(folder):
    assert read(folder, "train[:1]") == [(1, as_read(0))]
    assert read(folder, "train[75%:]") == [(1, as_read(3))]


def test_an_unknown_split_comes_with_those_there_are(folder):
    for split in ("trian", "train[1", "train[x:]"):
        with pytest.raises(UserError, match="which has train"):
            read(folder, split)


def test_a_folder_without_a_dataset(folder, tmp_path):
    with pytest.raises(UserError, match="no prepared TFDS dataset in .*nowhere"):
        read(tmp_path / "nowhere", "train")
    with pytest.raises(UserError, match=f"Perhaps one of these: {folder}"):
        read(folder.parents[1], "train")


def test_a_damaged_dataset(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (file,) = copy.glob("*.tfrecord*")
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(UserError, match="copy is damaged: .*truncated"):
        read(copy, "train")
