"""Refuses values that are not of the type which a function of ours declares for its argument.

Gin hands over whatever was written: `--gin.MODEL_DIR=2024` is a number.
"""

import collections.abc
import inspect
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any

import gin

from mpt_jax.errors import UserError

Config = Mapping[tuple[str, str], Mapping[str, Any]]
"""What gin hands to its hooks: (scope, selector) -> {argument: value}."""

_MACRO = "gin.macro"
_LITERALS = (str, bool, int, float, list, tuple, dict)
_SEVERAL = {collections.abc.Sequence: (list, tuple), list: (list, tuple), tuple: (list, tuple)}
_SEVERAL |= {collections.abc.Mapping: (dict,), dict: (dict,)}
_WORDS = {str: "text", bool: "True or False", int: "a whole number", float: "a number"}


def refuse_wrong_types(config: Config) -> None:
    """Called by gin when all is read.

    Looks at what is written as a literal, also behind macros, and at arguments of ours that are
    declared as text, numbers, True or False, lists and dicts of anything.

    Raises:
        UserError: names the setting, what it is and what it must be.
    """
    for (scope, selector), bound in config.items():
        for argument, value in bound.items():
            if selector.startswith("mpt_jax."):
                macro, literal = _resolved(value, config)
                _check(scope, selector, argument, macro, literal)


def _resolved(value: Any, config: Config) -> tuple[str | None, Any]:
    """The macro that holds a bound value, if one does, and the value behind all macros."""
    holder = None
    while isinstance(value, gin.config.ConfigurableReference) and value.selector == _MACRO:
        holder = value.scoped_selector.rpartition("/")[0]
        value = config.get((holder, _MACRO), {}).get("value", inspect.Parameter.empty)
    return holder, value


def _check(scope: str, selector: str, argument: str, macro: str | None, value: Any) -> None:
    declared = _declared(selector, argument)
    if _fits(value, declared):
        return
    target = ".".join([*selector.split(".")[-2:], argument])
    target = f"{scope}/{target}" if scope else target
    text = declared if isinstance(declared, str) else inspect.formatannotation(declared)
    if value is None:
        named = f"{target} (the macro {macro})" if macro else target
        raise UserError(f"{named} cannot be None: it is declared as {text}.")
    wanted = " or ".join(_WORDS[kind] for kind in _kinds(declared) if kind in _WORDS)
    remedy = f" As text: --gin.{macro or target}='\"{value}\"'." if "text" in wanted else ""
    raise UserError(
        f"{macro or target} = {value!r} must be {wanted or text} "
        f"({target} is declared as {text}).{remedy}"
    )


def _declared(selector: str, argument: str) -> Any:
    """The annotation of an argument; Any where there is none, or none that can be read."""
    called = gin.get_configurable(selector)
    names = vars(sys.modules[called.__module__])
    called = called.__init__ if inspect.isclass(called) else called
    parameter = inspect.signature(called).parameters.get(argument)
    if parameter is None or parameter.annotation is inspect.Parameter.empty:
        return Any
    if not isinstance(parameter.annotation, str):
        return parameter.annotation
    try:
        return eval(parameter.annotation, names)  # as typing.get_type_hints does
    except NameError:  # of a module that is imported only for type checkers
        return Any


def _kinds(declared: Any) -> tuple[Any, ...]:
    """The types of a union, or the one type."""
    is_union = typing.get_origin(declared) in (typing.Union, types.UnionType)
    return typing.get_args(declared) if is_union else (declared,)


def _fits(value: Any, declared: Any) -> bool:
    if value is not None and not isinstance(value, _LITERALS):
        return True  # what a reference gives is not known yet
    return any(_is(value, kind) for kind in _kinds(declared))


def _is(value: Any, kind: Any) -> bool:
    if value is None or kind in (None, type(None)):
        return kind is Any or (value is None and kind in (None, type(None)))
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind in (str, bool):
        return isinstance(value, kind)
    origin = typing.get_origin(kind) or kind
    if origin in _SEVERAL:
        return isinstance(value, _SEVERAL[origin])
    return True  # a class, a function: not written as a literal
