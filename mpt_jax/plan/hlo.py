"""Reads the text of a compiled program (optimised HLO): loops, collectives, FLOPs and bytes.

The compiler's own count takes the body of a loop once, however often it runs. Here every
instruction counts as often as the loops around it turn.
"""

import collections
import dataclasses
import functools
import math
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")

_BITS = {"pred": 8, "token": 0, "opaque": 0}  # others end with their number of bits: bf16, s32
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*)$")
_ARRAY = re.compile(r"\b([a-z]\w*?)\[([\d,]*)\](?:\{([\d,]*)(?::([^}]*))?)?")
_TILE = re.compile(r"T\(([\d,]+)\)")
_SPACE = re.compile(r"S\((\d+)\)")
_OPERAND = re.compile(r"%([\w.\-]+)")
_CALLED = re.compile(r"\b(?:calls|to_apply|body|condition|branch_computations)=\{?([^,{}]+)")

# Each element of the result of these is one operation, as the compiler counts them.
_ARITHMETIC = {
    "add",
    "subtract",
    "multiply",
    "divide",
    "maximum",
    "minimum",
    "negate",
    "abs",
    "power",
}
# What moves no data: names for what is there, and frames around what is counted itself.
_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional"}
_FREE |= {
    "call",
    "after-all",
    "partition-id",
    "replica-id",
    "copy-done",
    "async-done",
    "async-update",
}


@dataclasses.dataclass(frozen=True)
class Array:
    """The type of an array, and the tiles that it lies in: on a TPU its last axes are padded."""

    dtype: str
    shape: tuple[int, ...]
    order: tuple[int, ...] = ()  # axes, the one whose elements are neighbours first
    tile: tuple[int, ...] = ()
    space: int = 0  # of memory: 0 is the large one (HBM), others are on the chip itself

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes of the elements."""
        digits = re.findall(r"\d+", self.dtype)
        return self.size * _BITS.get(self.dtype, int(digits[0]) if digits else 0) // 8

    @property
    def padded_bytes(self) -> int:
        """Bytes that it takes up in its tiles."""
        shape = list(self.shape)
        for axis, size in zip(self.order, reversed(self.tile), strict=False):
            shape[axis] = -(-shape[axis] // size) * size
        return Array(self.dtype, tuple(shape)).bytes

    @property
    def hbm_bytes(self) -> int:
        """`padded_bytes`, if it lies in the large memory."""
        return 0 if self.space else self.padded_bytes


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line: `name = results opcode(operands), attributes`."""

    name: str
    opcode: str
    results: tuple[Array, ...]
    operands: tuple[str, ...]
    attributes: str
    argument: str  # between the parentheses

    @property
    def bytes(self) -> int:
        """Of all results, without padding."""
        return sum(array.bytes for array in self.results)

    @property
    def padded_bytes(self) -> int:
        """Of all results, as they lie in memory."""
        return sum(array.padded_bytes for array in self.results)

    @property
    def hbm_bytes(self) -> int:
        """Of the results that lie in the large memory."""
        return sum(array.hbm_bytes for array in self.results)

    def called(self, role: str) -> str | None:
        """The computation that an attribute (`calls`, `body`, `condition`) names."""
        found = re.search(rf"\b{role}=%?([\w.\-]+)", self.attributes)
        return found and found[1]


@dataclasses.dataclass(frozen=True)
class Collective:
    """Collectives of one kind and group size, per chip and step.

    Attributes:
        kind: one of `COLLECTIVES`.
        group: chips that take part in one.
        count: how many, loops multiplied out.
        bytes: of all their results; of a reduce-scatter, of what it takes.
    """

    kind: str
    group: int
    count: int
    bytes: int

    @property
    def moved(self) -> float:
        """Bytes that a chip sends, by the best known algorithm on a ring."""
        if self.kind == "collective-permute":
            return self.bytes
        share = (self.group - 1) / max(1, self.group)
        return self.bytes * share * (2 if self.kind == "all-reduce" else 1)


