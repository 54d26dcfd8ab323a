"""The sub-command `t5x plan`."""

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from typing import Any

from mpt_jax.errors import UserError

EXIT_DOES_NOT_FIT = 1
STEPS = ("train", "teachers", "predict")
FLAGS = {
    "--topology": {
        "metavar": "CHIP:SHAPE",
        "help": "what it would run on: v4, v5e, v5p or v6e and its slice's shape, as v5e:8x8",
    },
    "--slices": {"metavar": "N", "type": int, "default": 1, "help": "of that shape (default: 1)"},
    "--step": {
        "choices": STEPS,
        "help": "default: the training step, or the decoding one for an eval or infer file; "
        "teachers: phase 1 of a source run",
    },
    "--together": {
        "metavar": "N",
        "type": int,
        "default": 1,
        "help": "runs that take their training step at once, as `t5x sweep --together` has them",
    },
    "--suggest": {"action": "store_true", "help": "look for the smallest setting that fits"},
    "--json": {"action": "store_true", "help": "print one JSON object"},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags; the command line adds gin's."""
    for flag, settings in FLAGS.items():
        parser.add_argument(flag, **settings)


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Prints the plan; the exit status says whether it fits, as far as that is known.

    Raises:
        UserError: a mistake in the flags or the configuration; nothing that fits.
    """
    from mpt_jax.plan import topology as topologies

    if arguments.together < 1:
        raise UserError(f"--together={arguments.together} is not at least 1.")
    if arguments.topology is None:
        raise UserError("t5x plan needs --topology=CHIP:SHAPE, as --topology=v5e:8x8.")
    topology = topologies.parse(arguments.topology, arguments.slices)
    if not arguments.gin_file:
        raise UserError("t5x plan needs --gin_file=FILE, as the command that it plans.")
    if arguments.suggest and not topologies.has_compiler():
        raise UserError(f"--suggest needs the TPU compiler: {topologies.INSTALL}")
    if not os.environ.get("JAX_PLATFORMS"):
        os.environ["JAX_PLATFORMS"] = "cpu"  # nothing runs, so no accelerator is taken
    return _plan(arguments, overrides, topology)


def _plan(arguments: argparse.Namespace, overrides: list[str], topology: Any) -> int:
    import json

    from mpt_jax.engine import native_logs
    from mpt_jax.screen import Screen

    with native_logs.notes_dropped():  # of the compiler and of what gin files import
        from mpt_jax.plan import estimate, program, settings, show, suggest
        from mpt_jax.plan import topology as topologies

    screen = Screen(sys.stderr if arguments.json else sys.stdout)
    search_paths = [path for path in arguments.gin_search_paths.split(",") if path]

    def read(more: Sequence[str] = ()) -> program.Setup:
        given = [*overrides, *more]
        with native_logs.notes_dropped():
            setup = settings.read(arguments.gin_file, given, search_paths, topology, arguments.step)
        return dataclasses.replace(setup, runs=arguments.together)

    def told(tried: list[str], outcome: str) -> None:
        flags = " ".join(f"--gin.{override}" for override in tried)
        print(f"tried {flags}: {outcome}", file=sys.stderr, flush=True)

    if arguments.suggest:
        screen.line(f"search: {suggest.ORDER}")
        config = settings.config_name(arguments.gin_file, search_paths)
        found = suggest.search(read, topology, told, config)
        setup, counts, compiled = read(found.overrides), found.counts, found.compiled
        more = found.overrides
    else:
        setup, more = read(), []
        built = program.build(setup)
        counts, compiled = estimate.counted(built, topology), None
        if topologies.has_compiler():
            compiled = estimate.compile_program(built, topology)
        else:
            print(f"only counted, not compiled: {topologies.INSTALL}", file=sys.stderr)
    if arguments.json:
        facts = estimate.as_json(counts, compiled, topology)
        print(json.dumps({**facts, "overrides": more}, indent=1))
    else:
        show.head(screen, setup, topology)
        show.body(screen, counts, compiled, topology)
        if more:
            screen.line("with " + " ".join(f"--gin.{override}" for override in more))
    return 0 if compiled is None or compiled.fits else EXIT_DOES_NOT_FIT
