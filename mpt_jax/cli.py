"""The `t5x` command, in T5X's vocabulary: `t5x train --gin_file=FILE --gin.NAME=VALUE`.

Arguments, gin paths and, where they can be known, names of tasks and files are checked before jax,
tensorflow or seqio are imported, so that help and mistakes answer at once.
"""

import argparse
import contextlib
import importlib
import logging
import os
import shlex
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from mpt_jax import process
from mpt_jax.configuration import gin_files
from mpt_jax.engine import interrupt
from mpt_jax.errors import UserError, did_you_mean, exit_status, interrupted
from mpt_jax.real_t5x import installed
from mpt_jax.t5x import engines

# Sub-commands that run a gin-configured function: name -> (module, function, help).
GIN_COMMANDS = {
    "train": ("mpt_jax.t5x.train", "train", "train prompts: source run or target adaptation"),
    "eval": ("mpt_jax.t5x.eval", "evaluate", "evaluate a checkpoint or a prompt file"),
    "infer": ("mpt_jax.t5x.infer", "infer", "predict on a task and write the predictions"),
    "tasks": ("mpt_jax.tasks.listing", "show", "list the tasks, or look into one"),
}
# Other sub-commands: name -> (module, help). The module imports nothing heavy; it has
# `add_arguments(parser)`, their `FLAGS`, and `run(arguments)`, which returns the exit status;
# that of `PLANNING`, which takes gin's flags too, is given the overrides.
PLAIN_COMMANDS = {
    "plan": ("mpt_jax.plan.command", "what a run would need of a described TPU; nothing runs"),
    "sweep": ("mpt_jax.sweep.command", "train and score a plan: methods × tasks × shots × seeds"),
    "bank": ("mpt_jax.bank.command", "add tasks to a prompt bank, list them, remove them"),
    "serve": ("mpt_jax.serve.command", "answer over HTTP: many tasks, many clients, one model"),
    "export": ("mpt_jax.export.command", "a model that runs without this package, with its card"),
    "convert": ("mpt_jax.convert.command", "backbones and prompts into another program's format"),
    "report": ("mpt_jax.report.command", "tables and pictures of finished runs, in one page"),
}
PLANNING = "plan"
COMMANDS = (*GIN_COMMANDS, *PLAIN_COMMANDS)
# What `t5x tasks` reads before the given gin files, and where none is given.
TASKS_FILE = "gin/tasks.gin"
SHIPPED_TASKS_FILE = "gin/suites/shipped.gin"

GIN_HELP = """\
configuration:
  --gin.NAME=VALUE   set a macro (--gin.TRAIN_STEPS=100) or an argument of a
                     function (--gin.utils.SaveCheckpointConfig.period=5);
                     repeatable, wins over files.
                     A VALUE that is not a gin literal or reference is a string:
                     --gin.MODEL_DIR=/tmp/run needs no inner quotes.
"""


class _Parser(argparse.ArgumentParser):
    """Reports mistakes as `UserError`, where argparse prints its usage and exits."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see `{self.prog} --help`)")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv` (default: the process's) and returns the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    command = ["t5x", *argv]
    with contextlib.ExitStack() as stack:
        if argv and argv[0] in GIN_COMMANDS:
            stack.enter_context(interrupt.ending_process(interrupted("t5x", command)))
        return exit_status(lambda: run(argv), "t5x", command)


def run(argv: Sequence[str]) -> int:
    """Runs the command line `argv` as `main` does, but raises what went wrong.

    Raises:
        UserError: bad input.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the state was saved.
    """
    arguments, overrides = parse_arguments(argv)
    process.tune()
    if arguments.command == PLANNING:
        _settle_for_gin()
        return _plain(PLANNING).run(arguments, overrides)
    if arguments.command in PLAIN_COMMANDS:
        return _plain(arguments.command).run(arguments)
    _run_gin(arguments, overrides)
    return 0


def parse_arguments(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Splits `argv` into the sub-command's arguments and the gin overrides ("NAME=VALUE").

    Raises:
        UserError: an unknown sub-command or flag, or a malformed override.
    """
    overrides = [a.removeprefix("--gin.") for a in argv if a.startswith("--gin.")]
    for override in overrides:
        if "=" not in override:
            raise UserError(f"--gin.{override} has no value: write --gin.{override}=VALUE.")
    parser = _parser()
    plain = [a for a in argv if not a.startswith("--gin.")]
    _check_command(plain)
    arguments, unknown = parser.parse_known_args(plain)
    if unknown:
        raise UserError(_unknown_flag(arguments.command, unknown[0]))
    for binding in getattr(arguments, "gin_bindings", []):
        if "=" not in binding:
            raise UserError(f"--gin_bindings={binding!r} is not NAME = VALUE.")
        overrides.append(binding)
    if overrides and arguments.command in PLAIN_COMMANDS and arguments.command != PLANNING:
        raise UserError(
            f"t5x {arguments.command} takes no --gin.{overrides[0]}: gin settings are for "
            f"{', '.join(GIN_COMMANDS)}, and in the plan of a sweep."
        )
    return arguments, overrides


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="t5x",
        description="Multitask Prompt Tuning for T5: many tasks, one frozen backbone.",
        epilog="`t5x COMMAND --help` lists a command's flags and the shipped gin files.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (_, _, summary) in GIN_COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=f"{GIN_HELP}\nshipped gin files:\n{gin_files.describe_shipped()}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        _add_gin_flags(command)
        if name in ("train", "eval"):
            command.add_argument(
                "--tfds_data_dir", metavar="DIR", help="where prepared TFDS datasets lie"
            )
            command.add_argument(
                "--seqio_additional_cache_dirs",
                default="",
                metavar="DIR[,DIR]",
                help="where seqio_cache_tasks wrote tasks, for USE_CACHED_TASKS",
            )
        if name == "tasks":
            command.add_argument("task", nargs="?", metavar="NAME", help="a task, or a mixture")
        else:
            command.add_argument(
                "--engine",
                choices=engines.ENGINES,
                default=engines.OWN,
                help="what runs it: this package, or an installed T5X (docs/t5x.md)",
            )
            command.add_argument(
                "--dry_run",
                action="store_true",
                help="print the configuration, check that its files are there, and stop",
            )
            for flag in ("--logtostderr", "--alsologtostderr"):
                command.add_argument(flag, action="store_true", help="T5X's; without effect here")
            _add_process_flags(command)
    for name, (_, summary) in PLAIN_COMMANDS.items():
        description = f"{summary[0].upper()}{summary[1:]}."
        command = commands.add_parser(
            name, help=summary, description=description, allow_abbrev=False
        )
        if name == PLANNING:
            _add_gin_flags(command)
        _plain(name).add_arguments(command)
    return parser