class Program:
    """A compiled program.

    Attributes:
        computations: instructions by computation and name, in their order.
        times: how often each computation runs in a step.
        unknown: loops whose number of turns is not in the text; they count once.
    """

    def __init__(self, text: str, devices: int = 1):
        """Parses `text`, of a program that runs on so many devices."""
        self.devices = devices
        self.computations, entry = _parse(text)
        self.times: dict[str, int] = collections.Counter()
        self.unknown: list[str] = []
        if entry:
            self._visit(entry, 1)

    def _visit(self, name: str, times: int) -> None:
        self.times[name] += times
        for instruction in self.computations[name].values():
            if instruction.opcode == "while":
                turns = self._turns(instruction)
                self._visit(instruction.called("body"), times * turns)
            elif instruction.opcode in ("fusion", "call", "conditional", "async-start"):
                for called in _CALLED.findall(instruction.attributes):
                    if (called := called.strip().lstrip("%")) in self.computations:
                        self._visit(called, times)

    def _turns(self, loop: Instruction) -> int:
        """How often a loop turns: what its condition compares the counter with, or 1."""
        known = re.search(r'known_trip_count[":{ ]+n[": ]+(\d+)', loop.attributes)
        if known:
            return int(known[1])
        limits = list(self._limits(loop.called("condition")))
        if not limits:
            self.unknown.append(loop.name)
        return max(limits, default=1)

    def _limits(self, name: str) -> Iterator[int]:
        """The whole numbers that a condition, or what is fused in it, compares with."""
        instructions = self.computations[name]
        for each in instructions.values():
            if each.opcode == "fusion":
                called = each.called("calls")
                compares = any(i.opcode == "compare" for i in self.computations[called].values())
                given = self._operands(name, each) if compares else []
                yield from (int(i.argument) for i in given if _is_number(i))
                yield from self._limits(called)
            elif each.opcode == "compare" and "direction=LT" in each.attributes:
                limit = instructions.get(each.operands[1])
                if limit and _is_number(limit):
                    yield int(limit.argument)

    def _all(self) -> Iterator[tuple[int, str, Instruction]]:
        for name, times in self.times.items():
            for instruction in self.computations[name].values():
                yield times, name, instruction

    def collectives(self) -> list[Collective]:
        """Those of each kind and group size, largest bytes first."""
        found: dict[tuple[str, int], list[int]] = collections.defaultdict(lambda: [0, 0])
        for times, name, each in self._all():
            kind = each.opcode.removesuffix("-start")
            if kind not in COLLECTIVES:
                continue
            results = each.bytes
            given = sum(o.bytes for o in self._operands(name, each))
            if each.opcode.endswith("-start") and kind != "all-reduce":  # (operands, results)
                results -= given
            total = found[kind, self._group(each)]
            total[0] += times
            total[1] += times * (given if kind == "reduce-scatter" else results)
        listed = [Collective(*key, *total) for key, total in found.items()]
        return sorted(listed, key=lambda each: -each.bytes)

    def _group(self, collective: Instruction) -> int:
        """How many devices one collective joins."""
        text = collective.attributes
        if listed := re.search(r"replica_groups=\{\{([\d,]+)\}", text):
            return len(listed[1].split(","))
        if tiled := re.search(r"replica_groups=\[\d+,(\d+)\]", text):
            return int(tiled[1])
        if named := re.search(r"replica_groups=mesh\[(.*?)\]\s*\{(.*?)\}", text):
            sizes = dict(re.findall(r"'(\w+)'=(\d+)", named[1]))
            return math.prod(int(sizes[axis]) for axis in re.findall(r"'(\w+)'", named[2]))
        return 2 if collective.opcode.startswith("collective-permute") else self.devices

    def _operands(self, computation: str, instruction: Instruction) -> list[Instruction]:
        known = self.computations[computation]
        return [known[name] for name in instruction.operands if name in known]

    def flops(self, repeated: bool = True) -> int:
        """Operations of products, sums and elementwise arithmetic per chip.

        Args:
            repeated: False: the body of a loop once, as the compiler's own count does.
        """
        return sum(
            (times if repeated else 1) * self._flops(name, each)
            for times, name, each in self._all()
        )

    def _flops(self, name: str, each: Instruction) -> int:
        if each.opcode == "convolution":
            return _convolution_flops(each, *self._operands(name, each))
        if each.opcode == "dot":
            (left, *_), (result,) = self._operands(name, each), each.results
            contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", each.attributes)[1]
            axes = [int(axis) for axis in contracted.split(",") if axis]
            return 2 * result.size * math.prod(left.results[0].shape[axis] for axis in axes)
        if each.opcode == "custom-call":
            return _stated(each, "flops")
        if each.opcode == "reduce":
            return self._operands(name, each)[0].results[0].size
        return each.results[0].size if each.opcode in _ARITHMETIC else 0

    def bytes(self, repeated: bool = True, only_hbm: bool = False) -> int:
        """Bytes read and written per chip, of what is not fused away.

        Args:
            repeated: as `flops`.
            only_hbm: without traffic to the memories on the chip itself.
        """
        fused = {c for name in self.times for c in self._fusions(name)}
        size = operator.attrgetter("hbm_bytes" if only_hbm else "padded_bytes")
        return sum(
            (times if repeated else 1) * self._bytes(name, each, size)
            for times, name, each in self._all()
            if name not in fused
        )

    def stated_bytes(self) -> int:
        """What kernels say of themselves, which the compiler's count adds to their arrays."""
        return sum(_stated(each, "bytes_accessed") for _, _, each in self._all())

    def _fusions(self, name: str) -> list[str]:
        each = self.computations[name].values()
        return [i.called("calls") for i in each if i.opcode == "fusion"]

    def _bytes(self, name: str, each: Instruction, size: Callable[[Any], int]) -> int:
        """Those of one instruction; `size` is of an array, or of an instruction's results."""
        operands = self._operands(name, each)
        if each.opcode in _FREE or each.opcode.endswith("-done"):
            return 0
        if each.opcode == "custom-call" and "ConcatBitcast" in each.attributes:
            return 0
        if each.opcode in ("copy-start", "slice-start"):  # to or from a memory on the chip
            ends = each.results[:2]
            moved = min(end.padded_bytes for end in ends)
            return sum(moved for end in ends if size(end))
        if each.opcode in ("dynamic-slice", "slice", "gather"):
            return size(each) + (each.padded_bytes if size(operands[0]) else 0)
        if each.opcode == "dynamic-update-slice":
            return 2 * operands[1].padded_bytes if size(operands[0]) else size(operands[1])
        if each.opcode == "fusion":
            return self._fusion_bytes(each, operands, size)
        return size(each) + sum(map(size, operands))

    def _fusion_bytes(
        self, fusion: Instruction, given: Sequence[Instruction], size: Callable[[Any], int]
    ) -> int:
        """Of what is only sliced the slices count, and of a buffer that is updated the updates."""
        inside = self.computations[fusion.called("calls")]
        read, written = 0, size(fusion)
        for parameter in [i for i in inside.values() if i.opcode == "parameter"]:
            number = int(parameter.argument)
            if number < len(given) and not size(given[number]):
                continue
            users = [i for i in inside.values() if parameter.name in i.operands]
            as_whole = [i for i in users if i.operands.index(parameter.name)]
            kinds = {i.opcode for i in users}
            if users and not as_whole and kinds <= {"dynamic-slice", "slice", "gather"}:
                read += sum(user.padded_bytes for user in users)
            elif users and not as_whole and kinds == {"dynamic-update-slice"}:
                updates = sum(inside[user.operands[1]].padded_bytes for user in users)
                written += updates - parameter.padded_bytes
            else:
                read += parameter.padded_bytes
        return read + max(0, written)


