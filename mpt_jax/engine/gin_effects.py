"""Finds what gin files and overrides set without effect, which gin itself passes over in silence.

A macro counts where a function's argument reads it, perhaps through other macros; a scope where a
reference enters it. An override must count in the run at hand. What the user's own files set may be
meant for another run: it must count in this one, or in a shipped file. Those are trusted.
"""

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping

from mpt_jax.engine import gin_files, gin_source, t5x_names
from mpt_jax.engine.gin_source import Binding, Reference, Source, references
from mpt_jax.errors import UserError, did_you_mean

# Of gin/suites/local.gin: the macro that declares tasks, and what registers them.
_DECLARED, _REGISTERS, _REGISTERING = "TASKS", "MIXTURE_OR_TASK_MODULE", "local.register"


def check(source: Source) -> None:
    """Raises UserError for the first setting without effect; it names the nearest that has one."""
    for binding in (*without_effect(source), *_own_without_effect(source)):
        raise UserError(_refusal(binding, source))
    _check_declared(source)


def _check_declared(source: Source) -> None:
    """Refuses tasks that a file declares, where a later file replaces what would register them."""
    values = source.values()
    declared, registers = values.get(_DECLARED), values.get(_REGISTERS)
    known = any(binding.selector.endswith(_REGISTERING) for binding in source.all)
    if not (declared and registers and known) or _REGISTERS not in _macros_read(source.all):
        return
    reached = [reference.name for reference in _reached(registers.value, values)]
    if not any(name.endswith(_REGISTERING) for name in reached):
        raise UserError(
            f"the tasks that {declared.where} declares ({_DECLARED}) would not be used, because "
            f"{registers.where}, which comes later, sets {_REGISTERS}: give the file that declares "
            "the tasks last."
        )


def _reached(value: object, values: Mapping[str, Binding]) -> Iterator[Reference]:
    """The functions that a value refers to, directly or through macros."""
    for reference in references(value):
        if not reference.is_macro:
            yield reference
        elif reference.name in values:
            yield from _reached(values[reference.name].value, values)


def without_effect(source: Source) -> list[Binding]:
    """The overrides that nothing reads or enters."""
    return _idle(source.overrides, source.all)


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
