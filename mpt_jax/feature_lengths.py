"""TASK_FEATURE_LENGTHS: how many tokens an input and a target may have."""

from collections.abc import Mapping

from mpt_jax.errors import UserError

SIDES = ("inputs", "targets")
LONGEST = 2**16  # tokens
DEFAULT = {"inputs": 512, "targets": 64}  # tokens, where no prompt file says otherwise


def longest_input(lengths: Mapping[str, int]) -> int:
    """T, the most tokens of an input under these limits (UserError: they are none)."""
    check(lengths)
    return lengths["inputs"]


def check(lengths: Mapping[str, int]) -> None:
    """Raises UserError unless `lengths` has a whole number from 1 to `LONGEST` for both sides."""
    for side in SIDES:
        length = lengths.get(side) if isinstance(lengths, Mapping) else None
        if not isinstance(length, int) or not 1 <= length <= LONGEST:
            raise UserError(
                f"the limit of {side} in TASK_FEATURE_LENGTHS is a number of tokens from 1 to "
                f"{LONGEST:,}, as in {{'inputs': 128, 'targets': 16}}; got {lengths}."
            )