def _stated(each: Instruction, what: str) -> int:
    """What a kernel says of itself, in its attributes."""
    found = re.search(rf'"{what}":"(\d+)"', each.attributes)
    return int(found[1]) if found else 0


def _parse(text: str) -> tuple[dict[str, dict[str, Instruction]], str | None]:
    """The computations of a program, and the name of the first to run."""
    computations: dict[str, dict[str, Instruction]] = {}
    entry, current = None, None
    for line in text.splitlines():
        if line.startswith("}"):
            current = None
        elif current is None and (found := _COMPUTATION.match(line)):
            current = computations.setdefault(found[2], {})
            entry = found[2] if found[1] else entry
        elif current is not None and (found := _INSTRUCTION.match(line)):
            instruction = _instruction(found[1], found[2])
            current[instruction.name] = instruction
    return computations, entry


def _instruction(name: str, rest: str) -> Instruction:
    end = _closing(rest, 0) if rest.startswith("(") else rest.index(" ")
    results, rest = rest[: end + 1], rest[end + 1 :].strip()
    opcode, _, _ = rest.partition("(")
    start = len(opcode)
    end = _closing(rest, start)
    argument = rest[start + 1 : end]
    operands = tuple(_OPERAND.findall(argument))
    return Instruction(name, opcode, _arrays(results), operands, rest[end + 1 :], argument)


