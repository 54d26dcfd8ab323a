"""What the product of a run says of itself, in the header of its file."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from mpt_jax import feature_lengths, files
from mpt_jax.errors import UserError, shown
from mpt_jax.vocabulary import check_whole

FORMAT = "mpt_jax.prompts/1"
_KEY = "mpt_jax"
LONGEST_LABEL = 1000  # characters
TASK_NAME = re.compile(r"[\w.:-]+")  # SeqIO's; no part of a path


@dataclasses.dataclass(frozen=True)
class ProductInfo:
    """What the product of a run says of itself.

    Attributes:
        method: the method that trained the bank, e.g. "mpt".
        tasks: names of the K tasks, in the order of the bank's rows.
        length, width, rank: P (0: no prompt), D and R (0: no factors).
        vocabulary_size: V of the backbone.
        backbone: fingerprint of the backbone's frozen weights (`backbone.store.identify`).
        feature_lengths: token limits, {"inputs": T, "targets": S}.
        label_words: task -> its label words, for tasks that have them.
        input_forms: task -> how its inputs are written, e.g. "review: {text}", where it is stated.
        step: the training step that the bank was taken from, the last one of `task_steps`.
        metrics: validation metrics of that step, task -> {name: value}; None: not finite.
        backbone_bits: that backbone's bits below the fingerprint's (`fingerprints.Identity`), or
            "" where it had none.
        arithmetic: what that backbone computed with (`T5Config.arithmetic`).
        vocabulary: `vocabulary.digest` of what tokenised the inputs; "" where it is not known.
        task_steps: task -> the step that its rows were taken from, where each task has its own.
    """

    method: str
    tasks: tuple[str, ...]
    length: int
    width: int
    rank: int
    vocabulary_size: int
    backbone: str
    feature_lengths: dict[str, int]
    label_words: dict[str, list[str]]
    input_forms: dict[str, str]
    step: int
    metrics: dict[str, Any]
    backbone_bits: str = ""
    arithmetic: dict[str, Any] = dataclasses.field(default_factory=dict)
    vocabulary: str = ""
    task_steps: dict[str, int] = dataclasses.field(default_factory=dict)


def header(info: ProductInfo) -> dict[str, str]:
    """The description as a text of a safetensors header."""
    return {_KEY: files.to_json(as_json_object(info))}


def from_header(metadata: Mapping[str, str]) -> ProductInfo:
    """The description that `header` has put into the free-form part of a safetensors header.

    Raises:
        ValueError: there is none, or it is damaged or of another format.
    """
    try:
        description = files.parse_json(metadata[_KEY], "its description")
        if description.pop("format") != FORMAT:
            raise ValueError("another format")
        info = ProductInfo(**{**description, "tasks": tuple(description["tasks"])})
        _check_types(info)
    except (KeyError, TypeError, AttributeError, UserError) as error:
        raise ValueError(f"no description of a prompt: {error!r}") from error
    return info


def as_json_object(info: ProductInfo) -> dict[str, Any]:
    """The description with its format, as `prompts.json` shows it."""
    return {"format": FORMAT, **dataclasses.asdict(info)}


def check_label(word: str) -> None:
    """Refuses what is not a label word, as each is scored at its full length (UserError)."""
    if not isinstance(word, str) or len(word) > LONGEST_LABEL:
        raise UserError(
            f"the label {shown(str(word))} is not a text of at most {LONGEST_LABEL:,} characters."
        )
    check_whole(word, f"the label {shown(word)}")


def check_bounds(file: str, info: ProductInfo) -> None:
    """Refuses a description that asks for more than any machine has, or for nothing."""
    for side, length in info.feature_lengths.items():
        if not 1 <= length <= feature_lengths.LONGEST:
            raise UserError(
                f"{file} states feature_lengths.{side} = {length}; a length is a number of tokens "
                f"from 1 to {feature_lengths.LONGEST:,}. Restore the file from a copy."
            )
    try:
        for words in info.label_words.values():
            for word in words:
                check_label(word)
    except UserError as error:
        raise UserError(f"{file}: {error} Restore the file from a copy.") from error


def _check_types(info: ProductInfo) -> None:
    """Raises a ValueError or TypeError where a field is not what `ProductInfo` says."""
    mappings = (
        (info.feature_lengths, int),
        (info.label_words, list),
        (info.input_forms, str),
        (info.metrics, dict),
        (info.task_steps, int),
    )
    if type(info.arithmetic) is not dict:
        raise TypeError("a mapping")
    for field, item in mappings:
        if type(field) is not dict or any(type(value) is not item for value in field.values()):
            raise TypeError("a mapping")
    scores = (value for found in info.metrics.values() for value in found.values())
    if any(type(value) not in (float, int, type(None)) for value in scores):
        raise TypeError("a metric")
    sizes = [info.length, info.width, info.rank, info.vocabulary_size, info.step]
    sizes += [*info.feature_lengths.values(), *info.task_steps.values()]
    if any(type(size) is not int or size < 0 for size in sizes):
        raise TypeError("a size")
    if not all(map(TASK_NAME.fullmatch, info.tasks)) or len(set(info.tasks)) < len(info.tasks):
        raise ValueError("task names")
    words = [word for words in info.label_words.values() for word in words]
    texts = [info.method, info.backbone, info.backbone_bits, info.vocabulary]
    "".join([*texts, *info.input_forms.values(), *words]).encode("utf-8")
