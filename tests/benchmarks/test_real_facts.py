import pytest
from real import facts

MEANING = (
    "name[the eagle], eattype[coffee shop], food[english], pricerange[less than £20], customer "
    "rating[5 out of 5], area[riverside], familyfriendly[no], near[raja indian cuisine]"
)
OTHERS = ({"name": "the mill", "near": "café brazil"}, {"name": "cotto"})
READER = facts.Reader((facts.facts(MEANING), *OTHERS))
WHOLE = (
    "the eagle is a cheap coffee shop near raja indian cuisine, by the river. its english food has "
    "a high customer rating, but it is not family-friendly."
)


def errors(text, meaning=MEANING):
    return facts.errors(facts.facts(meaning), READER.stated(text))


def test_facts_are_read_with_levels_for_numbers():
    assert facts.facts(MEANING) == {
        "name": "the eagle",
        "eattype": "coffee shop",
        "food": "english",
        "pricerange": "low",
        "customer rating": "high",
        "area": "riverside",
        "familyfriendly": "no",
        "near": "raja indian cuisine",
    }


@pytest.mark.parametrize(
    "old, new, count",
    [
        ("", "", 0),
        ("the eagle", "eagle", 0),
        ("the eagle", "it", 1),  # missing
        ("the eagle", "cotto", 1),  # wrong
        ("the eagle", "the eagle, not cotto,", 1),  # added
        ("raja indian cuisine", "cafe brazil", 1),
        ("coffee shop", "coffee shop and restaurant", 0),
        ("coffee shop", "restaurant", 1),
        ("coffee shop", "pub", 1),
        ("english", "indian", 1),
        ("english", "british", 0),
        ("cheap", "£20-25", 1),
        ("a cheap coffee shop", "a coffee shop for less than £20", 0),
        ("a cheap coffee shop", "an expensive coffee shop", 1),
        ("a high customer rating", "high prices", 2),
        ("a high customer rating", "5 out of 5 stars", 0),
        ("a high customer rating", "average reviews", 1),
        ("by the river", "in the city centre", 1),
        ("not family-friendly", "family-friendly", 1),
        ("not family-friendly", "for adults only", 0),
        ("it is not family-friendly", "children aren't welcome", 1),  # known miss: after the word
    ],
)
def test_what_is_missing_wrong_or_added_is_counted(old, new, count):
    assert old in WHOLE
    assert errors(WHOLE.replace(old, new)) == count


def test_a_fact_that_nobody_asked_for_is_an_error_but_a_restaurant_is_not():
    assert errors("cotto is a restaurant", "name[cotto]") == 0
    assert errors("cotto is a cheap pub for kids", "name[cotto]") == 3


@pytest.mark.parametrize(
    "text, value",
    [
        ("kid friendly", "yes"),
        ("welcomes families", "yes"),
        ("not expensive and family friendly", "yes"),
        ("non family-friendly", "no"),
        ("isn't suitable for children", "no"),
        ("no kids", "no"),
        ("children are not allowed", "no"),
    ],
)
def test_whether_families_are_welcome(text, value):
    assert READER.stated(text)["familyfriendly"] == {value}


def test_the_score_is_of_all_facts_together():
    asked = [facts.facts("name[cotto]"), facts.facts(MEANING)]
    told = [READER.stated("cotto"), READER.stated(WHOLE)]
    silent = [READER.stated("hello")] * 2
    assert facts.slot_accuracy(asked, told) == 100
    assert facts.slot_accuracy(asked, silent) == 0
    assert facts.slot_accuracy(asked, [silent[0], told[1]]) == pytest.approx(100 * 8 / 9)
    much = READER.stated("the mill, the eagle")
    assert facts.slot_accuracy(asked[:1], [much]) == -100  # one fact: two wrong


def test_the_best_constant_has_the_commonest_facts():
    asked = [facts.facts(f"name[{name}], area[riverside]") for name in ("cotto", "cotto", "mill")]
    texts = ["hello", "cotto", "cotto by the river", "cotto by the river in the city"]
    assert facts.best_constant(asked, texts, READER) == "cotto by the river"
