"""The sub-command `t5x convert`; imports nothing heavy until it is called."""

import argparse
import os

from mpt_jax import assets, files
from mpt_jax.errors import UserError

BACKBONE_FORMATS = ("mpt_jax", "huggingface", "t5x")
PROMPT_FORMATS = ("mpt_jax", "peft", "npy")
_FORMATS = tuple(dict.fromkeys((*BACKBONE_FORMATS, *PROMPT_FORMATS)))

FLAGS = {
    "--to": {
        "choices": _FORMATS,
        "required": True,
        "help": f"a backbone: {', '.join(BACKBONE_FORMATS)}; prompts: {', '.join(PROMPT_FORMATS)}",
    },
    "--dtype": {
        "choices": ("float32", "bfloat16"),
        "help": "of a backbone's stored weights (default: as they are)",
    },
    "--backbone": {"metavar": "PATH", "help": "that prompts of others belong to, or mini"},
    "--merge": {
        "action": "store_true",
        "default": None,
        "help": "write the --backbone with a task's LoRA or (IA)³ of SRC in it",
    },
    "--tasks": {
        "metavar": "A,B",
        "help": "of our prompts, those to write; of others, names for all of them",
    },
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the two places and the flags."""
    parser.add_argument(
        "source", metavar="SRC", help="a backbone (mini: the one that ships) or prompts"
    )
    parser.add_argument("target", metavar="DST", help="what to make; must not exist")
    for flag, settings in FLAGS.items():
        parser.add_argument(flag, **settings)


def run(arguments: argparse.Namespace) -> int:
    """Converts SRC and prints what was made; returns the exit status.

    Raises:
        UserError: SRC is missing, broken or of another kind; DST exists or cannot be written.
    """
    source, target, to = assets.backbone(arguments.source), arguments.target, arguments.to
    if "://" not in source and not os.path.exists(source):
        raise UserError(f"{source!r} does not exist: give a backbone's or prompts' file or folder.")
    files.check_new_folder(target)

    from mpt_jax.convert import convert_prompts

    tasks = arguments.tasks.split(",") if arguments.tasks else None
    if arguments.merge:
        print(target, _merge(source, target, tasks, arguments))
    elif convert_prompts.format_of(source) is not None:
        _check_kind("prompts", PROMPT_FORMATS, arguments, ("dtype",))
        convert_prompts.convert(source, target, to, tasks, arguments.backbone)
        print(target)
    else:
        _check_kind("a backbone", BACKBONE_FORMATS, arguments, ("backbone", "tasks"))
        from mpt_jax.convert import convert_backbones

        print(target, convert_backbones.convert(source, target, to, arguments.dtype))
    return 0


def _merge(source: str, target: str, tasks: list[str] | None, arguments: argparse.Namespace) -> str:
    """Writes a merged backbone; returns its fingerprint."""
    from mpt_jax.convert import merge

    if arguments.backbone is None:
        raise UserError(
            "--merge writes a backbone: name the one that SRC belongs to, --backbone=PATH."
        )
    _check_kind("merged into a backbone", BACKBONE_FORMATS, arguments, ())
    backbone = assets.backbone(arguments.backbone)
    return merge.convert(source, target, arguments.to, backbone, tasks, arguments.dtype)


def _check_kind(
    kind: str, formats: tuple[str, ...], arguments: argparse.Namespace, others: tuple[str, ...]
) -> None:
    """Refuses a format and flags that are not for this kind of source."""
    if arguments.to not in formats:
        raise UserError(
            f"{arguments.source!r} is {kind}; --to={arguments.to} is not for that: "
            f"{', '.join(formats)}."
        )
    for flag in others:
        if getattr(arguments, flag) is not None:
            raise UserError(f"{arguments.source!r} is {kind}, for which --{flag} means nothing.")
