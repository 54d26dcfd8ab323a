import numpy as np
import paper_data
import pytest
import tensorflow as tf

from mpt_jax.tasks.paper import super_glue


def both(read, row):
    """What `read` gives alone, checked to be what it gives inside tf.data."""
    row = paper_data.tensors(row)
    alone = {key: np.asarray(value) for key, value in read(row).items()}
    mapped = next(tf.data.Dataset.from_tensors(row).map(read).as_numpy_iterator())
    assert alone.keys() == mapped.keys()
    for key, value in alone.items():
        np.testing.assert_array_equal(value, mapped[key])
    return alone


def spans(text, span1, start1, span2, start2):
    names = ("text", "span1_text", "span1_index", "span2_text", "span2_index")
    return dict(zip(names, (text, span1, start1, span2, start2), strict=True))


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (spans("Tom saw Bob. He fell.", "Tom", 0, "He", 3), "* Tom * saw Bob. # He # fell."),
        (spans("He saw (Bob).", "saw (Bob", 1, "He", 0), "# He # * saw (Bob *)."),
        (spans("it hit it", "it", 2, "it", 0), "# it # hit * it *"),
        (spans("Bob ran", "Bob", 0, "ran", 1), "* Bob * # ran #"),
        # A span that is not there, or lies beyond the text, stays unmarked.
        (spans("Bob ran", "Tom", 0, "ran", 1), "Bob # ran #"),
        (spans("Bob ran", "Bob", 0, "he", 9), "* Bob * ran"),
    ],
)
def test_spans_are_marked_where_they_begin(row, text):
    assert both(super_glue.marked_spans, row)["text"] == text.encode()


def test_markup_goes_and_the_question_is_the_group():
    row = paper_data.EXAMPLES["multirc"].row
    read = both(super_glue.answer_of_question, row)
    assert read["paragraph"] == b"Sent 1: Tom ran. Sent 2: He fell."
    assert read["group"].tolist() == [3, 7]


def test_highlights_become_sentences():
    row = {**paper_data.EXAMPLES["record"].row, "answer": "Tom"}
    read = both(super_glue.cloze, row)
    assert read["passage"] == b"Anna met Tom. They sang. Tom left"
    assert read["entities"] == b"Anna, Tom" and read["targets"] == b"Tom"
    assert read["references"].tolist() == [b"Tom", b"Tom Smith"]


@pytest.mark.parametrize(("training", "answers"), [(True, ["Tom", "Tom Smith"]), (False, ["Tom"])])
def test_each_answer_trains_and_a_query_is_asked_once(training, answers):
    rows = tf.data.Dataset.from_tensors(paper_data.tensors(paper_data.EXAMPLES["record"].row))
    arranged = super_glue.one_row_per_answer(rows, training).as_numpy_iterator()
    assert [row["answer"].decode() for row in arranged] == answers
