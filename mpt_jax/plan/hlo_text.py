"""The instructions of a compiled program's text (optimised HLO)."""

import dataclasses
import functools
import math
import re

_BITS = {"pred": 8, "token": 0, "opaque": 0}  # others end with their number of bits: bf16, s32
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
_ARRAY = re.compile(r"\b([a-z]\w*?)\[([\d,]*)\](?:\{([\d,]*)(?::([^}]*))?)?")
_TILE = re.compile(r"T\(([\d,]+)\)")
_SPACE = re.compile(r"S\((\d+)\)")
_OPERAND = re.compile(r"%([\w.\-]+)")


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
    is_root: bool = False  # of its computation: what that gives

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


def parse(text: str) -> tuple[dict[str, dict[str, Instruction]], str | None]:
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
            instruction = _instruction(found[2], found[3], is_root=found[1] is not None)
            current[instruction.name] = instruction
    return computations, entry


def _instruction(name: str, rest: str, is_root: bool) -> Instruction:
    end = _closing(rest, 0) if rest.startswith("(") else rest.index(" ")
    results, rest = rest[: end + 1], rest[end + 1 :].strip()
    opcode, _, _ = rest.partition("(")
    start = len(opcode)
    end = _closing(rest, start)
    argument = rest[start + 1 : end]
    operands = tuple(_OPERAND.findall(argument))
    return Instruction(name, opcode, _arrays(results), operands, rest[end + 1 :], argument, is_root)


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
