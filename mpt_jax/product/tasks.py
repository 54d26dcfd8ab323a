"""The tasks of a prompt bank: some of them chosen, or those of several banks joined."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mpt_jax.errors import UserError
from mpt_jax.product.description import ProductInfo
from mpt_jax.product.leaves import AXES, Bank, is_per_task, rows_of, take

# What must be equal in the banks that are joined: field, its name, how a run gets it.
_EQUAL = (
    ("method", "method", "choose the method of the bank"),
    ("backbone", "backbone fingerprint", "train on the backbone of the bank"),
    ("width", "width (D)", "train on the backbone of the bank"),
    ("vocabulary_size", "vocabulary size", "train on the backbone of the bank"),
    ("length", "prompt length (P)", "set --gin.PROMPT_LENGTH={}"),
    ("rank", "rank (R)", "set --gin.{1}={0}"),
)

_RANKS = {  # method: its setting
    "mpt": "mpt.MPT.rank",
    "lora": "lora.LoRA.rank",
    "dept": "dept.DePT.rank",
    "dpt": "dpt.DPT.rank",
    "ulpt": "ulpt.ULPT.rank",
}

# The fields that say something of each task by its name.
_TOLD = ("label_words", "input_forms", "metrics", "task_steps")


def check_is_bank(path: str, bank: Bank, info: ProductInfo) -> None:
    """Refuse the product of a method whose tasks share all that it tunes (UserError)."""
    if any("/" in name and not is_per_task(name) for name in bank):
        raise UserError(
            f"{path} is the product of the method {info.method!r}, which tunes no prompts, nor "
            "anything of single tasks: it cannot be part of a bank, nor written as one."
        )


def check_expressible(bank: Bank, info: ProductInfo) -> None:
    """Refuse prompts that another program's format cannot hold (UserError)."""
    if not bank.keys() <= AXES.keys():
        raise UserError(
            f"the product of the method {info.method!r} is more than prompts, which this format "
            "does not hold: --to=mpt_jax does."
        )


def numbers_per_task(bank: Bank) -> int:
    """What one more task costs: R(P + D) numbers in MPT, P·D for a whole prompt, or an adapter."""
    return sum(leaf[0].size for name, leaf in bank.items() if is_per_task(name))


def choose(bank: Bank, info: ProductInfo, names: Sequence[str]) -> tuple[Bank, ProductInfo]:
    """The bank of only the tasks `names`, in that order.

    Raises:
        UserError: a task that the bank does not hold, or one named twice.
    """
    if len(set(names)) < len(names):
        raise UserError(f"a task is named twice among {', '.join(names)}.")
    return take(bank, rows_of(info.tasks, names)), _restricted(info, names)


def without(bank: Bank, info: ProductInfo, names: Sequence[str]) -> tuple[Bank, ProductInfo]:
    """The bank without the tasks `names`.

    Raises:
        UserError: a task that the bank does not hold, or nothing would remain.
    """
    rows_of(info.tasks, names)
    dropped = set(names)
    kept = [task for task in info.tasks if task not in dropped]
    if not kept:
        raise UserError(
            f"a bank holds at least one task, and {', '.join(info.tasks)} would be its last to go: "
            "delete the file instead."
        )
    return choose(bank, info, kept)


def holds(bank: Bank, info: ProductInfo, other: Bank, other_info: ProductInfo) -> bool:
    """Whether all tasks of another bank are in this one, the same bit by bit."""
    if not set(other_info.tasks) <= set(info.tasks):
        return False
    mine, my_info = choose(bank, info, other_info.tasks)
    told = _restricted(other_info, other_info.tasks)
    return (
        mine.keys() == other.keys()
        and all(np.array_equal(mine[name], leaf) for name, leaf in other.items())
        and all(getattr(my_info, field) == getattr(told, field) for field in (*_TOLD, "backbone"))
    )


