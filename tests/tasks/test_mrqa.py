import paper_data
import pytest
import tensorflow as tf

from mpt_jax.tasks.paper import mrqa


@pytest.mark.parametrize(
    ("text", "spaced"),
    [
        ("Who's  it?", "Who ' s it ?"),
        ("(a-b)\n\tc_d", "( a - b ) c _ d"),
        ("F\u00f6rster, 5\u20136", "F\u00f6rster , 5\u20136"),  # only ASCII counts
        ("", ""),
    ],
)
def test_punctuation_stands_apart(text, spaced):
    assert mrqa.spaced(tf.constant(text)).numpy().decode() == spaced
    mapped = tf.data.Dataset.from_tensors(text).map(mrqa.spaced)
    assert next(mapped.as_numpy_iterator()).decode() == spaced


@pytest.mark.parametrize(
    ("name", "read", "answers"),
    [
        ("squad", mrqa.squad_question, [b"Anna", b"chief A . Smith"]),
        ("nq", mrqa.question, [b"Ann - Mary", b"Ann"]),
    ],
)
def test_the_first_answer_is_the_target_and_all_count(name, read, answers):
    row = paper_data.EXAMPLES[name].row
    if name != "squad":
        row = {key: row[key] for key in mrqa.TASKS[name].features}
    row = paper_data.tensors(row)
    mapped = next(tf.data.Dataset.from_tensors(row).map(read).as_numpy_iterator())
    for fields in (mapped, {key: value.numpy() for key, value in read(row).items()}):
        assert fields["targets"] == answers[0]
        assert fields["references"].tolist() == answers
