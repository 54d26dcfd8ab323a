"""Prompt files as banks of many tasks: add the tasks of others, list them, remove some.

A bank is written whole, in one step: a fault leaves it as it was.
"""

import itertools
import os
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from mpt_jax.convert import convert_prompts
from mpt_jax.errors import UserError
from mpt_jax.product import product_file
from mpt_jax.product import tasks as bank_tasks
from mpt_jax.product.description import ProductInfo
from mpt_jax.product.leaves import Bank
from mpt_jax.screen import Screen

_ROWS_OF_A_SCREEN = 50
_WIDEST = 60
_BYTES = 4  # of a float32


def add(path: str, sources: Sequence[str]) -> str:
    """Add the tasks of `sources` to the bank at `path`, which is made where there is none.

    Sources that it holds already, bit by bit, are passed over: a call that was killed is repeated.

    Args:
        path: a prompt file or a run folder, or where a new bank is to be.
        sources: prompt files or run folders.

    Returns:
        a line on what the bank holds now.

    Raises:
        UserError: prompts that do not fit (see `tasks.join`), or no prompts.
    """
    try:
        file = product_file.resolve(path)
    except UserError:  # a new one
        bank, info = bank_tasks.join(_load_each(sources))
        return _save(product_file.destination(path, bank), bank, info)
    ((_, bank, info),) = held = list(_load_each([file]))
    others = (part for part in _load_each(sources) if not bank_tasks.holds(bank, info, *part[1:]))
    return _save(file, *bank_tasks.join(itertools.chain(held, others)))


def remove(path: str, tasks: Sequence[str]) -> str:
    """Remove `tasks` from the bank at `path`; returns a line on what it holds now.

    Raises:
        UserError: no bank, a task that it does not hold, or none would remain.
    """
    ((file, bank, info),) = _load_each([path])
    return _save(file, *bank_tasks.without(bank, info, tasks))


def show(path: str) -> None:
    """Print what the bank at `path` holds: all tasks, but on a terminal only the first.

    Raises:
        UserError: no bank.
    """
    ((file, bank, info),) = _load_each([path])
    numbers = bank_tasks.numbers_per_task(bank)
    shared = sum(leaf.size for leaf in bank.values()) - numbers * len(info.tasks)
    screen = Screen(sys.stdout)
    screen.facts(
        {
            "bank": file,
            "method": info.method,
            **_shape(info),
            "backbone": info.backbone,
            "shared": f"{_counted(shared, 'number')}, {_BYTES * shared:,} bytes",
            "tasks": f"{len(info.tasks):,}",
        }
    )
    screen.line()
    shown = info.tasks[:_ROWS_OF_A_SCREEN] if sys.stdout.isatty() else info.tasks
    cost = (f"{numbers:,}", f"{_BYTES * numbers:,}")
    rows = [(task, *cost, _words(info.label_words.get(task, ()))) for task in shown]
    columns = ("task", "numbers", "bytes", "label words")
    screen.table(columns, rows, numeric=columns[1:3])
    if left := len(info.tasks) - len(shown):
        screen.line(f"and {left:,} more: t5x bank list {path} | less")


def _load_each(paths: Iterable[str]) -> Iterator[tuple[str, Bank, ProductInfo]]:
    """File, bank and description of each path, read when its turn comes."""
    for path in paths:
        found = convert_prompts.format_of(path)
        if found not in (None, convert_prompts.OURS):
            raise UserError(
                f"{path} holds prompts of another program ({found}): first make ours of them, t5x "
                f"convert {path} FOLDER --to=mpt_jax --tasks=NAME --backbone=PATH."
            )
        file = product_file.resolve(path)
        bank, info = product_file.load(file)
        bank_tasks.check_is_bank(file, bank, info)
        yield file, bank, info


def _save(file: str, bank: Bank, info: ProductInfo) -> str:
    directory, name = os.path.split(file)
    product_file.save(directory, bank, info, name, setting="")
    size = _BYTES * sum(leaf.size for leaf in bank.values())
    return f"{file}: {_counted(len(info.tasks), 'task')}, {size:,} bytes of numbers"


def _shape(info: ProductInfo) -> dict[str, str]:
    """What a prompt measures, or an adapter."""
    sizes = f"width {info.width}" + (f", rank {info.rank}" if info.length or info.rank else "")
    return {"prompt": f"length {info.length}, {sizes}"} if info.length else {"adapter": sizes}


def _words(words: Sequence[str]) -> str:
    return textwrap.shorten(", ".join(words), _WIDEST, placeholder=" ...")


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