def _is_number(each: Instruction) -> bool:
    """Whether it is a constant, a whole number."""
    return each.opcode == "constant" and each.argument.isdigit()


def _closing(text: str, start: int) -> int:
    """Where the parenthesis that opens at `start` closes."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if not depth:
            return i
    return len(text)


@functools.lru_cache(maxsize=4096)
def _arrays(text: str) -> tuple[Array, ...]:
    def numbers(listed: str) -> tuple[int, ...]:
        return tuple(int(number) for number in listed.split(",") if number)

    def array(dtype: str, sizes: str, order: str, layout: str) -> Array:
        tile, space = _TILE.search(layout), _SPACE.search(layout)
        return Array(
            dtype,
            numbers(sizes),
            numbers(order),
            numbers(tile[1]) if tile else (),
            int(space[1]) if space else 0,
        )

    return tuple(array(*found) for found in _ARRAY.findall(text))


def _convolution_flops(each: Instruction, left: Instruction, right: Instruction) -> int:
    """2 for each multiplication that is not with padding or with the holes of a dilation."""
    inputs, kernel, output = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", each.attributes).groups()
    result = each.results[0].shape
    total = 2 * result[output.index("b")] * result[output.index("f")]
    total *= right.results[0].shape[kernel.index("i")]
    window = dict(
        re.findall(
            r"(\w+)=([\w_x\-]+)", (re.search(r"window=\{(.*?)\}", each.attributes) or [""])[0]
        )
    )  # noqa: E501
    for axis in range(len(inputs) - 2):

        def of_axis(key: str, default: str, axis: int = axis) -> list[int]:
            value = window.get(key)
            return [int(part) for part in (value.split("x")[axis] if value else default).split("_")]

        total *= _valid_positions(
            size=left.results[0].shape[inputs.index(str(axis))],
            out=result[output.index(str(axis))],
            kernel=right.results[0].shape[kernel.index(str(axis))],
            stride=of_axis("stride", "1")[0],
            low=of_axis("pad", "0_0")[0],
            holes=of_axis("lhs_dilate", "1")[0],
            spread=of_axis("rhs_dilate", "1")[0],
        )
    return total


@functools.lru_cache(maxsize=4096)
def _valid_positions(
    size: int, out: int, kernel: int, stride: int, low: int, holes: int, spread: int
) -> int:
    """Pairs of an output and a kernel position that meet a value of the input."""
    last = (size - 1) * holes
    return sum(
        1
        for o in range(out)
        for k in range(kernel)
        if 0 <= (at := o * stride + k * spread - low) <= last and at % holes == 0
    )