def _add_gin_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--gin_file",
        action="append",
        default=[],
        metavar="FILE",
        help="gin file; repeatable, later files win; found from any folder if shipped",
    )
    command.add_argument(
        "--gin_search_paths",
        default="",
        metavar="DIR[,DIR]",
        help="folders to look for gin files in, after the working directory",
    )
    command.add_argument(
        "--gin_bindings",
        action="append",
        default=[],
        metavar="'NAME = VALUE'",
        help="as --gin.NAME=VALUE; repeatable, after those",
    )


def _plain(name: str) -> ModuleType:
    """The module of a sub-command that is not configured by gin."""
    return importlib.import_module(PLAIN_COMMANDS[name][0])


def _add_process_flags(command: argparse.ArgumentParser) -> None:
    """How the processes of a run find each other; T5X's names, except the first."""
    group = command.add_argument_group(
        "several hosts", "start the same command on each of them; MODEL_DIR is a shared folder"
    )
    group.add_argument(
        "--multiprocess",
        "--multiprocess_gpu",
        action="store_true",
        help="join the processes that the cluster announces (TPU pod, Slurm, Open MPI)",
    )
    group.add_argument(
        "--coordinator_address", metavar="HOST:PORT", help="or: the first process's address,"
    )
    group.add_argument("--process_count", type=int, metavar="N", help="their number")
    group.add_argument("--process_index", type=int, metavar="I", help="and which this is, from 0")


def _check_command(plain: Sequence[str]) -> None:
    """Refuses an unknown sub-command with the nearest one."""
    if not plain:
        raise UserError(f"no command: one of {', '.join(COMMANDS)} (see `t5x --help`).")
    if not plain[0].startswith("-") and plain[0] not in COMMANDS:
        raise UserError(
            f"unknown command {plain[0]!r}.{did_you_mean(plain[0], COMMANDS)} "
            f"Commands: {', '.join(COMMANDS)}."
        )


def _unknown_flag(command: str, argument: str) -> str:
    name, equals, value = argument.partition("=")
    if not name.startswith("-"):
        return f"unexpected argument {argument!r}; values belong to flags as --flag=value."
    macro = name.lstrip("-")
    if command in PLAIN_COMMANDS:
        gin = (
            ["--gin_file", "--gin_search_paths", "--gin.NAME=VALUE"] if command == PLANNING else []
        )
        flags = [*gin, *_plain(command).FLAGS, "--help"]
        return f"unknown flag {name!r}.{did_you_mean(name, flags)} Flags: {', '.join(flags)}."
    if macro.isupper():
        return f"unknown flag {name!r}: gin macros are set with --gin.{macro}{equals}{value}."
    flags = ["--gin_file", "--gin_search_paths", "--gin.NAME=VALUE", "--gin_bindings", "--help"]
    if command != "tasks":
        flags += ["--engine", "--dry_run", "--multiprocess", "--multiprocess_gpu"]
    if command in ("train", "eval"):
        flags += ["--tfds_data_dir", "--seqio_additional_cache_dirs"]
    return f"unknown flag {name!r}.{did_you_mean(name, flags) or f' Flags: {flags}.'}"


