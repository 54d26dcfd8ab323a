"""Bytes that an instruction of a compiled program reads and writes.

A loop over stacked layers takes its weights as slices of the stack, mostly deep inside a fusion,
and writes what it keeps into a buffer of all layers. Only the part that is touched counts.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence

from mpt_jax.plan.hlo_text import Instruction

Computation = Mapping[str, Instruction]

# What moves no data: names for what is there, and frames around what is counted itself.
_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional"}
_FREE |= {"call", "after-all", "partition-id", "replica-id", "async-start", "async-update"}
_FREE_CALLS = ("ConcatBitcast", "AllocateBuffer")
_SLICES = ("dynamic-slice", "slice", "gather")
_UPDATE = "dynamic-update-slice"
IN_PIECES = "chain_id="  # a collective of which several fusions hold a piece


def of(
    each: Instruction,
    operands: Sequence[Instruction],
    computations: Mapping[str, Computation],
    only_hbm: bool,
) -> int:
    """Bytes read and written by one instruction outside of fusions, as arrays lie in their tiles.

    Args:
        each: the instruction.
        operands: the instructions that give its operands.
        computations: of the program, by name; the fused ones are among them.
        only_hbm: without traffic to the memories on the chip itself.
    """
    size = operator.attrgetter("hbm_bytes" if only_hbm else "padded_bytes")
    opcode = each.opcode
    if opcode in _FREE or opcode.endswith("-done"):
        return 0
    if opcode == "custom-call" and any(name in each.attributes for name in _FREE_CALLS):
        return 0
    if opcode in ("copy-start", "slice-start"):  # to or from a memory on the chip
        ends = each.results[:2]
        moved = min(end.padded_bytes for end in ends)
        return sum(moved for end in ends if size(end))
    if opcode in _SLICES:
        return size(each) + (each.padded_bytes if size(operands[0]) else 0)
    if opcode == _UPDATE:
        return size(operands[1]) + (operands[1].padded_bytes if size(operands[0]) else 0)
    if opcode == "fusion":
        return _of_fusion(each, operands, computations, size)
    if opcode.endswith("-start") and opcode != "all-reduce-start":  # (operands, results)
        return size(each)
    return size(each) + sum(map(size, operands))


def _of_fusion(
    fusion: Instruction,
    operands: Sequence[Instruction],
    computations: Mapping[str, Computation],
    size: Callable[..., int],
) -> int:
    inside = computations[fusion.called("calls")]
    kept, given = _carried(fusion, inside)
    read = sum(
        _read(inside, parameter.name, computations)
        for parameter in inside.values()
        if parameter.opcode == "parameter"
        and (number := int(parameter.argument)) not in given
        and size(operands[number])
    )
    root = _root(inside)
    parts = [inside[name] for name in root.operands] if root.opcode == "tuple" else [root]
    if len(parts) != len(fusion.results):  # one operation with several results
        parts = [root] * len(fusion.results)
    return read + sum(
        _written(inside, part, computations) if len(part.results) == 1 else size(array)
        for i, (part, array) in enumerate(zip(parts, fusion.results, strict=True))
        if i not in kept and size(array)
    )


def _carried(fusion: Instruction, inside: Computation) -> tuple[set[int], set[int]]:
    """(results, operands) that a collective in pieces carries from one fusion to the next.

    The first piece takes nothing but what is sent; there it counts, and the result. The pieces
    after it, with the products that they overlap, pass both on.
    """
    pieces = [each for each in inside.values() if IN_PIECES in each.attributes]
    if not pieces:
        return set(), set()
    aliases = re.search(r"output_to_operand_aliasing=\{(.*?)\}, \w", fusion.attributes)
    pairs = re.findall(r"\{(\d*)\}: \((\d+), \{\}\)", aliases[1] if aliases else "")
    kept = {int(result or 0) for result, _ in pairs}
    if len(fusion.operands) == 1:
        return kept, set()
    taken = [inside[name] for each in pieces for name in each.operands]
    sent = {int(each.argument) for each in taken if each.opcode == "parameter"}
    return kept, sent | {int(operand) for _, operand in pairs}


def _root(inside: Computation) -> Instruction:
    return next(each for each in inside.values() if each.is_root)


def _read(inside: Computation, name: str, computations: Mapping[str, Computation]) -> int:
    """Bytes that a fused computation reads of the array `name`."""

    def by(user: Instruction, place: int) -> int:
        if user.opcode in _SLICES and place == 0:
            return user.padded_bytes
        if user.opcode == _UPDATE and place == 0:  # the buffer, which is written in its place
            return 0
        if user.opcode == "bitcast":
            return _read(inside, user.name, computations)
        if user.opcode == "fusion":
            inner = computations[user.called("calls")]
            return _read(inner, _parameter(inner, place).name, computations)
        return whole

    whole = inside[name].padded_bytes
    uses = [
        by(user, place)
        for user in inside.values()
        for place, operand in enumerate(user.operands)
        if operand == name
    ]
    return min(whole, sum(uses)) if uses else whole


def _written(
    inside: Computation, each: Instruction, computations: Mapping[str, Computation]
) -> int:
    """Bytes that a fused computation writes of a result."""
    if each.opcode == "bitcast":
        return _written(inside, inside[each.operands[0]], computations)
    if each.opcode == "fusion" and len(each.results) == 1:
        inner = computations[each.called("calls")]
        return _written(inner, _root(inner), computations)
    if each.opcode == _UPDATE and _is_given(inside, inside[each.operands[0]]):
        return inside[each.operands[1]].padded_bytes
    return each.padded_bytes


def _is_given(inside: Computation, each: Instruction) -> bool:
    """Whether it is a parameter, under whatever shape."""
    while each.opcode == "bitcast":
        each = inside[each.operands[0]]
    return each.opcode == "parameter"


def _parameter(inside: Computation, number: int) -> Instruction:
    return next(
        each
        for each in inside.values()
        if each.opcode == "parameter" and int(each.argument) == number
    )
