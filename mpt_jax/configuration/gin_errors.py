"""Turns gin's exceptions into what a user needs: one line, the place, the nearest known name.

Gin wraps every exception in a throw-away class whose message grows by a line per call and file.
"""

import importlib
import inspect
import pathlib
import re
import traceback
from typing import NoReturn

import gin

from mpt_jax.configuration import t5x_names
from mpt_jax.configuration.gin_source import Source
from mpt_jax.errors import UserError, did_you_mean

_GIN_PACKAGE = pathlib.Path(gin.__file__).parent


def raise_clean(error: Exception, source: Source, where: str = "") -> NoReturn:
    """Re-raises `error` as it was before gin wrapped it; gin's own errors as a `UserError`."""
    original = _unwrap(error)
    if isinstance(original, UserError) or not _is_gins_own(original):
        raise original from None
    text = original.args[0] if isinstance(original, KeyError) else str(original)
    message = text.splitlines()[0].partition(" in config string:")[0]
    raise UserError(f"{where or _location(str(error))}{message}{_hint(message, source)}") from None


def _unwrap(error: BaseException) -> BaseException:
    """The exception inside gin's proxies.

    To add text to a message, gin raises an instance of a throw-away subclass of the exception's
    type and name, while handling the exception itself.
    """
    inner = error.__context__
    while inner is not None and _is_proxy(type(error), type(inner)):
        error, inner = inner, inner.__context__
    return error


def _is_proxy(outer: type, inner: type) -> bool:
    return outer.__bases__ == (inner,) and outer.__qualname__ == inner.__qualname__


def _is_gins_own(error: BaseException) -> bool:
    """Whether gin itself raised `error`, or a call that gin makes did not fit the signature."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and pathlib.Path(frames[-1].filename).parent == _GIN_PACKAGE


def _location(message: str) -> str:
    """The innermost place that gin names in `message`: it adds places from the inside out."""
    found = re.search(r'In file "(?P<file>[^"]*)", line (?P<line>\d+)', message)
    return f"{found['file']}, line {found['line']}: " if found else ""


def _hint(message: str, source: Source) -> str:
    """The remedy for gin's messages about names: the nearest known ones, or how to set it."""
    if found := re.search(r"No configurable matching (?:reference )?'@?([\w.]+)", message):
        return did_you_mean(found[1], _known_names(source))
    if found := re.search(r"'(\w+)' was not provided by an import statement", message):
        return did_you_mean(found[1], {s.bound_name() for s in source.imports})
    if found := re.search(r"Couldn't resolve selector ([\w.]+);", message):
        owner, rest = _resolve(found[1], source)
        return did_you_mean(rest[0], [n for n in dir(owner) if not n.startswith("_")])
    if found := re.search(r"'([\w.]+)' doesn't have a parameter named '(\w+)'", message):
        return t5x_names.hint(found[2]) or did_you_mean(found[2], _arguments(found[1], source))
    if found := re.search(r"([\w.]+)\(\) missing \d+ required .*arguments?: '(\w+)'", message):
        scope = re.search(r"in scope '([\w/]+)'", message)
        target = f"{scope[1]}/" if scope else ""
        target += f"{found[1].removesuffix('.__init__')}.{found[2]}"
        return f". Bind {target} in a gin file, or with --gin.{target}=VALUE."
    if found := re.search(r"(\S+) set to `%gin.REQUIRED`", message):
        return f" Set it with --gin.{found[1]}=VALUE."
    return ""


def _known_names(source: Source) -> set[str]:
    """What the files name and what their imports offer, with and without the module."""
    known = source.names()
    for statement in source.imports:
        bound = statement.bound_name()
        module, _ = _resolve(bound, source)
        known |= {f"{bound}.{name}" for name in dir(module) if not name.startswith("_")}
    return known | {name.rpartition(".")[2] for name in known}


def _arguments(selector: str, source: Source) -> list[str]:
    target, rest = _resolve(selector, source)
    # Written as on the command line, by the end of its name; `train` is module and function.
    if rest or inspect.ismodule(target):
        target = gin.get_configurable(selector)
    function = target.__init__ if inspect.isclass(target) else target
    return [name for name in inspect.signature(function).parameters if name != "self"]


def _resolve(selector: str, source: Source) -> tuple[object, list[str]]:
    """Follows `selector` through the files' imports: the last object found, the names left."""
    root, *rest = selector.split(".")
    statement = next((s for s in source.imports if s.bound_name() == root), None)
    if statement is None:
        return None, [root, *rest]
    whole = statement.is_from or statement.alias
    target: object = importlib.import_module(statement.module if whole else root)
    while rest and hasattr(target, rest[0]):
        target = getattr(target, rest.pop(0))
    return target, rest
