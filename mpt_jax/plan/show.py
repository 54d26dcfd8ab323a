"""A plan as text."""

from mpt_jax.plan.estimate import Compiled, Counted
from mpt_jax.plan.program import Setup
from mpt_jax.plan.topology import Topology
from mpt_jax.screen import Screen

_KINDS = {
    "arithmetic": "arithmetic",
    "memory": "memory traffic",
    "links": "the links between chips",
}


def head(screen: Screen, setup: Setup, topology: Topology) -> None:
    """What is planned."""
    mesh, config = setup.partitioner.mesh.shape, setup.model.config
    slices = f"{topology.slices} slices of " if topology.slices > 1 else ""
    screen.facts(
        {
            "topology": f"{slices}{topology.name}, {topology.chips} chips: data {mesh['data']} × "
            f"model {mesh['model']}",
            "step": f"{setup.step}, method {setup.model.method.name}"
            + (", distillation" if setup.model.distillation else "")
            + (f"; {setup.runs} runs at once" if setup.runs > 1 else "")
            + f"; batch {setup.batch_size}, inputs {setup.lengths['inputs']}, targets "
            f"{setup.lengths['targets']}",
            "settings": f"weights {setup.restore.dtype if setup.restore else 'float32'}, "
            f"computation {config.dtype}, attention {config.attention}, remat {config.remat}, "
            f"scan_layers {config.scan_layers}, "
            f"{setup.num_microbatches} microbatch(es)",
        }
    )


def body(screen: Screen, counts: Counted, compiled: Compiled | None, topology: Topology) -> None:
    """What one chip does, and whether it fits."""
    chip = topology.chip
    facts = {
        "parameters": gib(counts.parameters),
        "all arguments": gib(counts.arguments),
        "counted FLOPs": f"{counts.flops:.4g}",
    }
    if compiled is None:
        facts["memory of a chip"] = gib(chip.memory)
        facts["time of these"] = f"{counts.seconds * 1e3:.3g} ms"
        screen.line("\nper chip")
        screen.facts(facts)
        return
    facts["compiled in"] = f"{compiled.compile_seconds:.0f} s"
    if compiled.flops is not None:
        facts |= {
            "temporaries": gib(compiled.temporaries),
            "program": gib(compiled.code),
            "compiled FLOPs": f"{compiled.flops:.4g}",
            "bytes accessed": f"{compiled.bytes:.4g}",
            "bytes of HBM": f"{compiled.hbm_bytes:.4g}",
            "bytes sent": f"{compiled.moved:.4g}",
        }
    facts["peak"] = of_memory(compiled, topology)
    screen.line("\nper chip")
    screen.facts(facts)
    if compiled.collectives:
        screen.line()
        rows = [
            [each.kind, str(each.group), str(each.count), f"{each.bytes:.4g}"]
            for each in compiled.collectives
        ]
        titles = ["collective", "chips", "count", "bytes"]
        screen.table(titles, rows, numeric=titles[1:])
    if compiled.seconds:
        screen.line()
        times = ", ".join(f"{_KINDS[k]} {v * 1e3:.3g} ms" for k, v in compiled.seconds.items())
        screen.line(f"at full speed: {times}")
        bound = compiled.seconds[compiled.bound]
        screen.line(f"roofline {bound * 1e3:.3g} ms, bound by {_KINDS[compiled.bound]}")
    if compiled.unknown_loops:
        screen.line(f"{compiled.unknown_loops} loop(s) of unknown length are counted once")
    if topology.slices > 1:
        screen.line("the network between slices is not in these times")
    screen.line(verdict(compiled))


def verdict(compiled: Compiled) -> str:
    """Whether it fits, in one line."""
    return "it fits" if compiled.fits else "it does not fit: add --suggest for a setting that does"


def of_memory(compiled: Compiled, topology: Topology) -> str:
    """The peak, and what a chip has."""
    return f"{gib(compiled.peak)} of {gib(topology.chip.memory)}"


def gib(count: float) -> str:
    """Bytes in GiB."""
    return f"{count / 2**30:.3f} GiB"
