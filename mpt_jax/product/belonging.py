"""What refuses a product where it does not belong: on another backbone, or for another task."""

from collections.abc import Mapping, Sequence
from typing import Any

from mpt_jax.errors import UserError, did_you_mean, shown
from mpt_jax.product.description import ProductInfo

_LISTED = 20  # tasks that a message lists


def not_held(task: str | None, held: Sequence[str]) -> UserError:
    """The refusal of a task that a product does not hold; None: no task was given."""
    asked = "no task was given" if task is None else f"task {shown(task)} is not in the bank"
    listed = ", ".join(held[:_LISTED]) or "no tasks"
    more = f", ... ({len(held)})" if len(held) > _LISTED else ""
    return UserError(f"{asked}; it holds {listed}{more}.{did_you_mean(task or '', held)}")


def check_backbone(
    path: str, info: ProductInfo, width: int, vocabulary_size: int, backbone: str, bits: str = ""
) -> None:
    """Refuse a prompt file on a backbone that it does not belong to.

    Args:
        path: the prompt file, for the message.
        info: its description.
        width, vocabulary_size, backbone: D, V and fingerprint of the backbone in use.
        bits: its bits below the fingerprint's; "" where it has none, as a copy in bfloat16.

    Raises:
        UserError: names the first of the four that differs.
    """
    for what, theirs, ours in (
        ("width (D)", info.width, width),
        ("vocabulary size", info.vocabulary_size, vocabulary_size),
        ("backbone fingerprint", info.backbone, backbone),
    ):
        if theirs != ours:
            raise UserError(
                f"prompt file {path} was trained on a backbone with {what} {theirs}, but this "
                f"backbone has {ours}: set INITIAL_CHECKPOINT_PATH and the model gin to the "
                "backbone of that run."
            )
    if bits and info.backbone_bits and bits != info.backbone_bits:
        raise UserError(
            f"prompt file {path} was trained on a backbone that differs from this one in digits "
            "that bfloat16 rounds away: one of the two was damaged or changed. Copy the backbone "
            "again, or train on this one."
        )


def check_arithmetic(path: str, info: ProductInfo, arithmetic: Mapping[str, Any]) -> None:
    """Refuse a prompt file on the same weights in another network.

    Args:
        path: the prompt file, for the message.
        info: its description; one that says nothing of it is taken.
        arithmetic: `T5Config.arithmetic` of the backbone in use.

    Raises:
        UserError: names what differs.
    """
    for name, theirs in info.arithmetic.items():
        if name in arithmetic and arithmetic[name] != theirs:
            raise UserError(
                f"prompt file {path} was trained with {name} = {theirs!r}, this backbone has "
                f"{arithmetic[name]!r}: its config.json or the model gin was changed or damaged."
            )