def join(parts: Iterable[tuple[str, Bank, ProductInfo]]) -> tuple[Bank, ProductInfo]:
    """One bank of the tasks of several, in their order; each task keeps its numbers bit by bit.

    What the tasks share must be equal bit by bit, so the result costs R(P + D) numbers a task.

    Args:
        parts: path (for messages), bank and description; at least one. What they share is kept
            once, so that thousands of files can be given.

    Returns:
        the bank, described as the first part except for what is stated of each task; its feature
        lengths are the largest among the parts'.

    Raises:
        UserError: parts that do not fit the first, or a task that is in two of them.
    """
    parts = iter(parts)
    path, bank, info = next(parts)
    rows = {name: [leaf] for name, leaf in bank.items() if is_per_task(name)}
    found = dict.fromkeys(info.tasks, path)
    told: dict[str, dict] = {field: dict(getattr(info, field)) for field in _TOLD}
    lengths = dict(info.feature_lengths)
    for other_path, other, other_info in parts:
        _check_fits(path, bank, info, other_path, other, other_info)
        for task in other_info.tasks:
            if task in found:
                raise UserError(
                    f"the task {task!r} is in {found[task]} and in {other_path}, and a bank holds "
                    f"it once: take it out of one of them (`t5x bank remove PATH {task}`)."
                )
            found[task] = other_path
        for name, leaves in rows.items():
            leaves.append(other[name])
        for field, values in told.items():
            values.update(getattr(other_info, field))
        for side, length in other_info.feature_lengths.items():
            lengths[side] = max(length, lengths.get(side, 0))
    joined = {**bank, **{name: np.concatenate(leaves) for name, leaves in rows.items()}}
    described = dataclasses.replace(info, feature_lengths=lengths, **told)
    return joined, _restricted(described, tuple(found))


def _restricted(info: ProductInfo, tasks: Sequence[str]) -> ProductInfo:
    """The description with only `tasks`, and what is stated of them."""
    told: dict[str, Any] = {}
    for field in _TOLD:
        values = getattr(info, field)
        told[field] = {task: values[task] for task in tasks if task in values}
    return dataclasses.replace(info, tasks=tuple(tasks), **told)


def _check_fits(
    path: str, bank: Bank, info: ProductInfo, other_path: str, other: Bank, other_info: ProductInfo
) -> None:
    for field, what, remedy in _EQUAL:
        ours, theirs = getattr(info, field), getattr(other_info, field)
        if ours != theirs:
            how = remedy.format(ours, _RANKS.get(info.method, "rank"))
            raise UserError(
                f"{other_path} has the {what} {theirs}, the bank {path} {ours}: "
                f"{how}, and train its tasks again."
            )
    bits = {described.backbone_bits for described in (info, other_info)} - {""}
    if len(bits) > 1:
        raise UserError(
            f"{other_path} was trained on a backbone that differs from that of the bank {path} in "
            "digits that bfloat16 rounds away: train on the backbone of the bank."
        )
    if len({info.vocabulary, other_info.vocabulary} - {""}) > 1:
        raise UserError(
            f"{other_path} was trained with another vocabulary than the bank {path}: train its "
            "tasks again with the bank's."
        )
    if bank.keys() != other.keys():
        raise UserError(
            f"{other_path} holds {', '.join(sorted(other))}; the bank {path} holds "
            f"{', '.join(sorted(bank))}."
        )
    for name in sorted(bank):
        if is_per_task(name):
            ours, theirs = bank[name].shape[1:], other[name].shape[1:]
            if ours != theirs:
                raise UserError(
                    f"{other_path} has {name!r} of shape {theirs} a task, the bank {path} {ours}: "
                    "train its tasks again with the settings of the bank."
                )
        elif not np.array_equal(bank[name], other[name]):
            raise UserError(_of_another_run(name, path, other_path, "task_u" in bank))


def _of_another_run(name: str, path: str, other_path: str, factorized: bool) -> str:
    if factorized:
        return (
            f"{other_path} has another shared prompt than the bank {path}: train its tasks with "
            "the bank's, frozen: t5x train --gin_file=gin/mpt_target.gin "
            f"--gin.SOURCE_PROMPTS={path} --gin.SHARED_LEARNING_RATE=0, and their other settings."
        )
    return (
        f"{other_path} has another {name!r} than the bank {path}, which all tasks of a bank share: "
        "train them in one run."
    )
