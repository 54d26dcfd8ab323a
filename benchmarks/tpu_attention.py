r"""What attention costs a TPU: bytes, temporaries and collectives of one training step of MPT.

    pip install --target LIBTPU --no-deps 'libtpu==0.0.42.*'  # the version that `jax[tpu]` names
    PYTHONPATH=LIBTPU TPU_SKIP_MDS_QUERY=1 TPU_WORKER_HOSTNAMES=localhost \
        python benchmarks/tpu_attention.py --size=t5_base

The TPU's own compiler compiles the step for a described TPU; nothing runs and no TPU is needed.
"all bytes" are the compiler's count of what operations read and write, in either memory. To a
kernel's arrays it adds what the kernel says of itself, the same arrays: that is taken off again.
"HBM" is the part that leaves the vector memory, summed over the program's operations.
"""

import argparse
import collections
import dataclasses
import math
import re
import time

from jax.experimental import topologies
from step import compile_step, sizes

from mpt_jax.engine.partitioning import PjitPartitioner


def main() -> None:
    args = parse_arguments()
    topology = topologies.get_topology_desc(platform="tpu", topology_name=args.topology)
    partitioner = PjitPartitioner(num_partitions=args.model_partitions, devices=topology.devices)
    print(
        f"{args.size}, {args.dtype}, {args.topology}, mesh {dict(partitioner.mesh.shape)},"
        f" batch {args.batch}, inputs {args.inputs}, prompt {args.prompt},"
        f" targets {args.targets}; a chip's share:"
    )
    config = dataclasses.replace(sizes(args.size), dtype=args.dtype, remat=args.remat)
    for attention in args.attention:
        start = time.perf_counter()
        compiled = compile_step(dataclasses.replace(config, attention=attention), args, partitioner)
        cost, memory, hlo = compiled.cost_analysis(), compiled.memory_analysis(), compiled.as_text()
        stated = sum(map(int, re.findall(r'"bytes_accessed":"(\d+)"', hlo)))
        print(
            f"{attention:<6} all bytes {(cost['bytes accessed'] - stated) / 1e9:6.2f} GB,"
            f" HBM {hbm_bytes(hlo) / 1e9:5.2f} GB,"
            f" temporaries {memory.temp_size_in_bytes / 2**30:5.3f} GiB,"
            f" arguments {memory.argument_size_in_bytes / 2**30:5.3f} GiB,"
            f" {cost['flops'] / 1e12:5.3f} TFLOP, {collectives(hlo)},"
            f" compiled in {time.perf_counter() - start:.0f} s",
            flush=True,
        )
        if args.hlo:
            with open(f"{args.hlo}.{attention}.txt", "w") as file:
                file.write(hlo)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="t5_base", help="name of a file in gin/models")
    parser.add_argument("--topology", default="v5e:2x2", help="chips, as the compiler names them")
    parser.add_argument("--model_partitions", type=int, default=1)
    parser.add_argument("--attention", nargs="+", default=["dense", "fused"])
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--remat", action="store_true")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--inputs", type=int, default=256, help="input tokens per example")
    parser.add_argument("--prompt", type=int, default=100, help="prompt length")
    parser.add_argument("--targets", type=int, default=16, help="target tokens per example")
    parser.add_argument("--hlo", help="write the compiled programs to files of this name")
    return parser.parse_args()


def collectives(hlo: str) -> str:
    """How many there are of each kind and shape."""
    pattern = r"= \(?(\w+\[[\d,]*\]).* (all-\w+|reduce-scatter|collective-permute)(?:-start)?\("
    counts = collections.Counter(re.findall(pattern, hlo))
    return ", ".join(f"{n} {kind} {shape}" for (shape, kind), n in sorted(counts.items()))


_ARRAY = re.compile(r"(\w+)\[([\d,]*)\](\{[^}]*\})?")
_OPERATION = re.compile(r"\s+(?:ROOT )?%?(\S+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)")
_BYTES = {"f32": 4, "s32": 4, "u32": 4, "bf16": 2, "pred": 1, "u8": 1, "s8": 1}
_FREE = ("parameter", "constant", "bitcast", "tuple", "get-tuple-element")  # no bytes move


def hbm_bytes(hlo: str) -> int:
    """Bytes that the operations of an unrolled, scheduled program read from and write to HBM.

    A layout with S(1) lies in vector memory. Gathers count as if they read a whole table.
    """
    types: dict[str, str] = {}
    total = 0
    for line in hlo[hlo.index("\nENTRY") :].splitlines():
        if (found := _OPERATION.match(line)) is None:
            continue
        name, kind, operation, rest = found.groups()
        types[name] = kind
        if operation in _FREE or operation.endswith("-done") or "ConcatBitcast" in rest:
            continue
        if operation in ("copy-start", "slice-start"):  # (to, from, flag) and (from, to, flag)
            ends = _ARRAY.findall(kind)[:2]
            moved = min(map(_size, ends))
            total += moved * sum("S(1)" not in layout for _, _, layout in ends)
        else:
            operands = re.findall(r"%([\w.\-]+)", rest.split("), ")[0])
            kinds = [kind, *(types.get(operand, "") for operand in operands)]
            arrays = [array for each in kinds for array in _ARRAY.findall(each)]
            total += sum(_size(array) for array in arrays if "S(" not in array[2])
    return total


def _size(array: tuple[str, str, str]) -> int:
    dtype, shape, _ = array
    return _BYTES.get(dtype, 0) * math.prod(int(n) for n in shape.split(",") if n)


if __name__ == "__main__":
    main()
