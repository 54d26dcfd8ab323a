"""Requests a second and latency of `t5x serve`, against a transformers + PEFT loop.

    python benchmarks/serve.py --peft=/tmp/peft

Clients ask for one text at a time, on connections that stay open, the next one when the answer is
there; they share the machine with the server. The rival (`versus/serving.py`, in a venv of its own,
which is made if missing) is a loop without HTTP and without clients that switches to the adapter of
each request's task, and gets tokens instead of text. All tasks have the same prompt, so that all
give the same answer in the same steps.
"""

import argparse
import http.client
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import threading
import time

import bank
import numpy as np
import record
from versus import environment

from mpt_jax.backbone.formats import backbones
from mpt_jax.convert import convert_backbones
from mpt_jax.product import product_file

RIVAL = pathlib.Path(__file__).parent / "versus/serving.py"


def main() -> None:
    args = parse_arguments()
    python = environment.python(args.peft) if args.peft else None
    setting = f"{args.tasks} tasks, {args.backbone}, prompt {args.prompt}, {os.cpu_count()} cores"
    print(setting)
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as folder:
        path = bank.write_bank(folder, args.backbone, args.tasks, args.prompt)
        process, port, started = start(args.backbone, path)
        print(f"start {started:.1f} s, with the compilation of all programs\n")
        rows.append({"what": "start", "seconds": started})
        print(f"{'':<28} {'clients':>7} {'requests/s':>11} {'p50 ms':>8} {'p99 ms':>8}")
        try:
            ask(port, 0.5, 8, args.tasks)  # nothing is cold
            for name, tasks in (("one task", 1), (f"{args.tasks} tasks", args.tasks)):
                for clients in args.clients:
                    found = ask(port, args.seconds, clients, tasks)
                    rows.append(show("t5x serve", name, clients, *found))
            answer = one_answer(port)
        finally:
            process.terminate()
            process.wait(60)
        if python is None:
            print("transformers + PEFT: skipped, without --peft")
        else:
            rows += measure_rival(python, args, path, folder, answer)
    record.write(args.csv, [{"setting": setting, **row} for row in rows])


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--backbone", default="mini", help="as `mpt_jax.load` takes it")
    parser.add_argument("--prompt", type=int, default=20, help="prompt length")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    record.add_flag(parser)
    parser.add_argument("--peft", metavar="FOLDER", help="venv for PEFT, made if missing")
    return parser.parse_args()


def start(backbone: str, path: str) -> tuple[subprocess.Popen, int, float]:
    """A server that answers, its port, and the seconds that it took to start."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "mpt_jax.cli", "serve", path, f"--backbone={backbone}"]
    process = subprocess.Popen([*command, "--port=0"], stderr=subprocess.PIPE, text=True)
    said = []
    for line in process.stderr:
        said.append(line)
        if found := re.search(r"http://127.0.0.1:(\d+)", line):
            return process, int(found[1]), time.perf_counter() - began
    raise SystemExit("".join(said))


def ask(port: int, seconds: float, clients: int, tasks: int) -> tuple[float, list[float]]:
    """Wall seconds, and those of each request, of clients whose texts are of so many tasks."""
    begin, latencies = threading.Barrier(clients + 1), []

    def client(seed: int) -> None:
        draw, own = random.Random(seed), []
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        begin.wait()
        end = time.perf_counter() + seconds
        while (now := time.perf_counter()) < end:
            body = {"texts": bank.TEXT, "task": f"task_{draw.randrange(tasks)}"}
            connection.request("POST", "/predict", json.dumps(body))
            response = connection.getresponse()
            content = response.read()
            assert response.status == 200, content
            own.append(time.perf_counter() - now)
        latencies.extend(own)

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(clients)]
    for thread in threads:
        thread.start()
    begin.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began, latencies


def one_answer(port: int) -> str:
    """What the text is answered with."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/predict", json.dumps({"texts": bank.TEXT, "task": "task_0"}))
    return json.loads(connection.getresponse().read())["predictions"][0]["prediction"]


def show(
    what: str, tasks: str, clients: int, seconds: float, latencies: list[float]
) -> dict[str, object]:
    """Prints and returns a row."""
    p50, p99 = (1000 * float(np.quantile(latencies, q)) for q in (0.5, 0.99))
    rate = len(latencies) / seconds
    name = f"{what}, {tasks}"
    print(f"{name:<28} {clients:>7} {rate:>11.1f} {p50:>8.1f} {p99:>8.1f}", flush=True)
    numbers = {"requests_per_s": rate, "p50_ms": p50, "p99_ms": p99}
    return {"what": what, "tasks": tasks, "clients": clients, **numbers}


def measure_rival(
    python: str, args: argparse.Namespace, path: str, folder: str, answer: str
) -> list[dict[str, object]]:
    """Shows the loop's numbers, and whether its answer is the server's; returns the rows."""
    theirs = pathlib.Path(folder, "huggingface")
    convert_backbones.convert(args.backbone, str(theirs), "huggingface")
    prompts, info = product_file.load(path)
    np.save(theirs / "prompt.npy", prompts["shared"])  # all factors are ones
    vocabulary = backbones.tokenizer_of(args.backbone)
    tokens = [*vocabulary.encode(bank.TEXT), vocabulary.eos_id]
    request = {
        "tokens": tokens,
        "tasks": args.tasks,
        "seconds": args.seconds,
        "most_tokens": info.feature_lengths["targets"],
    }
    command = [python, str(RIVAL), str(theirs), json.dumps(request)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    rows = [
        show("transformers + PEFT", tasks, 1, sum(each), each)
        for tasks, each in found["latencies"].items()
    ]
    same = vocabulary.decode(found["answer"]) == answer
    print(f"{args.tasks} adapters were added in {found['added']:.1f} s; ", end="")
    print("all give the server's answer" if same else "THE ANSWERS DIFFER")
    return [*rows, {"what": "adapters were added", "seconds": found["added"]}]


if __name__ == "__main__":
    main()