def _run_gin(arguments: argparse.Namespace, overrides: list[str]) -> None:
    """Parses the gin configuration and calls the sub-command's function with it."""
    presets = []
    if arguments.command == "tasks":
        arguments.gin_file = [TASKS_FILE, *(arguments.gin_file or [SHIPPED_TASKS_FILE])]
        presets = _tasks_presets(arguments.task)
    elif not arguments.gin_file:
        raise UserError(
            f"t5x {arguments.command} needs --gin_file=FILE. "
            f"Shipped gin files:\n{gin_files.describe_shipped()}"
        )
    if "engine" in arguments:
        if arguments.engine == engines.T5X:
            installed.find()
        engines.choose(arguments.engine)
    search_paths = [path for path in arguments.gin_search_paths.split(",") if path]
    _settle_for_gin()
    with _joined(arguments):
        _call_gin(arguments, overrides, search_paths, presets)


def _settle_for_gin() -> None:
    """What must be so before gin files are read and what they name is imported."""
    # A user's own modules, named by a gin file, are found in the working directory, last.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    # Read by tensorflow and the C++ libraries when they are first imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    logging.getLogger().addFilter(_is_no_search_note)


def _call_gin(
    arguments: argparse.Namespace, overrides: list[str], search_paths: list[str], presets: list[str]
) -> None:
    from mpt_jax.configuration import config, early, gin_presets
    from mpt_jax.engine import native_logs

    module, function, _ = GIN_COMMANDS[arguments.command]
    presets = [*presets, *gin_presets.presets(arguments.command, arguments.gin_file, search_paths)]
    with native_logs.notes_dropped():  # while the modules that the gin files name are imported
        # before seconds of imports
        source = config.check(arguments.gin_file, overrides, search_paths, presets)
        early.check(function, source)
        if getattr(arguments, "engine", engines.OWN) == engines.T5X:
            installed.check()  # before gin is locked: T5X's modules register configurables
        config.parse(arguments.gin_file, overrides, search_paths, presets)
        _settle_libraries()
    if getattr(arguments, "dry_run", False):
        config.check_paths(function, source)
        print(config.text())
        return
    _set_tfds_folder(getattr(arguments, "tfds_data_dir", None))
    _add_cache_dirs(getattr(arguments, "seqio_additional_cache_dirs", ""))
    result = config.call(module, function)
    if arguments.command == "train":
        _tell_next(result, arguments.gin_file, overrides, search_paths)


def _tell_next(model_dir: object, *given: list[str]) -> None:
    from mpt_jax import following, hosts

    line = following.command(model_dir, *given) if isinstance(model_dir, str) else None
    if line and hosts.is_first():
        print(f"next: {line}", file=sys.stderr, flush=True)


def _set_tfds_folder(folder: str | None) -> None:
    if folder:
        import seqio

        seqio.set_tfds_data_dir_override(folder)


def _add_cache_dirs(folders: str) -> None:
    if folders:
        import seqio

        known = seqio.get_global_cache_dirs()
        seqio.add_global_cache_dirs([each for each in folders.split(",") if each not in known])


def _tasks_presets(task: str | None) -> list[str]:
    """Makes the configuration of `t5x tasks` that of a run of the named task, without weights."""
    presets = ["INITIAL_CHECKPOINT_PATH=None"]
    if task is not None:
        presets += [f"MIXTURE_OR_TASK_NAME={task!r}", "listing.show.task=%MIXTURE_OR_TASK_NAME"]
    return presets


def _joined(arguments: argparse.Namespace) -> contextlib.AbstractContextManager[None]:
    """Within it this process is one of several, where the flags say so."""
    names = ("coordinator_address", "process_count", "process_index")
    processes = [getattr(arguments, name, None) for name in names]
    if processes == [None, None, None] and not getattr(arguments, "multiprocess", False):
        return contextlib.nullcontext()
    from mpt_jax import hosts

    return hosts.joined(*processes, resume=shlex.join(["t5x", *sys.argv[1:]]))


def _is_no_search_note(record: logging.LogRecord) -> bool:
    """Gin logs an error for each folder in which it does not find a file; one of them has it."""
    return not str(record.msg).startswith("Path not found: ")


def _settle_libraries() -> None:
    """Of SeqIO's and TensorFlow's log only errors; no GPU for TensorFlow: jax needs its memory."""
    from absl import logging as absl_logging

    absl_logging.set_verbosity(absl_logging.ERROR)
    if tensorflow := sys.modules.get("tensorflow"):  # imported by what the gin files name
        tensorflow.config.set_visible_devices([], "GPU")


if __name__ == "__main__":
    sys.exit(main())
