"""What one chip does in a step: memory, arithmetic, traffic; and the roofline's time for it."""

import dataclasses
import re
import time
from typing import Any

from mpt_jax.errors import UserError
from mpt_jax.plan import hlo
from mpt_jax.plan.program import Program
from mpt_jax.plan.topology import Topology

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_REFUSAL = re.compile(
    r"total memory required[^(]*\((?P<total>[\d.]+)(?P<total_unit>[KMGT]?)\)"
    r"|Used (?P<used>[\d.]+)(?P<used_unit>[KMGT]?)i?B? of"
)


@dataclasses.dataclass(frozen=True)
class Counted:
    """What needs no compiler. Bytes and FLOPs are of one chip.

    Attributes:
        parameters: bytes of all parameters.
        arguments: bytes of all that the step is given: parameters, optimizer state, batch.
        flops: that the mathematics needs (`counting`).
        seconds: of these at the chip's full speed.
    """

    parameters: int
    arguments: int
    flops: float
    seconds: float


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What the compiler made of a step; bytes and FLOPs are of one chip.

    Attributes:
        fits: whether the peak is within the chip's memory.
        arguments, temporaries, outputs, code: bytes of HBM; None where the compiler refused.
        peak: bytes of HBM, of arguments, temporaries, results that take no argument's place, and
            the program itself.
        flops: products and other arithmetic.
        bytes: read and written, in the memories on the chip too.
        hbm_bytes: those of HBM.
        moved: bytes sent to other chips.
        collectives: by kind and group.
        unknown_loops: loops of unknown length; they count once.
        compile_seconds: of this machine.
        seconds: arithmetic, memory and links, each at full speed.
        bound: which of these takes longest.
    """

    fits: bool
    peak: int
    compile_seconds: float
    arguments: int | None = None
    temporaries: int | None = None
    outputs: int | None = None
    code: int | None = None
    flops: float | None = None
    bytes: float | None = None
    hbm_bytes: float | None = None
    moved: float | None = None
    collectives: list[hlo.Collective] = dataclasses.field(default_factory=list)
    unknown_loops: int = 0
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def bound(self) -> str | None:
        """The slowest of arithmetic, memory and links."""
        return max(self.seconds, key=self.seconds.get) if self.seconds else None


def counted(program: Program, topology: Topology) -> Counted:
    """What can be said of a program without compiling it."""
    flops = program.flops / topology.chips
    return Counted(program.parameters, program.arguments, flops, flops / topology.chip.flops)


def compile_program(program: Program, topology: Topology) -> Compiled:
    """Compiles the program.

    Raises:
        UserError: the compiler refuses it, for another reason than memory.
    """
    start = time.perf_counter()
    try:
        compiled = program.lower().compile()
    except Exception as error:  # the compiler's own kinds of errors are not public
        return _refused(error, time.perf_counter() - start)
    seconds = time.perf_counter() - start
    memory, text = compiled.memory_analysis(), hlo.Program(compiled.as_text(), topology.chips)
    cost = compiled.cost_analysis()
    new = memory.output_size_in_bytes - memory.alias_size_in_bytes
    code = memory.generated_code_size_in_bytes
    peak = memory.argument_size_in_bytes + memory.temp_size_in_bytes + new + code
    flops = _repeated(cost["flops"], text.flops(), text.flops(repeated=False))
    once = cost["bytes accessed"] - text.stated_bytes()
    all_bytes = _repeated(once, text.bytes(), text.bytes(repeated=False))
    hbm_bytes = text.bytes(only_hbm=True)
    collectives = text.collectives()
    moved = sum(each.moved for each in collectives)
    chip = topology.chip
    return Compiled(
        fits=peak <= chip.memory,
        peak=peak,
        compile_seconds=seconds,
        arguments=memory.argument_size_in_bytes,
        temporaries=memory.temp_size_in_bytes,
        outputs=new,
        code=code,
        flops=flops,
        bytes=all_bytes,
        hbm_bytes=hbm_bytes,
        moved=moved,
        collectives=collectives,
        unknown_loops=len(text.unknown),
        seconds={
            "arithmetic": flops / chip.flops,
            "memory": hbm_bytes / chip.bandwidth,
            "links": moved / chip.links,
        },
    )


def _repeated(compilers: float, repeated: float, once: float) -> float:
    """The compiler's count, which takes the body of a loop once, with its further turns added."""
    return compilers + (repeated - once)


def _refused(error: Exception, seconds: float) -> Compiled:
    text = str(error)
    found = _REFUSAL.search(text) if "RESOURCE_EXHAUSTED" in text else None
    if found is None:
        raise UserError(f"the TPU compiler refuses the step: {text.splitlines()[0]}") from error
    number, unit = (found["total"], found["total_unit"]) if found["total"] else (
        found["used"], found["used_unit"],
    )  # fmt: skip
    return Compiled(fits=False, peak=int(float(number) * _UNITS[unit]), compile_seconds=seconds)


def as_json(counts: Counted, compiled: Compiled | None, topology: Topology) -> dict[str, Any]:
    """Everything as one JSON object."""
    facts: dict[str, Any] = {
        "topology": topology.name,
        "slices": topology.slices,
        "chips": topology.chips,
        "chip": dataclasses.asdict(topology.chip),
        "counted": dataclasses.asdict(counts),
    }
    if compiled is not None:
        facts["compiled"] = {**dataclasses.asdict(compiled), "bound": compiled.bound}
    return facts
