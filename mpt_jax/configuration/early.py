"""Mistyped names in a configuration, found before the libraries are imported that would know them.

Those take seconds. What cannot be told without them is left to them.
"""

import sys
from collections.abc import Iterator

from mpt_jax.configuration import backbone_path, gin_effects
from mpt_jax.configuration.gin_source import Reference, Source
from mpt_jax.product import belonging, product_file
from mpt_jax.tasks import names

_LIBRARIES = ("mpt_jax", "seqio")  # that a gin file may import without registering tasks
_MINI = "mpt_jax.tasks.mini"
_PAPER = "paper.register"


def check(function: str, source: Source) -> None:
    """Refuses what a call of `function` would refuse for a name.

    Raises:
        UserError: no such backbone (INITIAL_CHECKPOINT_PATH), product (PROMPTS), task of it (TASK),
            or task (MIXTURE_OR_TASK_NAME).
    """
    read = gin_effects.macros_of(function, source)
    values = {name: each.value for name, each in source.values().items() if name in read}
    if _is_path(path := values.get("INITIAL_CHECKPOINT_PATH")):
        backbone_path.check(path)
    if _is_path(path := values.get("PROMPTS")):
        _check_product(path, values.get("TASK"))
    _check_registered(values.get("MIXTURE_OR_TASK_NAME"), source)


def _is_path(value: object) -> bool:
    """Whether it is one that is looked up in no time: of a disk."""
    return isinstance(value, str) and "://" not in value


def _check_product(path: str, task: object) -> None:
    held = product_file.tasks_in(product_file.resolve(path))
    if held is not None and isinstance(task, str) and task not in held:
        raise belonging.not_held(task, held)


def _check_registered(wanted: object, source: Source) -> None:
    # Once SeqIO is there nothing is to be gained, and its registries may hold more.
    known = None if "seqio" in sys.modules else _registered(source)
    if known is None:
        return
    for name in wanted if isinstance(wanted, list | tuple) else [wanted]:
        if isinstance(name, str) and name not in known:
            raise names.unknown(name, known)


def _registered(source: Source) -> set[str] | None:
    """The tasks and mixtures that the gin files register; None: others than those that ship."""
    imported = [statement.module for statement in source.imports]
    if not all(module.split(".")[0] in _LIBRARIES for module in imported):
        return None
    known = set(names.MINI) if any(map(_is_mini, imported)) else set()
    module = source.values().get("MIXTURE_OR_TASK_MODULE")
    for each in _parts(module and module.value):
        if each == _MINI:
            known.update(names.MINI)
        elif isinstance(each, Reference) and each.name.endswith(_PAPER):
            known.update(names.PAPER)
        else:
            return None
    return known


def _is_mini(module: str) -> bool:
    return module == _MINI or module.startswith(f"{_MINI}.")


def _parts(value: object) -> Iterator[object]:
    """The modules of a list, or the one; none for None."""
    if isinstance(value, list | tuple):
        yield from value
    elif value is not None:
        yield value
