"""`t5x serve`: its arguments, and the call; imports nothing heavy until it is called."""

import argparse
import importlib.util
import math
from collections.abc import Callable

from mpt_jax.errors import UserError

FLAGS = (
    "--backbone",
    "--host",
    "--port",
    "--batch_size",
    "--batch_wait",
    "--queue",
    "--timeout",
    "--max_body",
    "--dtype",
    "--vocabulary",
    "--num_partitions",
    "--method_module",
)
DTYPES = ("float32", "bfloat16")
_NEEDED = ("starlette", "uvicorn", "prometheus_client")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of `t5x serve`."""
    command.add_argument("prompts", metavar="PROMPTS", help="prompt file, or folder of a run")
    command.add_argument(
        "--backbone",
        default="mini",
        metavar="PATH",
        help="as INITIAL_CHECKPOINT_PATH; mini, the one that ships",
    )
    command.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="to listen on; 127.0.0.1: this machine alone is answered",
    )
    command.add_argument(
        "--port", type=_number(int, 0, 65535), default=8000, metavar="N", help="8000; 0: a free one"
    )
    limits = command.add_argument_group("batches and limits")
    for flag, kind, least, default, text in (
        ("--batch_size", int, 1, None, "texts of a batch at most; 32 for each device"),
        ("--batch_wait", float, 0, 2.0, "milliseconds that a text waits for others; 2"),
        ("--queue", int, 1, 1024, "texts that wait at most, then 429 is answered; 1024"),
        ("--timeout", float, 0.001, 30.0, "seconds after which 504 is answered; 30"),
        ("--max_body", int, 1, 2**20, "bytes of a request at most, else 413; 1048576"),
    ):
        number = _number(kind, least, math.inf)
        limits.add_argument(flag, type=number, default=default, metavar="N", help=text)
    model = command.add_argument_group("model")
    model.add_argument("--dtype", default="float32", choices=DTYPES, help="of the weights")
    model.add_argument("--vocabulary", metavar="FILE", help="instead of the backbone's own")
    model.add_argument(
        "--num_partitions",
        type=_number(int, 1, math.inf),
        default=1,
        metavar="N",
        help="devices that share each tensor of the model; the others share the texts",
    )
    model.add_argument(
        "--method_module", metavar="MODULE", help="where your own method has trained PROMPTS"
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes, and return the exit status.

    Raises:
        UserError: as `server.serve`; the extra is not installed.
    """
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise UserError(
            f"t5x serve needs {', '.join(missing)}: pip install 'mpt-jax[serve]' (in the folder of "
            "this package: pip install '.[serve]')."
        )
    from mpt_jax.serve import server

    server.serve(arguments)
    return 0


def _number(kind: type, least: float, most: float) -> Callable[[str], float]:
    """A number of a kind within bounds, as the type of a flag."""

    def read(text: str) -> float:
        value = kind(text)
        if not (least <= value <= most and value < math.inf):
            above = f"at least {least}" if most == math.inf else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"{text} is not {above}")
        return value

    read.__name__ = "whole number" if kind is int else "number"  # argparse's "invalid ... value"
    return read
