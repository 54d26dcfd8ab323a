import pytest
import tensorflow as tf

from mpt_jax.tasks.paper import generation

MEANINGS = ["name[A]", "name[B]", "name[A]", "name[A]"]
TEXTS = ["A is.", "B is.", "There is A.", "A!"]


def e2e_rows():
    columns = {"meaning_representation": MEANINGS, "target": TEXTS}
    return tf.data.Dataset.from_tensor_slices(columns)


def test_texts_of_one_meaning_are_references_of_one_row():
    rows = generation.references_together(e2e_rows(), training=False)
    found = {row["meaning"]: row for row in rows.as_numpy_iterator()}
    assert {key: row["references"].tolist() for key, row in found.items()} == {
        b"name[A]": [b"A is.", b"There is A.", b"A!"],
        b"name[B]": [b"B is."],
    }
    assert found[b"name[A]"]["targets"] == b"A is."
    again = generation.references_together(e2e_rows(), training=False)
    assert [row["meaning"] for row in again.as_numpy_iterator()] == [*found]


def test_each_text_trains():
    rows = list(generation.references_together(e2e_rows(), training=True).as_numpy_iterator())
    assert [row["meaning"].decode() for row in rows] == MEANINGS
    assert [row["targets"].decode() for row in rows] == TEXTS


@pytest.mark.parametrize(("given", "used"), [(["a", "b"], [b"a", b"b"]), ([], [b"t"])])
def test_triples_are_one_line_and_a_text_without_references_is_its_own(given, used):
    row = {
        "input": tf.constant(["x | y | z", "z | is | x"]),
        "target": tf.constant("t"),
        "references": tf.constant(given, tf.string),
    }
    mapped = next(tf.data.Dataset.from_tensors(row).map(generation.triples).as_numpy_iterator())
    for fields in (mapped, {key: value.numpy() for key, value in generation.triples(row).items()}):
        assert fields["triples"] == b"x | y | z && z | is | x" and fields["targets"] == b"t"
        assert fields["references"].tolist() == used
