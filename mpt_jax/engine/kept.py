"""What runs that follow each other in one process share, instead of each making it again.

Only within `keeping`: a process of one run gains nothing by it, and would hold the memory.
"""

import collections
import contextlib
from collections.abc import Callable, Hashable, Iterator
from typing import Any

_kept: dict[str, collections.OrderedDict[Hashable, Any]] | None = None


@contextlib.contextmanager
def keeping() -> Iterator[None]:
    """Within it `once` keeps what is made, up to the end of the outermost block."""
    global _kept
    before = _kept
    _kept = {} if before is None else before
    try:
        yield
    finally:
        _kept = before


def once(kind: str, key: Callable[[], Hashable], make: Callable[[], Any], *, most: int = 32) -> Any:
    """`make()`; or what it gave when it was last called for an equal key.

    Args:
        kind: of the keys.
        key: gives all that decides what is made; None: it must not be kept.
        make: gives what nobody will change.
        most: how many of a kind are kept; the one that was not asked for the longest goes first.
    """
    if _kept is None:
        return make()
    found, decided = _kept.setdefault(kind, collections.OrderedDict()), key()
    if decided in found:
        found.move_to_end(decided)
        return found[decided]
    while len(found) >= most:  # before, so that never more are in memory
        found.popitem(last=False)
    made = make()
    if decided is not None:
        found[decided] = made
    return made
