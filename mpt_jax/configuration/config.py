"""Gin configuration: parses files and `--gin.NAME=VALUE` overrides, and calls what they configure.

With the other `gin_*` modules the only one that knows gin. Every mistake in a gin file or
an override becomes one `UserError` that names the file and line and the nearest known names.
"""

import copy
import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import gin
from etils import epath

from mpt_jax import byte_vocabulary
from mpt_jax.configuration import (
    backbone_path,
    gin_effects,
    gin_errors,
    gin_files,
    gin_source,
    gin_types,
    t5x_names,
)
from mpt_jax.errors import UserError

# Macros that name what a run needs to be there.
_BACKBONE = "INITIAL_CHECKPOINT_PATH"
_PATHS = {_BACKBONE, "SPIECE_MODEL", "SOURCE_PROMPTS", "TEACHER_PROMPTS", "PROMPTS", "INPUTS"}
_NO_PATHS = {"INPUTS": "-", "SPIECE_MODEL": byte_vocabulary.NAME}  # what is meant otherwise
_LINE = 100  # characters, in written configurations


gin.config.register_finalize_hook(gin_types.refuse_wrong_types)


@gin.config.register_finalize_hook
def refuse_t5xs_own(config: gin_types.Config) -> None:
    """Called by gin when all is read; both engines take all settings from `mpt_jax.t5x`.

    Raises:
        UserError: a binding of T5X's own function or class, which would have no effect.
    """
    for (_, selector), bound in config.items():
        if bound and selector.startswith("t5x."):
            argument = next(iter(bound))
            name = selector.removeprefix("t5x.")
            hint = t5x_names.hint(argument) or f" Set {name}.{argument} of mpt_jax.t5x."
            raise UserError(
                f"{selector}.{argument} is T5X's own and would have no effect: with our gin files "
                f"it is set through mpt_jax.t5x (docs/t5x.md: which name maps to what).{hint}"
            )


def check(
    files: Sequence[str],
    overrides: Sequence[str] = (),
    search_paths: Sequence[str] = (),
    presets: Sequence[str] = (),
) -> gin_source.Source:
    """Reads what `parse` parses, and finds what can be found without importing anything.

    Raises:
        UserError: a missing file, a syntax error, macros left unset, a setting without effect.
    """
    source = gin_source.read(files, overrides, search_paths, presets)
    gin_effects.check(source)
    gin_source.check_all_set(source)
    return source


def parse(
    files: Sequence[str],
    overrides: Sequence[str] = (),
    search_paths: Sequence[str] = (),
    presets: Sequence[str] = (),
) -> None:
    """Makes `files`, then `overrides`, gin's configuration; replaces an earlier one.

    Args:
        files: gin files, later ones win. Looked for as `gin_files.find` says, includes too.
        overrides: "NAME=VALUE", NAME as after `--gin.`: a macro, or `module.function.argument` with
          as much of the module as is needed. A VALUE that is not a gin literal is a string.
        search_paths: folders for gin files, after the working directory.
        presets: as overrides, before them; a command's own, which may be without effect.

    Raises:
        UserError: as `check`, before anything is imported; an unknown name or argument.
    """
    source = check(files, overrides, search_paths, presets)
    gin.clear_config()
    for folder in gin_files.search_folders(search_paths):
        gin.add_config_file_search_path(str(folder))
    try:
        for name in files:
            gin.parse_config_file(str(gin_files.find(name, search_paths)))
        for override in [*presets, *overrides]:
            _parse_override(override, source)
        gin.finalize()
    except Exception as error:  # whatever was raised, gin has wrapped it
        gin_errors.raise_clean(error, source)


def call(module: str, function: str) -> object:
    """Calls `module.function` with the arguments that gin has for it.

    Raises:
        UserError: the parsed files do not configure it, or leave a required argument out, or it
          raises one itself; without the lines that gin adds to messages.
    """
    plain = getattr(importlib.import_module(module), function)
    name = f"{module.rpartition('.')[2]}.{function}"
    try:
        configured = gin.get_configurable(plain)
        bound = gin.get_bindings(plain, resolve_references=False)
    except ValueError:
        raise UserError(
            f"the gin files do not configure {name}: give a run file too. "
            f"Shipped gin files:\n{gin_files.describe_shipped()}"
        ) from None
    missing = [argument for argument in _required(plain) if argument not in bound]
    if missing:
        raise UserError(
            f"{name} has no value for {', '.join(missing)}: give a run file that binds "
            f"them, or --gin.{name}.{missing[0]}=VALUE."
        )
    try:
        return configured()
    except Exception as error:  # whatever was raised, gin has wrapped it
        gin_errors.raise_clean(error, gin_source.Source())


def argument(module: str, function: str, name: str, scope: str | None = None) -> Any:
    """What `call` would hand to `module.function` as `name`; None where nothing is bound.

    Args:
        module, function: as `call`.
        name: of the argument.
        scope: gin's, which the call is made in.

    Raises:
        UserError: as `call`, of what makes the value.
    """
    plain = getattr(importlib.import_module(module), function)
    try:
        with gin.config_scope(scope):
            bound = gin.get_bindings(plain, resolve_references=False).get(name)
            return copy.deepcopy(bound)  # as gin does: a reference becomes what it refers to
    except Exception as error:  # whatever was raised, gin has wrapped it
        gin_errors.raise_clean(error, gin_source.Source())


def text() -> str:
    """The configuration as gin text that `parse` reads."""
    return gin.config_str(max_line_length=_LINE)


def check_paths(function: str, source: gin_source.Source) -> None:
    """Looks for what a call of `function` reads: backbone, vocabulary, prompts, lines of text.

    Raises:
        UserError: one is not there.
    """
    values = source.values()
    for name in sorted(gin_effects.macros_of(function, source) & _PATHS):
        path = values[name].value
        if not isinstance(path, str) or path == _NO_PATHS.get(name):
            continue
        if name == _BACKBONE:
            backbone_path.check(path)
        elif not epath.Path(path).exists():
            raise UserError(f"{name} = {path!r} does not exist: give --gin.{name}=PATH.")


def operative_config() -> str:
    """The configuration as gin text that `parse` reads, a record of a run.

    All bindings, then, as comments, what the calls so far have used with the defaults included.
    The bindings are the same whatever has been called: a resumed run, which skips work already
    done, can be compared with its first start (`run_folder.prepare`).
    """
    used = gin.operative_config_str(max_line_length=_LINE).splitlines()
    comments = "\n".join(f"# {line}".rstrip() for line in ["As used, with defaults:", "", *used])
    return f"{text()}\n{comments}\n"


def _parse_override(override: str, source: gin_source.Source) -> None:
    """Binds one override; a name that no file has used yet is looked up in the files' imports."""
    text = gin_source.normalise_override(override)
    try:
        gin.parse_config(text)
    except (ValueError, KeyError) as unknown:
        imports = dict.fromkeys(statement.format() for statement in source.imports)
        lines = ["from __gin__ import dynamic_registration", *imports, text]
        try:
            gin.parse_config("\n".join(lines))
        except (NameError, AttributeError, ValueError):
            gin_errors.raise_clean(unknown, source, where=f"--gin.{override}: ")


def _required(function: Callable) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    named = (p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
    return [p.name for p in named if p.default is p.empty]
