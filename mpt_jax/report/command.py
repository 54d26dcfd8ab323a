"""`t5x report`: its arguments, and the call; imports nothing heavy until it is called."""

import argparse
import os

FLAGS = ("--output", "--title", "--as_reported")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of `t5x report`."""
    command.add_argument(
        "run_dirs",
        nargs="+",
        metavar="RUN_DIR",
        help="a run folder, or a folder that contains run folders at any depth",
    )
    command.add_argument(
        "--output", metavar="DIR", help="where to write; default: report/ in the first RUN_DIR"
    )
    command.add_argument("--title", metavar="TEXT", help="its heading; default: names RUN_DIR")
    command.add_argument("--as_reported", action="store_true", help="add published figures")


def run(arguments: argparse.Namespace) -> int:
    """Write the report, say where it is, and return the exit status.

    Raises:
        UserError: as `build.build`.
    """
    from mpt_jax.report import build

    output = arguments.output or os.path.join(arguments.run_dirs[0], "report")
    print(build.build(arguments.run_dirs, output, arguments.as_reported, arguments.title))
    return 0
