"""The product of a run: `prompts.safetensors` (the bank) and `prompts.json` (what it is).

Kilobytes, self-describing, and refused with a clear message on a backbone that it was not
trained on (contract 5 of the design). A method that tunes more than prompts writes the same
description with other tensors, named by their path in the parameters: `adapter.safetensors`, or
the whole backbone, `backbone/model.safetensors`.
"""

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import safetensors
from etils import epath

from mpt_jax import feature_lengths, files
from mpt_jax.backbone import tensor_file
from mpt_jax.errors import UserError, did_you_mean, shown
from mpt_jax.product.leaves import AXES, Bank, is_per_task

FILE_NAME = "prompts.safetensors"
ADAPTER_FILE = "adapter.safetensors"
BACKBONE_FOLDER = "backbone"
FORMAT = "mpt_jax.prompts/1"
_KEY = "mpt_jax"
LONGEST_LABEL = 1000  # characters
_LISTED = 20  # tasks that a message lists
TASK_NAME = re.compile(r"[\w.:-]+")  # SeqIO's; no part of a path


@dataclasses.dataclass(frozen=True)
class PromptInfo:
    """What the product of a run says of itself.

    Attributes:
        method: the method that trained the bank, e.g. "mpt".
        tasks: names of the K tasks, in the order of the bank's rows.
        length, width, rank: P (0: no prompt), D and R (0: no factors).
        vocabulary_size: V of the backbone.
        backbone: fingerprint of the backbone's frozen weights (`backbone.store.fingerprint`).
        feature_lengths: token limits, {"inputs": T, "targets": S}.
        label_words: task -> its label words, for tasks that have them.
        input_forms: task -> how its inputs are written, e.g. "review: {text}", where it is stated.
        step: the training step that the bank was taken from.
        metrics: validation metrics of that step, task -> {name: value}; None: not finite.
        backbone_bits: that backbone's bits below the fingerprint's (`fingerprints.Identity`), or
            "" where it had none.
        arithmetic: what that backbone computed with (`T5Config.arithmetic`).
        vocabulary: `vocabulary.digest` of what tokenised the inputs; "" where it is not known.
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


def resolve(path: str) -> str:
    """The `.safetensors` file for a path that names it, or the run folder that holds it.

    Raises:
        UserError: neither is there.
    """
    names = (FILE_NAME, ADAPTER_FILE, f"{BACKBONE_FOLDER}/model.safetensors")
    places = [os.path.join(path, name) for name in names] if epath.Path(path).is_dir() else [path]
    file = next((place for place in places if epath.Path(place).is_file()), None)
    if file is not None and file.endswith(".json"):
        raise UserError(
            f"{file} is the description beside a prompt file: give the {FILE_NAME} there, or its "
            "folder."
        )
    if file is None:
        raise UserError(
            f"no prompt file at {path!r}: give a {FILE_NAME} or the folder of a finished run "
            "(source prompts are made by `t5x train --gin_file=gin/mpt_source.gin`)."
        )
    return file


def name_for(bank: Bank) -> str:
    """The name of the file of a product that is no backbone."""
    return ADAPTER_FILE if any("/" in name for name in bank) else FILE_NAME


def destination(path: str, bank: Bank) -> str:
    """The `.safetensors` file to write for a path that names it, or the folder to put it in."""
    return path if path.endswith(".safetensors") else os.path.join(path, name_for(bank))


def save(
    directory: str,
    bank: Bank,
    info: PromptInfo,
    name: str = FILE_NAME,
    *,
    setting: str = "MODEL_DIR",
) -> str:
    """Write both files into `directory`, as one; returns the safetensors path.

    The description travels in the safetensors header too, so that the two cannot be mismatched;
    `prompts.json` is the copy for people.

    Args:
        directory: made where it is missing.
        bank: the tensors by name, on this host.
        info: their description.
        name: of the safetensors file.
        setting: as in `files.write_whole`.

    Raises:
        UserError: they cannot be written.
    """
    path = os.path.join(directory, name)
    tensors = {name: np.asarray(leaf, np.float32, order="C") for name, leaf in bank.items()}
    content = tensor_file.to_bytes(tensors, header(info))
    text = files.to_json(_description(info), indent=2) + "\n"
    files.write_together({_json_path(path): text, path: content}, setting=setting)
    return path


def header(info: PromptInfo) -> dict[str, str]:
    """The description as a text of a safetensors header."""
    return {_KEY: files.to_json(_description(info))}


def from_header(metadata: Mapping[str, str]) -> PromptInfo:
    """The description that `header` has put into the free-form part of a safetensors header.

    Raises:
        ValueError: there is none, or it is damaged or of another format.
    """
    try:
        description = files.parse_json(metadata[_KEY], "its description")
        if description.pop("format") != FORMAT:
            raise ValueError("another format")
        info = PromptInfo(**{**description, "tasks": tuple(description["tasks"])})
        _check_types(info)
    except (KeyError, TypeError, AttributeError, UserError) as error:
        raise ValueError(f"no description of a prompt: {error!r}") from error
    return info


def _description(info: PromptInfo) -> dict[str, Any]:
    return {"format": FORMAT, **dataclasses.asdict(info)}


def load(path: str) -> tuple[dict[str, np.ndarray], PromptInfo]:
    """Read a prompt file (or the run folder that holds one).

    Returns:
        the tensors by name, float32, those of a bank shaped as in `prompts`, and the description.

    Raises:
        UserError: no file, truncated, damaged, another format, values that are not finite, or
            leaves that do not fit the description.
    """
    file = resolve(path)
    try:
        content = epath.Path(file).read_bytes()
        bank, metadata = tensor_file.content_of(content)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise UserError(
            f"{file} is truncated or corrupted ({error}): restore it from a copy, or train again."
        ) from error
    try:
        info = from_header(metadata)
    except ValueError as error:
        raise UserError(
            f"{file} is a safetensors file but not a prompt file of mpt_jax (format {FORMAT})."
        ) from error
    _check_shapes(file, bank, info)
    _check_bounds(file, info)
    return bank, info


def tasks_in(file: str) -> tuple[str, ...] | None:
    """The tasks of a product, of which only the header is read; None where that is damaged.

    Args:
        file: as `resolve` gives it, on a disk.
    """
    try:
        with safetensors.safe_open(file, framework="np") as handle:
            return from_header(handle.metadata() or {}).tasks
    except (safetensors.SafetensorError, OSError, ValueError):
        return None


def not_held(task: str | None, held: Sequence[str]) -> UserError:
    """The refusal of a task that is none of a product's, with those that are; None: none given."""
    asked = "no task was given" if task is None else f"task {task!r} is not in the bank"
    listed = ", ".join(held[:_LISTED]) or "no tasks"
    more = f", ... ({len(held)})" if len(held) > _LISTED else ""
    return UserError(f"{asked}; it holds {listed}{more}.{did_you_mean(task or '', held)}")


