"""Slot accuracy of e2e: which of the facts asked for a sentence states, found by patterns.

100 less the slot error rate in percent (Wen et al., 2015; for E2E by patterns: Dušek, Howcroft and
Rieser, 2019): facts that are missing, wrong or added, of those asked for. The patterns are ours. A
level and its number ("cheap", "less than £20") are the same fact. Any place may be called a
restaurant, so that is never wrong. A sentence that states nothing scores 0, and one that adds much
less.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

Facts = Mapping[str, str]  # slot -> value
Stated = Mapping[str, frozenset[str]]  # slot -> values

_LEVELS = {  # the values of priceRange and "customer rating" -> what they are compared as
    "cheap": "low",
    "less than £20": "low",
    "moderate": "average",
    "£20-25": "average",
    "more than £30": "high",
    "1 out of 5": "low",
    "3 out of 5": "average",
    "5 out of 5": "high",
}
_RATING = r"(?:customer |costumer |consumer |user )?(?:rat|review|scor)"
_RATED = (
    r"(?:rat(?:ed|ing|ings)|reviews?|scores?)(?: (?:is|are|was|were|as|of|at|a|an|very|quite))*"
)


def _rated(number: str, words: str) -> str:
    stars = rf"\b(?:{number}) (?:out )?(?:of )?(?:5|five)\b|\b(?:{number}) stars?\b"
    return rf"{stars}|\b(?:{words}) {_RATING}|{_RATED} (?:{words})\b(?! (?:price|cost))"


_PATTERNS = {  # of text as `_plain` gives it
    "eattype": {
        "coffee shop": r"\bcoffee\b|\bcafe\b",
        "pub": r"\bpub\b",
        "restaurant": r"\brestaurant\b",
    },
    "food": {
        "english": r"\b(?:english|british)\b",
        "fast food": r"\bfast food\b",
        **{name: rf"\b{name}\b" for name in ("chinese", "french", "indian", "italian", "japanese")},
    },
    "pricerange": {
        "low": r"\bcheap|\binexpensive|\baffordabl|\blow(?:er)? (?:price|cost)"
        r"|(?:less than|under|below|lower than|cheaper than) £? ?20\b",
        "average": r"\bmoderate(?:ly)?\b(?! (?:customer|rat))|\breasonabl"
        r"|\b(?:mid|medium|average)(?:ly)? (?:price|cost|range)|£? ?\b20 (?:to |and )?£? ?25\b",
        "high": r"\bexpensive|\bpricey|\bhigh(?:er|ly)? (?:price|cost|end)"
        r"|\bpric(?:es?|ing)(?: range)?(?: (?:is|are))? high\b"
        r"|(?:more than|over|above|higher than) £? ?30\b",
    },
    "customer rating": {
        "low": _rated("1|one", "low|lowly|poor|poorly|bad|badly"),
        "average": _rated("3|three", "average|averagely|decent|okay|mediocre|moderate"),
        "high": _rated("5|five", "high|highly|excellent|good|great|well|top"),
    },
    "area": {
        "riverside": r"\briver",
        "city centre": r"\bcent(?:re|er)\b|\bcity\b",
    },
}
_FAMILY = r"(?:famil|kid|child)"
_NOT = r"(?:\b(?:not?|non|never|isnt|doesnt)\b|n't\b)"
_NO_FAMILY = (
    rf"{_NOT}(?: (?!and\b|but\b|with\b)[\w']+){{0,4}}? {_FAMILY}|\badults?\b"
    rf"|\bunsuitable for {_FAMILY}"
    rf"|{_FAMILY}\w*(?: (?!and\b|but\b|with\b)[\w']+){{0,2}} (?:not|unfriendly|unwelcome)\b"
)
_FREE = ("eattype", "restaurant")


def facts(meaning: str) -> dict[str, str]:
    """The facts of "name[The Eagle], food[English]", in lower case, levels instead of numbers."""
    found = re.findall(r"([\w ]+)\[([^\]]*)\]", meaning.lower())
    return {slot.strip(): _LEVELS.get(value, value) for slot, value in found}


class Reader:
    """Finds the facts that sentences state.

    Args:
      asked: facts whose values of "name" and "near" are all the places that may be stated.
    """

    def __init__(self, asked: Iterable[Facts]):
        self._places: dict[str, dict[str, str]] = {"name": {}, "near": {}}
        for each in asked:
            for slot, patterns in self._places.items():
                if slot in each:
                    name = _plain(each[slot]).removeprefix("the ")
                    patterns[each[slot]] = rf"\b{re.escape(name)}\b"

    def stated(self, text: str) -> dict[str, frozenset[str]]:
        """Slot -> the values that a sentence states; none where it is silent."""
        plain, found = _plain(text), {}
        for slot, patterns in self._places.items():
            found[slot] = _values(patterns, plain)
        for patterns in self._places.values():
            for pattern in patterns.values():  # "raja indian cuisine" is no kind of food
                plain = re.sub(pattern, "_", plain)
        for slot, patterns in _PATTERNS.items():
            found[slot] = _values(patterns, plain)
        friendly = re.search(rf"\b{_FAMILY}", plain) and "yes"
        friendly = "no" if re.search(_NO_FAMILY, plain) else friendly
        found["familyfriendly"] = frozenset([friendly] if friendly else [])
        return found


def errors(asked: Facts, stated: Stated) -> int:
    """Facts that are missing, wrong or added; a wrong value of a slot is one error."""
    count = 0
    for slot, values in stated.items():
        wrong = {v for v in values if v != asked.get(slot) and (slot, v) != _FREE}
        is_missing = slot in asked and asked[slot] not in values
        count += max(len(wrong), is_missing)
    return count


def slot_accuracy(asked: Sequence[Facts], stated: Sequence[Stated]) -> float:
    """100 (1 - errors / facts asked for), over all examples; at most 100, below 0 at worst.

    Args:
      asked: of each example.
      stated: by its sentence.
    """
    wrong = sum(errors(*pair) for pair in zip(asked, stated, strict=True))
    return 100.0 * (1 - wrong / sum(map(len, asked)))


def best_constant(asked: Sequence[Facts], texts: Iterable[str], reader: Reader) -> str:
    """The one of `texts` that has the best slot accuracy when it is given to every example."""
    by_facts: dict[tuple, str] = {}
    for text in texts:
        by_facts.setdefault(tuple(sorted(reader.stated(text).items())), text)

    def score(stated: tuple) -> float:
        return slot_accuracy(asked, [dict(stated)] * len(asked))

    return by_facts[max(by_facts, key=score)]


def _values(patterns: Mapping[str, str], plain: str) -> frozenset[str]:
    return frozenset(value for value, pattern in patterns.items() if re.search(pattern, plain))


def _plain(text: str) -> str:
    """Lower case without accents; hyphens are spaces."""
    letters = unicodedata.normalize("NFKD", text.lower())
    text = "".join(c for c in letters if not unicodedata.combining(c))
    return " ".join(re.sub("[-–]", " ", text.replace("’", "'")).split())
