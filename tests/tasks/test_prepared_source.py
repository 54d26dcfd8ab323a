import time

import paper_data
import pytest
import seqio

from mpt_jax.errors import UserError
from mpt_jax.tasks.paper import splits
from mpt_jax.tasks.paper.prepared_source import PreparedSource

RTE = "glue/rte:2.0.0"


def rte_row(i):
    return {"sentence1": f"row {i}", "sentence2": "x", "label": i % 2, "idx": i}


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("prepared"))
    rows = {name: [rte_row(i) for i in range(n)] for name, n in (("train", 4), ("validation", 7))}
    paper_data.store("rte", rows, folder)
    return folder


def ids(source, split, **how):
    rows = source.get_dataset(split, **{"shuffle": False, **how})
    return [int(row["idx"]) for row in rows.as_numpy_iterator()]


def test_splits_are_the_parts_of_the_recipe(folder):
    source = PreparedSource("rte", RTE, splits.HALVES, data_dir=folder)
    assert source.splits == ("train", "validation", "test")
    assert ids(source, "train") == [0, 1, 2, 3]
    assert ids(source, "validation") == [0, 1, 2]
    assert ids(source, "test") == [3, 4, 5, 6]
    assert [source.num_input_examples(split) for split in source.splits] == [4, 3, 4]
    assert len(source.list_shards("test")) == 1


def test_only_the_asked_features_are_read(folder):
    source = PreparedSource("rte", RTE, splits.HALVES, features=("idx",), data_dir=folder)
    assert [*source.get_dataset("test", shuffle=False).element_spec] == ["idx"]


def test_arranged_rows_are_counted_as_arranged(folder):
    def twice_in_training(rows, training):
        return rows.repeat(2) if training else rows.take(1)

    source = PreparedSource("rte", RTE, splits.HALVES, arrange=twice_in_training, data_dir=folder)
    assert [source.num_input_examples(split) for split in source.splits] == [8, 1, 1]
    assert ids(source, "test") == [3]


def test_nothing_is_looked_up_before_a_split_is_asked_for(tmp_path):
    PreparedSource("rte", RTE, splits.HALVES, data_dir=str(tmp_path / "no such folder"))
    assert not list(tmp_path.iterdir())


def test_data_that_are_not_prepared_are_said_at_once(tmp_path):
    source = PreparedSource("rte", RTE, splits.HALVES, data_dir=str(tmp_path))
    start = time.monotonic()
    with pytest.raises(UserError) as error:
        source.num_input_examples("train")
    assert time.monotonic() - start < 10  # a download that cannot succeed takes minutes
    message = str(error.value)
    assert "'rte'" in message and str(tmp_path) in message and "download_and_prepare()" in message
    # Once prepared, the same process finds them.
    paper_data.store("rte", {"train": [rte_row(0)], "validation": [rte_row(1)] * 2}, str(tmp_path))
    assert source.num_input_examples("train") == 1


def test_the_command_that_prepares_the_data_is_python(tmp_path):
    source = PreparedSource("rte", RTE, splits.HALVES, data_dir=str(tmp_path))
    with pytest.raises(UserError) as error:
        source.get_dataset("train")
    command = next(line for line in str(error.value).splitlines() if "python -c" in line)
    code = command.split('"')[1].replace(".download_and_prepare()", "")
    assert code.startswith("import tensorflow_datasets as tfds; ")
    builder = eval(code.split("; ")[1], {"tfds": paper_data.tfds})  # noqa: S307
    assert (builder.name, str(builder.data_dir_root)) == ("glue", str(tmp_path))


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({**splits.HALVES, "test": splits.Part("validaton")}, "no split 'validaton'.*'validation'"),
        (splits.held_out(), "no rows for 'train': their split 'train' has only 4"),
    ],
)
def test_a_recipe_that_the_data_cannot_fill_is_refused(folder, recipe, message):
    with pytest.raises(UserError, match=message):
        PreparedSource("rte", RTE, recipe, data_dir=folder).num_input_examples("train")


def test_the_folder_that_seqio_was_told_of_wins(folder, tmp_path):
    source = PreparedSource("rte", RTE, splits.HALVES, data_dir=str(tmp_path))
    seqio.set_tfds_data_dir_override(folder)
    try:
        assert source.num_input_examples("train") == 4
    finally:
        seqio.set_tfds_data_dir_override(None)