def check_label(word: str) -> None:
    """Refuses what is not a label word, as each is scored at its full length (UserError)."""
    if not isinstance(word, str) or len(word) > LONGEST_LABEL:
        raise UserError(
            f"the label {shown(str(word))} is not a text of at most {LONGEST_LABEL:,} characters."
        )


def check_backbone(
    path: str, info: PromptInfo, width: int, vocabulary_size: int, backbone: str, bits: str = ""
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


def check_arithmetic(path: str, info: PromptInfo, arithmetic: Mapping[str, Any]) -> None:
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


def _check_shapes(file: str, bank: Bank, info: PromptInfo) -> None:
    sizes = {
        "tasks": len(info.tasks),
        "prompt_length": info.length,
        "embed": info.width,
        "rank": info.rank,
    }
    for name, leaf in sorted(bank.items()):
        if leaf.dtype != np.float32:
            raise UserError(f"{file} is corrupted: {name!r} is {leaf.dtype}, not float32.")
        if not np.isfinite(leaf).all():
            raise UserError(
                f"{file} holds values that are not finite, in {name!r}: restore it from a copy, or "
                "train again."
            )
        if name not in AXES:  # the method's own: the rest is checked where it is put to use
            if is_per_task(name) and leaf.shape[:1] != (len(info.tasks),):
                raise UserError(
                    f"{file} is corrupted: {name!r} has shape {leaf.shape}, and there are "
                    f"{len(info.tasks)} tasks."
                )
            continue
        expected = tuple(sizes[axis] for axis in AXES[name])
        if leaf.shape != expected:
            raise UserError(
                f"{file} is corrupted: {name!r} has shape {leaf.shape}, its description says "
                f"{expected}."
            )
    if not bank:
        raise UserError(f"{file} holds no prompt.")


def _check_bounds(file: str, info: PromptInfo) -> None:
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


def _check_types(info: PromptInfo) -> None:
    """Raises a ValueError or TypeError where a field is not what `PromptInfo` says."""
    mappings = (
        (info.feature_lengths, int),
        (info.label_words, list),
        (info.input_forms, str),
        (info.metrics, dict),
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
    sizes += info.feature_lengths.values()
    if any(type(size) is not int or size < 0 for size in sizes):
        raise TypeError("a size")
    if not all(map(TASK_NAME.fullmatch, info.tasks)) or len(set(info.tasks)) < len(info.tasks):
        raise ValueError("task names")
    words = [word for words in info.label_words.values() for word in words]
    texts = [info.method, info.backbone, info.backbone_bits, info.vocabulary]
    "".join([*texts, *info.input_forms.values(), *words]).encode("utf-8")
    for value in (value for found in info.metrics.values() for value in found.values()):
        if value is not None and type(value) not in (int, float):  # null: not finite
            raise TypeError("a metric")


def _json_path(path: str) -> str:
    return os.path.splitext(path)[0] + ".json"
