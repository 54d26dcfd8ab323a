"""From texts to predictions: tokens, batches of few shapes, one compiled program for each, words.

The one way by which `mpt_jax.load` and `t5x infer` use a model.
"""

import copy
import dataclasses
import functools
import reprlib
import types
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mpt_jax.engine import step as step_lib
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.errors import UserError
from mpt_jax.product import belonging
from mpt_jax.vocabulary import check_whole, first_ids

TRUNCATE, REFUSE = "truncate", "refuse"  # what to do with a text that is too long
LONGEST_TEXT = 2**23  # characters; where nothing ends a word all of them are tokenised
_SHORTEST = {"text": 16, "answer": 4}  # tokens, of the smallest program


class Row(NamedTuple):
    """One text, ready for a batch."""

    text: str
    ids: list[int]  # with the end token, within the limit
    task_id: int
    truncated: bool
    fields: Mapping[str, Any] = types.MappingProxyType({})  # what else came with the text
    target: Sequence[int] = ()  # ids of a given answer, with the end token


class Prediction(NamedTuple):
    """What a text was answered with, and the log-probability of the answer in nats."""

    text: str
    score: float


@dataclasses.dataclass(frozen=True)
class TextReader:
    """Turns texts and names of tasks into rows.

    Attributes:
        vocabulary: of the inputs.
        tasks: names of the bank's tasks; empty for a backbone without prompts.
        limit: T, the longest input in tokens, its end token included.
        too_long: TRUNCATE (rows say so) or REFUSE.

    Raises:
        UserError: an unknown choice of `too_long`.
    """

    vocabulary: Any
    tasks: Sequence[str]
    limit: int
    too_long: str = TRUNCATE

    def __post_init__(self):
        if self.too_long not in (TRUNCATE, REFUSE):
            raise UserError(f"too_long must be {TRUNCATE!r} or {REFUSE!r}, got {self.too_long!r}.")

    def row(self, text: str, task_id: int, place: str) -> Row:
        """The row of a text; `place` is what a message calls it.

        Raises:
            UserError: what is not a text, an empty one, one of more than `LONGEST_TEXT` characters,
                or one that is too long where these are refused.
        """
        if not isinstance(text, str):
            raise UserError(f"{place} is {reprlib.repr(text)}, which is not a text.")
        if not text.strip():
            raise UserError(f"{place} is empty: remove it or fill it.")
        if len(text) > LONGEST_TEXT:
            raise UserError(
                f"{place} has {len(text):,} characters, more than {LONGEST_TEXT:,}: shorten it."
            )
        check_whole(text, place)
        ids = first_ids(self.vocabulary, text, self.limit)
        length = len(ids) + 1
        if length > self.limit and self.too_long == REFUSE:
            raise UserError(
                f"{place} has at least {length} tokens, more than the limit of {self.limit}: "
                f"shorten it, raise the limit, or choose too_long = {TRUNCATE!r}."
            )
        cut = [*ids[: self.limit - 1], self.vocabulary.eos_id]
        return Row(text, cut, task_id, length > self.limit)

    def task_id(self, task: str | None) -> int:
        """The row of the bank for a task; None is right where there are not several.

        Raises:
            UserError: it is not in the bank, which lists those that are; or no name.
        """
        if task is None and len(self.tasks) <= 1:
            return 0
        if not isinstance(task, str | None):
            raise UserError(f"the task {reprlib.repr(task)} is not a name.")
        if task not in self._ids:
            raise belonging.not_held(task, self.tasks)
        return self._ids[task]

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        return {task: index for index, task in enumerate(self.tasks)}

    def truncation(self, count: int, of: int) -> str:
        """The warning that `count` texts of so many were cut."""
        return (
            f"{count} of {of} texts were longer than {self.limit} tokens and were truncated to "
            f"their beginning; too_long = {REFUSE!r} would refuse them."
        )


