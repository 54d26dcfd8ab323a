import pytest
from real import held_out


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("It do n't  work .", "it don't work."),
        ("crème brûlée", "creme brulee"),
        ("( sic )", "-LRB- sic -RRB-"),
    ],
)
def test_equal_but_for_the_writing(one, other):
    assert held_out.key(one) == held_out.key(other)


def test_texts_without_letters_differ():
    assert held_out.key("?") != held_out.key("!")


def test_a_long_text_is_found_in_a_longer_one_and_a_short_one_is_not():
    held = held_out.HeldOut(["A film that never quite ends .", "bad ."])
    assert held.is_in("well: a film that never quite ends, ever") and held.is_in("Bad !")
    assert not held.is_in("bad in every way you could ever think of")
    assert not held.is_in("a film that never quite begins")
