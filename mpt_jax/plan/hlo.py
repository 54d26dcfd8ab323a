"""What a compiled program does: loops, collectives, FLOPs and bytes, from its text.

The compiler's own count takes the body of a loop once, however often it runs. Here every
instruction counts as often as the loops around it turn.
"""

import collections
import dataclasses
import functools
import math
import re
from collections.abc import Iterator, Mapping

from mpt_jax.plan import traffic
from mpt_jax.plan.hlo_text import Instruction, parse

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")

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
        self.computations, entry = parse(text)
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
        """How often a loop turns: by what its condition compares a counter with; else 1."""
        known = re.search(r'known_trip_count[":{ ]+n[": ]+(\d+)', loop.attributes)
        if known:
            return int(known[1])
        body = self.computations[loop.called("body")]
        turns = [
            math.ceil(limit / self._step(body, counter))
            for limit, counter in self._limits(loop.called("condition"))
        ]
        if not turns:
            self.unknown.append(loop.name)
        return max(turns, default=1)

    def _limits(self, name: str) -> Iterator[tuple[int, int | None]]:
        """What a condition, or what is fused in it, compares with, and which of the loop's values.

        A whole number, and the place of the compared value in the loop's tuple, if it is there.
        """
        instructions = self.computations[name]
        for each in instructions.values():
            if each.opcode == "fusion":
                called = each.called("calls")
                compares = any(i.opcode == "compare" for i in self.computations[called].values())
                given = self._operands(name, each) if compares else []
                places = [place for i in given if (place := _place(i)) is not None]
                counter = places[0] if len(places) == 1 else None
                yield from ((int(i.argument), counter) for i in given if _is_number(i))
                yield from self._limits(called)
            elif each.opcode == "compare" and "direction=LT" in each.attributes:
                counter, limit = (instructions.get(operand) for operand in each.operands)
                if limit and _is_number(limit):
                    yield int(limit.argument), counter and _place(counter)

    def _step(self, body: Mapping[str, Instruction], counter: int | None) -> int:
        """What a loop adds to its counter in a turn: the compiler may do several turns in one."""
        root = next(each for each in body.values() if each.is_root)
        if counter is None or root.opcode != "tuple":
            return 1
        added = body[root.operands[counter]]
        terms = [body[name] for name in added.operands] if added.opcode == "add" else []
        return next((int(term.argument) for term in terms if _is_number(term)), 1)

    def _all(self) -> Iterator[tuple[int, str, Instruction]]:
        for name, times in self.times.items():
            for instruction in self.computations[name].values():
                yield times, name, instruction

    def collectives(self) -> list[Collective]:
        """Those of each kind and group size, largest bytes first."""
        found: dict[tuple[str, int], list[int]] = collections.defaultdict(lambda: [0, 0])
        channels = set()
        for times, name, each in self._all():
            kind = each.opcode.removesuffix("-start")
            if kind not in COLLECTIVES:
                continue
            if traffic.IN_PIECES in each.attributes:
                channel = re.search(r"channel_id=(\d+)", each.attributes)[1]
                if channel in channels:
                    continue
                channels.add(channel)
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
        return sum(
            (times if repeated else 1) * self._bytes(name, each, only_hbm)
            for times, name, each in self._all()
            if name not in fused
        )

    def _bytes(self, name: str, each: Instruction, only_hbm: bool) -> int:
        return traffic.of(each, self._operands(name, each), self.computations, only_hbm)

    def stated_bytes(self) -> int:
        """What kernels say of themselves, which the compiler's count adds to their arrays."""
        return sum(_stated(each, "bytes_accessed") for _, _, each in self._all())

    def _fusions(self, name: str) -> list[str]:
        each = self.computations[name].values()
        return [i.called("calls") for i in each if i.opcode == "fusion"]


def _stated(each: Instruction, what: str) -> int:
    """What a kernel says of itself, in its attributes."""
    found = re.search(rf'"{what}":"(\d+)"', each.attributes)
    return int(found[1]) if found else 0


def _place(each: Instruction) -> int | None:
    """Which element of a tuple it is."""
    found = re.search(r"index=(\d+)", each.attributes)
    return int(found[1]) if found and each.opcode == "get-tuple-element" else None


def _is_number(each: Instruction) -> bool:
    """Whether it is a constant, a whole number."""
    return each.opcode == "constant" and each.argument.isdigit()


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
