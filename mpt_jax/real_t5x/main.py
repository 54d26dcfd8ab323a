"""T5X's own programs with our gin files: `python -m t5x.main --run_mode=train --gin_file=...`.

T5X calls its `train` with what gin has for `__main__.train`; our files configure the facade's
`train.train`. When gin has read all files, each argument of the former is bound to what the latter
translates to. The same holds for `evaluate` and `infer`.
"""

import functools
import importlib
import sys
from collections.abc import Mapping
from typing import Any

import gin
from absl import flags

from mpt_jax.configuration import config as settings
from mpt_jax.errors import UserError
from mpt_jax.real_t5x import installed

# T5X's function -> the name of its module, in T5X, in the facade and here.
_MODULES = {"train": "train", "evaluate": "eval", "infer": "infer"}


def adopt() -> None:
    """Has gin call `_bind` once it has read all files and bindings."""
    installed.check()
    gin.config.register_finalize_hook(_bind)


def _bind(config: Mapping[tuple[str, str], Mapping[str, Any]]) -> dict[str, Any]:
    """A gin finalize hook: binds each argument of T5X's function to a reference to `argument`.

    Raises:
        UserError: a binding of T5X's function itself, which these would replace; what `t5x` refuses
            too, as a setting without effect.
    """
    given = flags.FLAGS
    settings.check(given.gin_file, given.gin_bindings, given.gin_search_paths)
    function = _function()
    entry = f"__main__.{function}"
    for (_, selector), bound in config.items():
        if bound and selector == entry:
            raise UserError(
                f"{entry}.{next(iter(bound))} is T5X's own and would have no effect: our gin files "
                f"set it as {_MODULES[function]}.{function}.NAME of mpt_jax.t5x (docs/t5x.md)."
            )
    names = installed.USED[f"t5x.{_MODULES[function]}"][function].split()
    return {
        f"{entry}.{name}": gin.config.ConfigurableReference(f"{name}/{_ARGUMENT}", True)
        for name in names
    }


@gin.configurable(module="mpt_jax")
def argument() -> Any:
    """The argument of T5X's function that the current gin scope names."""
    return _arguments()[gin.current_scope()[-1]]


_ARGUMENT = "mpt_jax.argument"


@functools.cache
def _arguments() -> dict[str, Any]:
    function = _function()
    module = _MODULES[function]
    facade = getattr(importlib.import_module(f"mpt_jax.t5x.{module}"), function)
    with gin.config_scope(None):
        try:
            bound = gin.get_bindings(facade)
        except ValueError:
            raise UserError(
                f"the gin files do not configure {module}.{function} of mpt_jax.t5x: give one "
                f"that fits --run_mode={module}."
            ) from None
        real = importlib.import_module(f"mpt_jax.real_t5x.{module}")
        return real.arguments(facade.settings(**bound))


def _function() -> str:
    """Which of T5X's functions the program runs."""
    program = sys.modules["__main__"]
    return next(name for name in _MODULES if hasattr(program, name))
