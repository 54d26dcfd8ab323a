"""Which engine runs what the gin files configure: ours, or the real T5X where it is installed.

The facade's classes hold settings and are the same for both; its functions (`train.train`,
`eval.evaluate`, `infer.infer`) are run by the engine that was chosen.
"""

import contextlib
import functools
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

OWN, T5X = "mpt_jax", "t5x"
ENGINES = (OWN, T5X)

_T5X_PROGRAMS = ("main", "train", "eval", "infer")
_chosen = OWN
_withheld: list[Any] | None = None


def choose(engine: str) -> None:
    """Makes one of `ENGINES` run what is called from now on."""
    global _chosen
    _chosen = engine


def by_engine(settings: type, own: Callable[[Any], Any], real: str) -> Callable[..., Any]:
    """A function whose arguments are the fields of `settings`, run by the chosen engine.

    Args:
        settings: the class, kept as an attribute of the function.
        own: our engine's function of such settings.
        real: the module that has the function of that name for the real T5X; imported when called.
    """

    @functools.wraps(own)
    def run(**arguments: Any) -> Any:
        if _withheld is not None:
            _withheld.append(settings(**arguments))
            return None
        chosen = own
        if _chosen == T5X:
            chosen = getattr(importlib.import_module(real), own.__name__)
        return chosen(settings(**arguments))

    del run.__wrapped__  # gin would take its signature
    run.settings = settings
    run.__signature__ = inspect.signature(settings)
    return run


@contextlib.contextmanager
def withheld() -> Iterator[list[Any]]:
    """Within it nothing is run: the settings of what is called are put on the list instead."""
    global _withheld
    _withheld = []
    try:
        yield _withheld
    finally:
        _withheld = None


def is_t5x_program() -> bool:
    """Whether this process is one of T5X's own programs (`python -m t5x.main`, ...)."""
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None) or ""
    name = spec.name if spec else ".".join(os.path.splitext(file)[0].split(os.sep)[-2:])
    return name in [f"t5x.{program}" for program in _T5X_PROGRAMS]


if is_t5x_program():  # there our gin files configure T5X's entry point through this module
    from mpt_jax.real_t5x import main

    choose(T5X)
    main.adopt()
