import pytest

from mpt_jax.tasks.paper import splits


def rows(part, size):
    return list(range(size))[slice(*part.bounds(size))]


@pytest.mark.parametrize("size", [277, 408, 1043, 1])
def test_halves_share_out_the_validation_split(size):
    validation, test = splits.HALVES["validation"], splits.HALVES["test"]
    assert {validation.split, test.split} == {"validation"}
    assert rows(validation, size) + rows(test, size) == list(range(size))
    assert len(rows(validation, size)) == size // 2  # CoLA 521 and 522, RTE 138 and 139
    assert rows(splits.HALVES["train"], size) == list(range(size))


def test_a_thousand_training_rows_are_held_out():
    recipe = splits.held_out(train="train_xl", test="validation")
    assert [recipe[name].split for name in recipe] == ["train_xl", "train_xl", "validation"]
    assert rows(recipe["validation"], 2500) == list(range(1000))
    assert rows(recipe["train"], 2500) == list(range(1000, 2500))
    assert rows(recipe["train"], 700) == []
    assert rows(recipe["test"], 9) == list(range(9))


def test_mnli_tests_on_the_matched_split():
    assert splits.MNLI["validation"].split == "validation_mismatched"
    assert splits.MNLI["test"].split == "validation_matched"
