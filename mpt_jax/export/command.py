"""`t5x export`: its arguments, and the call; imports nothing heavy until it is called."""

import argparse

from mpt_jax.errors import UserError, did_you_mean

FLAGS = ("--backbone", "--platforms", "--dtype", "--method_module")
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
DTYPES = ("float32", "bfloat16")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of `t5x export`."""
    command.add_argument("prompts", metavar="PROMPTS", help="prompt file, or folder of a run")
    command.add_argument("folder", metavar="DIR", help="new folder for the exported model")
    command.add_argument(
        "--backbone",
        default="mini",
        metavar="PATH",
        help="as INITIAL_CHECKPOINT_PATH; mini, the one that ships",
    )
    command.add_argument(
        "--platforms",
        default="cpu,cuda,tpu",
        metavar="LIST",
        help=f"what it can run on, of {', '.join(PLATFORMS)}; cpu,cuda,tpu",
    )
    command.add_argument("--dtype", default="float32", choices=DTYPES, help="of the weights")
    command.add_argument(
        "--method_module", metavar="MODULE", help="where your own method has trained PROMPTS"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the folder, say where it is, and return the exit status.

    Raises:
        UserError: as `build.build`; an unknown platform.
    """
    platforms = arguments.platforms.split(",")
    for name in platforms:
        if name not in PLATFORMS:
            raise UserError(
                f"--platforms has {name!r}.{did_you_mean(name, PLATFORMS)} "
                f"Platforms: {', '.join(PLATFORMS)}."
            )
    from mpt_jax.export import build

    build.build(
        arguments.prompts,
        arguments.folder,
        backbone=arguments.backbone,
        platforms=platforms,
        dtype=arguments.dtype,
        method_module=arguments.method_module,
    )
    print(arguments.folder)
    return 0
