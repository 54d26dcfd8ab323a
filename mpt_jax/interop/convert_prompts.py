"""Prompts from one format into another."""

from collections.abc import Sequence


def is_prompts(src: str) -> bool:
    """Whether there are prompts at `src`, in any format."""
    del src
    return False


def convert(src: str, dst: str, to: str, tasks: Sequence[str] | None, backbone: str | None) -> None:
    """Writes the prompts at `src` to `dst` in the format `to`."""
    raise NotImplementedError
