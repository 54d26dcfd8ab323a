"""TASK_FEATURE_LENGTHS: how many tokens an input and a target may have."""

from collections.abc import Mapping

from mpt_jax.errors import UserError

SIDES = ("inputs", "targets")


def check(lengths: Mapping[str, int]) -> None:
    """Raises UserError unless `lengths` has a positive whole number for both sides."""
    for side in SIDES:
        length = lengths.get(side) if isinstance(lengths, Mapping) else None
        if not isinstance(length, int) or length < 1:
            raise UserError(
                f"TASK_FEATURE_LENGTHS needs a positive length for {side!r}, as in "
                f"{{'inputs': 128, 'targets': 16}}; got {lengths}."
            )
