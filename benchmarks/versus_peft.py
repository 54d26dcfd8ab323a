r"""Ours and PEFT side by side: training, decoding, start and memory, on the same random T5.

    python benchmarks/versus_peft.py --peft=/tmp/peft

makes a venv with torch, transformers and peft there, unless it is there already, and prints a row
for each thing measured. The two programs are two processes that take turns, job by job, so that a
change of the machine's load or clock meets both alike; the best of the repeats counts. Real lengths
are those of ../shared/data/real in pieces of the mini vocabulary, where it is there; made-up ones
otherwise. Nothing else should run meanwhile.
"""

import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping

import record
from versus import environment

FOLDER = pathlib.Path(__file__).parent / "versus"
REAL = pathlib.Path(__file__).parents[2] / "shared/data/real"
SIDES = ("ours", "PEFT")
# Inputs are cut to these lengths, so that every batch is one of a few programs.
BUCKETS = (16, 32, 48, 64, 96, 128, 192)
NEW_TOKENS, TASKS = 32, 8


class Side:
    """One of the two programs, as a process that waits for jobs."""

    def __init__(self, name: str, python: str, backbone: str, args: argparse.Namespace):
        """Starts it; it has read the backbone when it answers."""
        program, own = ("theirs.py", []) if name == "PEFT" else ("ours.py", ["--buckets"])
        shape = dict(batch=args.batch, inputs=args.inputs, prompt=args.prompt, targets=args.targets)
        flags = [f"--{flag}={value}" for flag, value in {**shape, "tasks": TASKS}.items()]
        own += [str(bucket) for bucket in BUCKETS if own and bucket < args.inputs]
        self.process = subprocess.Popen(
            [python, str(FOLDER / program), f"--measure={backbone}", *flags, *own],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if not args.verbose else None,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false", "TF_CPP_MIN_LOG_LEVEL": "3"},
            text=True,
        )

    def do(self, method: str, **arguments: object) -> dict[str, float]:
        """Carries out a job: {"seconds": of the call, "memory": most bytes so far}."""
        self.process.stdin.write(json.dumps({"do": method, "with": arguments}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{method}: the program ended; run again with --verbose to see why.")
        return json.loads(line)

    def end(self) -> None:
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait()


def main() -> None:
    """Prints a table for each size."""
    args = parse_arguments()
    python = {"ours": sys.executable, "PEFT": environment.python(args.peft)}
    packages = ", ".join(environment.PACKAGES)
    print(f"{record.machine()}, {packages}")
    rows: list[dict] = []
    for size in args.sizes.split(","):
        with tempfile.TemporaryDirectory() as backbone:
            write = [python["PEFT"], str(FOLDER / "theirs.py"), f"--write={backbone}"]
            subprocess.run([*write, f"--size={size}"], check=True, capture_output=not args.verbose)
            setting = (
                f"{size}, float32, batch {args.batch}, inputs {args.inputs}, "
                f"prompt {args.prompt}, targets {args.targets}"
            )
            print(f"\n{setting}")
            print(f"{'':45} {'ours':>9} {'PEFT':>9} {'ours/PEFT':>10}")
            found = compare(python, backbone, args)
            rows += [{"size": size, "setting": setting, **each} for each in found]
    record.write(args.csv, rows, machine=f"{record.machine()}, {packages}")


def compare(
    python: Mapping[str, str], backbone: str, args: argparse.Namespace
) -> list[dict[str, object]]:
    """Prints and returns all rows of one size."""
    starts, memory, rows = [], [], []
    for _ in range(args.starts):
        started, used = {}, {}
        for name in SIDES:
            begin = time.perf_counter()
            side = Side(name, python[name], backbone, args)
            side.do("step")
            started[name] = time.perf_counter() - begin
            for _ in range(2):
                used[name] = side.do("step")["memory"]
            side.end()
        starts.append(started)
        memory.append(used)
    rows.append(row("start to the end of the first step", "", "s", best(starts)))
    used = {name: size / 1e9 for name, size in best(memory).items()}
    rows.append(row("most memory of a process that trains", "", "GB", used))

    sides = {name: Side(name, python[name], backbone, args) for name in SIDES}
    turns(sides, 1, "step")
    rows.append(row("a training step", "", "s", turns(sides, args.repeats, "step")))
    if args.texts:
        lengths, of = real_lengths(args.texts, args.inputs)
        mean = sum(lengths) / len(lengths)
        texts = f"{len(lengths)} texts of {of}, {mean:.0f} pieces on average"
        print(f"  {texts}")
        for what, how in (
            ("training on them once", "compiling included"),
            ("training on them once more", ""),
        ):
            found = turns(sides, 1, "texts", lengths)
            rows.append({"texts": texts, **row(what, how, "s", found)})
    for tasks in (1, TASKS):
        decode = dict(new_tokens=NEW_TOKENS, tasks=tasks)
        turns(sides, 1, "decode", **decode)
        label = "one task" if tasks == 1 else f"{tasks} tasks in the batch"
        found = turns(sides, args.repeats, "decode", **decode)
        rows.append(row("decoding", f"{NEW_TOKENS} tokens greedily, {label}", "s", found))
    for side in sides.values():
        side.end()
    return rows


def turns(
    sides: Mapping[str, Side], repeats: int, method: str, lengths: list[int] | None = None, **given
) -> dict[str, float]:
    """The least seconds of each side, which take turns."""
    given |= {"lengths": lengths} if lengths else {}
    return best(
        [
            {name: side.do(method, **given)["seconds"] for name, side in sides.items()}
            for _ in range(repeats)
        ]
    )


def best(found: list[dict[str, float]]) -> dict[str, float]:
    """The least of each side."""
    return {name: min(one[name] for one in found) for name in SIDES}


def row(what: str, how: str, unit: str, found: Mapping[str, float]) -> dict[str, object]:
    """Prints and returns a row, with ours divided by PEFT's."""
    ours, theirs = (found[name] for name in SIDES)
    label = ", ".join(filter(None, (what, how, unit)))
    print(f"{label:45} {ours:9.2f} {theirs:9.2f} {ours / theirs:10.2f}", flush=True)
    named = {"what": what, "how": how, "unit": unit}
    return {**named, "ours": ours, "peft": theirs, "ratio": ours / theirs}


def real_lengths(count: int, longest: int) -> tuple[list[int], str]:
    """Lengths of texts in pieces, cut to `longest`, in an order that is always the same."""
    draw = random.Random(0)
    files = sorted(REAL.glob("*/train.jsonl"))
    if not files:
        drawn = [round(draw.lognormvariate(3.5, 0.7)) for _ in range(count)]
        return [min(max(length, 4), longest) for length in drawn], "made-up lengths"
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(
        model_file=str(FOLDER.parents[1] / "mpt_jax/assets/mini/spiece.model")
    )
    rows = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    texts = [
        " ".join(value for value in json.loads(line).values() if isinstance(value, str))
        for line in draw.sample(rows, count)
    ]
    return [min(len(ids) + 1, longest) for ids in model.encode(texts)], f"{len(files)} corpora"


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--peft", required=True, metavar="FOLDER", help="venv for PEFT, made if missing"
    )
    parser.add_argument("--sizes", default="t5_small,t5_base")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--inputs", type=int, default=128, help="most input tokens of an example")
    parser.add_argument("--prompt", type=int, default=100, help="prompt length")
    parser.add_argument("--targets", type=int, default=8, help="target tokens of an example")
    parser.add_argument("--texts", type=int, default=1000, help="0: no training on real lengths")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--starts", type=int, default=2, help="times that each side starts")
    record.add_flag(parser)
    parser.add_argument("--verbose", action="store_true", help="what the two programs print")
    return parser.parse_args()


if __name__ == "__main__":
    main()
