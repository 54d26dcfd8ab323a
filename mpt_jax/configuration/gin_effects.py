"""Finds what gin files and overrides set without effect, which gin itself passes over in silence.

A macro counts where a function's argument reads it, perhaps through other macros; a scope where a
reference enters it. An override must count in the run at hand. What the user's own files set may be
meant for another run: it must count in this one, or in a shipped file. Those are trusted.
"""

import functools
import itertools
from collections.abc import Iterable

from mpt_jax.configuration import gin_files, gin_source, t5x_names
from mpt_jax.configuration.gin_source import Binding, Source, references
from mpt_jax.errors import UserError, did_you_mean

# How gin/suites/local.gin registers what a user's file declares.
_DECLARED, _MODULE, _REGISTER = "TASKS", "MIXTURE_OR_TASK_MODULE", "local.register"


def check(source: Source) -> None:
    """Raises UserError for the first setting without effect; it names the nearest that has one."""
    _check_declared_tasks(source)
    for binding in (*_idle(source.overrides, source.all), *_own_without_effect(source)):
        raise UserError(_refusal(binding, source))


def _check_declared_tasks(source: Source) -> None:
    """Refuses tasks that the user's file declares where a later setting registers others.

    Raises:
        UserError: names both places.
    """
    values = source.values()
    declared, module = values.get(_DECLARED), values.get(_MODULE)
    if declared is None or declared.shipped or module is None:
        return
    if not any(each.name.endswith(_REGISTER) for each in references(module.value)):
        remedy = (
            f"--gin.{_MODULE}=\"[@{_REGISTER}(), 'MODULE']\" registers both"
            if module in source.overrides
            else "give the file that declares them last"
        )
        raise UserError(
            f"{declared.where}: the tasks declared here would not be used, because "
            f"{module.where}, which comes later, sets {_MODULE}: {remedy}."
        )


def macros_of(function: str, source: Source) -> set[str]:
    """The macros that a call of `function` reads: its arguments, and what they refer to."""
    last = {(b.scope, b.selector, b.argument): b for b in source.all}.values()
    waiting, found = [function], set()
    while waiting:
        name = waiting.pop()
        found.add(name)
        for b in last:
            if name in (b.macro, b.selector.rpartition(".")[2]):
                names = [
                    r.name if r.is_macro else r.name.rpartition(".")[2] for r in references(b.value)
                ]
                waiting += set(names) - found
    return found & source.values().keys()


def _own_without_effect(source: Source) -> list[Binding]:
    own = [binding for binding in source.bindings if not binding.shipped]
    suspects = _idle(own, source.all)
    return _idle(suspects, [*source.all, *_shipped()]) if suspects else []


def _idle(settings: Iterable[Binding], within: Iterable[Binding]) -> list[Binding]:
    """The `settings` that no binding `within` reads or enters."""
    macros, scopes = _macros_read(within), _scopes_entered(within)
    return [
        binding
        for binding in settings
        if (binding.macro not in macros if binding.macro else binding.scope not in scopes)
    ]


def _macros_read(bindings: Iterable[Binding]) -> set[str]:
    """The macros that functions' arguments read, directly or through other macros."""
    values = {binding.macro: binding.value for binding in bindings if binding.macro}
    waiting = [binding.value for binding in bindings if not binding.macro]
    found: set[str] = set()
    while waiting:
        for reference in references(waiting.pop()):
            if reference.is_macro and reference.name not in found:
                found.add(reference.name)
                waiting.append(values.get(reference.name))
    return found


def _scopes_entered(bindings: Iterable[Binding]) -> set[str]:
    """The scopes of all references and those around them: for @a/b/f() `a/b`, `a` and none."""
    found = {""}
    for binding in bindings:
        for reference in references(binding.value):
            if not reference.is_macro:
                parts = reference.name.split("/")[:-1]
                found.update(itertools.accumulate(parts, "{}/{}".format))
    return found


@functools.cache
def _shipped() -> tuple[Binding, ...]:
    sources = (gin_source.read([name], [], []) for name in gin_files.shipped())
    return tuple(binding for source in sources for binding in source.bindings)


def _refusal(binding: Binding, source: Source) -> str:
    if binding.macro:
        name, known = binding.macro, _macros_read(source.all)
        what = f"nothing reads a macro {name!r}"
        remedy = " A function's argument is written --gin.module.function.argument=VALUE."
        remedy = remedy if binding in source.overrides else ""
    else:
        name, known = binding.scope, _scopes_entered(source.all) - {""}
        what = f"no reference enters the scope {name!r}"
        remedy = f" Scopes: {', '.join(sorted(known)) or 'none'}."
    nearest = t5x_names.hint(name) or did_you_mean(name, known)
    return f"{binding.where}: {what}, so that this would have no effect.{nearest}{remedy}"
