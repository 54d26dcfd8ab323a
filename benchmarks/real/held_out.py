"""Finds the texts that must not be trained on, whatever their case, spacing and punctuation."""

import collections
import re
import unicodedata
from collections.abc import Iterable

_SHORTEST_PART = 20  # letters: of shorter texts ("bad .") only the whole is compared


def normal(text: str) -> str:
    """The text without case, in NFKC, with single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def key(text: str) -> str:
    """What equal texts have in common: letters without accents, and digits, or else all of it.

    Corpora differ in more than case: one has "crème" and "(", another "creme" and "-lrb-".
    """
    text = re.sub("-[lr][rcs]b-", " ", unicodedata.normalize("NFKD", normal(text)))
    return re.sub(r"[\W_]", "", text) or text


class HeldOut:
    """A set of texts, which other texts are or contain.

    Args:
      texts: those of the evaluated rows.
    """

    def __init__(self, texts: Iterable[str]):
        self._keys = {key(text) for text in texts}
        self._by_start = collections.defaultdict(list)
        for each in self._keys:
            if len(each) >= _SHORTEST_PART:
                self._by_start[each[:_SHORTEST_PART]].append(each)

    def is_in(self, text: str) -> bool:
        """Whether `text` is one of the set, or has one of them, if it is long enough, in it."""
        whole = key(text)
        return whole in self._keys or any(
            whole.startswith(part, at)
            for at in range(len(whole) - _SHORTEST_PART + 1)
            for part in self._by_start.get(whole[at : at + _SHORTEST_PART], ())
        )