class Predictor:
    """A model, its parameters on a mesh, and the programs compiled so far.

    Texts are padded to a power of two of tokens, batches to full ones; a batch smaller than all
    the rest of its work may be padded to fewer rows (`rows_for`). So there are few programs.

    Args:
        model: has `predict_batch_with_aux`, `rank_batch`, `logits_batch`, `encode_batch` and
            `embed_prompts`.
        params: all its parameters, on the mesh.
        partitioner: the mesh.
        lengths: token limits, {"inputs": T, "targets": S}.
        batch_size: B, the most rows of a program.
        seed: of the samples, where the model's decoding samples.

    Raises:
        UserError: a batch size that does not divide over the mesh.
    """

    def __init__(
        self,
        model: Any,
        params: Mapping,
        partitioner: PjitPartitioner,
        *,
        lengths: Mapping[str, int],
        batch_size: int,
        seed: int = 0,
    ):
        partitioner.check_batch_size(batch_size)
        self.model, self.params = model, params
        self.batch_size = batch_size
        self.partitioner, self.seed, self._lengths = partitioner, seed, lengths

        def predict(params: Mapping, batch: Mapping, number: jax.Array):
            rng = jax.random.fold_in(jax.random.key(seed), number)
            return model.predict_batch_with_aux(params, batch, rng)

        compiled = functools.partial(step_lib.make_eval_step, partitioner=partitioner)
        self._predict, self._rank = compiled(predict), compiled(model.rank_batch)
        self._logits, self._encode = compiled(model.logits_batch), compiled(model.encode_batch)
        self._embed = compiled(model.embed_prompts)

    def with_params(self, model: Any, params: Mapping, lengths: Mapping[str, int]) -> "Predictor":
        """One of another model that makes the same programs, which the two then share.

        Arguments are those of `Predictor`.
        """
        other = copy.copy(self)
        other.model, other.params, other._lengths = model, params, lengths
        return other

    def has_programs_of(self, other: "Predictor") -> bool:
        """Whether all that is compiled for the other serves this one."""

        def shapes(params: Mapping) -> Any:
            return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype.name), params)

        return (
            self._predict is other._predict
            and self._lengths == other._lengths
            and shapes(self.params) == shapes(other.params)
        )

    def rows_for(self, count: int) -> int:
        """Rows of the program for `count` texts: a power of two for each device, at most B."""
        parts = self.partitioner.data_partitions
        return parts * min(_power_of_two(-(-count // parts)), self.batch_size // parts)

    def predict(
        self, rows: Sequence[Row], size: int, number: int = 0, width: int = 0
    ) -> list[Prediction]:
        """Predictions for at most `size` rows, of any tasks.

        Args:
            rows: at least one.
            size: rows of the batch.
            number: of the batch; sampling draws again in each.
            width: tokens that the batch has at least.
        """
        batch = self._batch(rows, size, width)
        batch["decoder_input_tokens"] = np.zeros((size, self._lengths["targets"]), np.int32)
        ids, aux = self._run(self._predict, batch, np.int32(number))
        decode = self.model.output_vocabulary.decode
        found = zip(rows, ids.tolist(), aux["scores"].tolist(), strict=False)
        return [Prediction(decode(answer), score) for _, answer, score in found]

    def rank(
        self,
        rows: Sequence[Row],
        labels: Sequence[Sequence[str]],
        size: int,
        width: int = 0,
        least: tuple[int, int] = (0, 0),
    ) -> list[np.ndarray]:
        """Log-likelihood of each of a row's label words, end token included, in nats.

        Args:
            rows: at least one, at most `size`.
            labels: of each row; rows may have different ones.
            size: rows of the batch.
            width: tokens that the batch has at least.
            least: labels that each row has at least, and tokens that each label has.

        Returns:
            a float32 array [L] per row.
        """
        tokens = label_tokens(self.model.output_vocabulary, labels, size, least)
        scores = self._run(self._rank, {**self._batch(rows, size, width), "label_tokens": tokens})
        return [scores[r, : len(row)] for r, row in enumerate(labels)]

    def logits(self, rows: Sequence[Row], size: int) -> list[np.ndarray]:
        """The logits of each row's `target`, its tokens fed one after another.

        Args:
            rows: at least one, at most `size`, each with a target within the limit.
            size: rows of the batch.

        Returns:
            a float32 array [S, V] per row, S the length of its target.
        """
        longest = max(_SHORTEST["answer"], *(len(row.target) for row in rows))
        width = min(_power_of_two(longest), self._lengths["targets"])
        fed = np.zeros((size, width), np.int32)  # id 0 comes first
        for r, row in enumerate(rows):
            fed[r, 1 : len(row.target)] = row.target[:-1]
        found = self._run(self._logits, {**self._batch(rows, size), "decoder_input_tokens": fed})
        return [found[r, : len(row.target)] for r, row in enumerate(rows)]

    def encode(self, rows: Sequence[Row], size: int) -> list[np.ndarray]:
        """The encoder's last states of each row's prompt and text.

        Args:
            rows: at least one, at most `size`.
            size: rows of the batch.

        Returns:
            a float32 array [P+T, D] per row, T the length of its text.
        """
        batch = self._batch(rows, size)
        found = self._run(self._encode, batch)
        prompt = found.shape[1] - batch["encoder_input_tokens"].shape[1]
        return [found[r, : prompt + len(row.ids)] for r, row in enumerate(rows)]

    def embed_prompt(self, task_id: int, text: Row | None = None) -> np.ndarray:
        """The composed prompt [P, D] of a task, float32.

        Args:
            task_id: which.
            text: for a method whose prompt depends on the text.

        Raises:
            UserError: a method without prompts; one whose prompts depend on a text, without it.
        """
        method = self.model.method
        row = text or Row("", [], task_id, False)
        if text is None and method.reads_text:
            raise UserError("this method's prompts depend on the text: give one, text=TEXT.")
        if "prompt_bank" not in self.params:
            raise UserError("there is no prompt to embed: what was trained is not a prompt bank.")
        size = self.partitioner.data_partitions
        return self._run(self._embed, self._batch([row], size))[0].astype(np.float32)

    @property
    def widths(self) -> list[int]:
        """Tokens T' of all programs, in order."""
        return sorted(
            {self.width_for(1 << n) for n in range(self._lengths["inputs"].bit_length() + 1)}
        )

    def width_for(self, length: int) -> int:
        """Tokens T' of the program for texts of so many: a power of two, at most the limit."""
        return min(_power_of_two(max(_SHORTEST["text"], length)), self._lengths["inputs"])

    def _batch(self, rows: Sequence[Row], size: int, width: int = 0) -> dict[str, np.ndarray]:
        """Tokens [size, T'] and task ids [size]; rows of only padding fill it up."""
        width = self.width_for(max(width, *(len(row.ids) for row in rows)))
        tokens = np.zeros((size, width), np.int32)
        task_ids = np.zeros((size,), np.int32)
        for r, row in enumerate(rows):
            if not 0 <= row.task_id < max(1, len(self.model.tasks)):
                raise UserError(
                    f"task id {row.task_id} is not one of the {len(self.model.tasks)} tasks, which "
                    "count from 0."
                )
            tokens[r, : len(row.ids)], task_ids[r] = row.ids, row.task_id
        return {"encoder_input_tokens": tokens, "task_ids": task_ids}

    def _run(self, compiled: Any, batch: Mapping[str, np.ndarray], *rest: Any) -> Any:
        return jax.device_get(compiled(self.params, batch, *rest))


def label_tokens(
    vocabulary: Any,
    labels: Sequence[Sequence[str]],
    size: int,
    least: tuple[int, int] = (0, 0),
) -> np.ndarray:
    """Token ids [N, L, S] of each row's label words, with their end; zeros where there is none.

    Args:
        vocabulary: that of the targets.
        labels: of each row; at least one has a word.
        size: N, at least as many as there are rows.
        least: what L and S are at least.
    """
    words = {word: [*vocabulary.encode(word), vocabulary.eos_id] for row in labels for word in row}
    longest = max(least[1], _SHORTEST["answer"], *map(len, words.values()))
    count = max(least[0], *map(len, labels))
    tokens = np.zeros((size, count, _power_of_two(longest)), np.int32)
    for r, row in enumerate(labels):
        for i, word in enumerate(row):
            tokens[r, i, : len(words[word])] = words[word]
    return tokens


def _power_of_two(least: int) -> int:
    """The smallest power of two that is not below `least`."""
    return 1 << max(0, least - 1).bit_length()
