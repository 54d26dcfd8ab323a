import pytest
import seqio
import tensorflow as tf

from mpt_jax.tasks import info, metrics, registration

BYTES = seqio.ByteVocabulary()
ROWS = {"text": ["abcdefgh", "b"], "label": ["yes", "no"], "note": ["x", "y"]}


@pytest.fixture(autouse=True)
def _own_registries(monkeypatch):
    for registry in (seqio.TaskRegistry, seqio.MixtureRegistry):
        monkeypatch.setattr(registry, "_REGISTRY", {})
    monkeypatch.setattr(info, "_INFO", {})


def add(name="toy", word="inputs: ", metric="accuracy"):
    def render(rows):
        return rows.map(
            lambda row: {"inputs": word + row["text"], "targets": row["label"], "note": row["note"]}
        )

    source = seqio.FunctionDataSource(
        lambda split, shuffle_files, seed=None: tf.data.Dataset.from_tensor_slices(ROWS),
        splits=("train",),
        num_input_examples={"train": 2},
    )
    registration.add_task(
        name,
        source,
        [render],
        vocabulary=BYTES,
        metric_fns=[metrics.accuracy],
        info=info.TaskInfo(("yes", "no"), metric),
    )


def read(name="toy", length=64):
    task = seqio.get_mixture_or_task(name)
    rows = task.get_dataset({"inputs": length, "targets": length}, "train", shuffle=False)
    return list(rows.as_numpy_iterator())


def test_text_is_tokenised_and_ended_and_other_features_are_kept():
    add()
    row = read()[0]
    assert row["inputs_pretokenized"] == b"inputs: abcdefgh" and row["note"] == b"x"
    assert row["inputs"].tolist() == [*BYTES.encode("inputs: abcdefgh"), 1]
    assert row["targets"].tolist() == [*BYTES.encode("yes"), 1]


def test_text_that_is_too_long_still_ends_with_eos():
    add()
    assert read(length=5)[0]["inputs"].tolist() == [*BYTES.encode("inpu"), 1]


def test_a_task_of_the_same_name_is_replaced_with_its_facts():
    add()
    add(word="text: ", metric="f1")
    assert read()[0]["inputs_pretokenized"] == b"text: abcdefgh"
    assert info.info("toy").metric == "f1"


def test_a_mixture_is_in_proportion_to_rows_and_can_be_replaced():
    add("toy_a")
    add("toy_b")
    registration.add_mixture("toys", ["toy_a"])
    registration.add_mixture("toys", ["toy_a", "toy_b"])
    mixture = seqio.get_mixture_or_task("toys")
    assert [mixture.get_rate(task) for task in mixture.tasks] == [2, 2]
