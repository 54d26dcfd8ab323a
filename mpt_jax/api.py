"""Prompts in use, for scripts and notebooks.

import mpt_jax

t5 = mpt_jax.load("mini", "runs/mpt_target")
t5.predict(["premise: ... hypothesis: ..."], task="mini_rte")
"""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mpt_jax import feature_lengths, raw_outputs
from mpt_jax.backbone import decoding
from mpt_jax.backbone.formats import backbones
from mpt_jax.backbone.store import BACKBONE_TREES
from mpt_jax.engine.inference.predictor import (
    TRUNCATE,
    Prediction,
    Predictor,
    Row,
    TextReader,
    label_tokens,
)
from mpt_jax.engine.initialize import (
    RestoreCheckpointConfig,
    batch_shapes,
    initial_params,
    start_on_mesh,
)
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.errors import UserError, did_you_mean
from mpt_jax.methods.base import FROZEN, Method
from mpt_jax.methods.restored import Restored
from mpt_jax.models import EncoderDecoderModel
from mpt_jax.product import description
from mpt_jax.product.description import ProductInfo
from mpt_jax.raw_outputs import Encoded, TargetLogits
from mpt_jax.vocabulary import first_ids

_ROWS = 32


class Scores(NamedTuple):
    """What `LoadedModel.score` found for N texts and L labels.

    Attributes:
        labels: the L labels.
        log_likelihoods: [N, L] float32: of each label given the text, in nats.
        best: the most likely label of each text.
    """

    labels: tuple[str, ...]
    log_likelihoods: np.ndarray
    best: list[str]


class NoMethod(Method):
    """The backbone as it is."""

    name = "none"
    groups = ((".*", FROZEN),)

    def start(self, start: Any, rng: jax.Array):
        """Adds nothing."""
        return {}

    def save(self, directory: str, params: Mapping, config: Any, info: ProductInfo):
        """Nothing was trained.

        Raises:
            UserError: always.
        """
        raise UserError("a backbone without prompts has nothing to save.")


def load(
    backbone: str,
    prompts: str | None = None,
    *,
    vocabulary: str | None = None,
    dtype: str = "float32",
    lengths: Mapping[str, int] | None = None,
    too_long: str = TRUNCATE,
    batch_size: int | None = None,
    num_partitions: int = 1,
    method_module: str | None = None,
    seed: int = 0,
    warm_up: bool = False,
    growing: bool = False,
    **decoding_options: Any,
) -> "LoadedModel":
    """A backbone with trained prompts, ready to predict; from any thread, as is what it returns.

    Args:
        backbone: folder or file as INITIAL_CHECKPOINT_PATH, or "mini", the one that ships.
        prompts: prompt file, adapter file or run folder; None: only the backbone.
        vocabulary: SentencePiece file instead of the backbone's own, or "bytes", as SPIECE_MODEL.
        dtype: of parameters and computation, "float32" or "bfloat16".
        lengths: token limits, {"inputs": T, "targets": S}; by default those of the prompt file.
        too_long: what to do with a longer text: "truncate" it and warn, or "refuse" it.
        batch_size: texts at a time; by default 32 for each device that shares them.
        num_partitions: devices that share each tensor of the model; the rest shares the texts.
        method_module: imported first, where your own method has trained `prompts`.
        seed: of sampling.
        warm_up: compile now what single texts need (`LoadedModel.warm_up`), not as they come.
        growing: the bank gets spare rows, so that `LoadedModel.with_prompts` compiles nothing for
            one of some more tasks.
        **decoding_options: num_beams, length_penalty, temperature, top_k or top_p
            (`backbone.decoding.generate`); greedy without any.

    Raises:
        UserError: files that are missing, damaged or do not belong together; unknown options.
    """
    _check_decoding(decoding_options)
    config = backbones.config_of(backbone, dtype=dtype)
    tokenizer = backbones.tokenizer_of(backbone, vocabulary)
    model = EncoderDecoderModel(
        config=config,
        method=NoMethod(),
        tasks=(),
        input_vocabulary=tokenizer,
        output_vocabulary=tokenizer,
        decode_fn=functools.partial(decoding.generate, **decoding_options),
    )
    if prompts is not None:
        model = _with_method(model, Restored(prompts, method_module, growing))
    given, lengths = lengths or {}, _lengths(model.method, lengths or {})
    partitioner = PjitPartitioner(num_partitions)
    batch_size = batch_size or _ROWS * partitioner.data_partitions
    restore = RestoreCheckpointConfig(backbone, dtype=dtype)
    shapes = batch_shapes(batch_size, lengths)
    params = initial_params(model, partitioner, restore, shapes, jax.random.key(0))
    predictor = Predictor(
        model, params, partitioner, lengths=lengths, batch_size=batch_size, seed=seed
    )
    loaded = LoadedModel(predictor, lengths, given, too_long)
    if warm_up:
        loaded.warm_up()
    return loaded


def _with_method(model: EncoderDecoderModel, method: Restored) -> EncoderDecoderModel:
    return dataclasses.replace(
        model, method=method, tasks=method.rows, label_words=method.info.label_words
    )


def _lengths(method: Method, given: Mapping[str, int]) -> dict[str, int]:
    """The token limits: those given, else those of the prompt file (UserError: out of bounds)."""
    known = method.info.feature_lengths if isinstance(method, Restored) else {}
    lengths = {**feature_lengths.DEFAULT, **known, **given}
    feature_lengths.check(lengths)
    return lengths


class LoadedModel:
    """What `load` returns.

    Attributes:
        tasks: names of the bank's tasks.
        lengths: token limits, {"inputs": T, "targets": S}.
        info: what the prompt file says of itself; None without one.
        predictor: the model, its parameters and programs.
        reader: makes rows of texts.
    """

    def __init__(
        self,
        predictor: Predictor,
        lengths: Mapping[str, int],
        given_lengths: Mapping[str, int],
        too_long: str,
    ):
        method, vocabulary = predictor.model.method, predictor.model.input_vocabulary
        self.predictor, self.lengths, self._given_lengths = predictor, lengths, given_lengths
        self.info: ProductInfo | None = method.info if isinstance(method, Restored) else None
        self.tasks: tuple[str, ...] = self.info.tasks if self.info else ()
        self.reader = TextReader(vocabulary, self.tasks, lengths["inputs"], too_long)

    def with_prompts(self, prompts: str) -> "LoadedModel":
        """The same backbone with other prompts; this one stays as it is.

        The two share the backbone's memory, and the programs where the shapes are the same: those
        of a bank of as many tasks, or, where `growing` was asked for, of some more.

        Args:
            prompts: prompt file, adapter file or run folder.

        Raises:
            UserError: as `load`; this model has no untouched backbone, because its method tunes it.
        """
        before, partitioner = self.predictor.model, self.predictor.partitioner
        if isinstance(before.method, Restored):
            if before.method.tuned_backbone:
                raise UserError(
                    f"the method {self.info.method!r} has changed the backbone, which other "
                    "prompts cannot be put on: load them anew."
                )
            method = dataclasses.replace(before.method, path=prompts)
        else:
            method = Restored(prompts)
        model = _with_method(before, method)
        lengths = _lengths(method, self._given_lengths)
        backbone = {tree: self.predictor.params[tree] for tree in BACKBONE_TREES}
        method.added_shapes(len(model.tasks), backbone)  # checks
        params = start_on_mesh(model, partitioner, backbone, jax.random.key(0))
        if method.traces_as(before.method):
            predictor = self.predictor.with_params(model, params, lengths)
        else:
            size, seed = self.predictor.batch_size, self.predictor.seed
            predictor = Predictor(
                model, params, partitioner, lengths=lengths, batch_size=size, seed=seed
            )
        return LoadedModel(predictor, lengths, self._given_lengths, self.reader.too_long)

    def predict(
        self, texts: Sequence[str], task: str | None = None, *, tasks: Sequence[str] | None = None
    ) -> list[str]:
        """The answer to each text.

        Args:
            texts: N texts, written as their task writes its inputs.
            task: of all of them; may be left out where the bank has one.
            tasks: instead: of each, N names. A batch may mix them.

        Raises:
            UserError: a task that is not in the bank, an empty text, one that is too long where
                these are refused.
        """
        return [answer.text for answer in self.predict_with_scores(texts, task, tasks=tasks)]

    def warm_up(self, count: int = 1) -> None:
        """Compile what `predict` and `score` need, before the first request.

        They need a program for each length of text, and `score` for each number of label words of a
        task.

        Args:
            count: of texts of a request; others of as many as a batch takes share its programs.

        Raises:
            UserError: it is not at least 1.
        """
        if count < 1:
            raise UserError(f"count is a number of texts of at least 1; got {count}.")
        size = self.predictor.rows_for(count)
        model = self.predictor.model
        end = model.input_vocabulary.eos_id
        words = {
            label_tokens(model.output_vocabulary, [words], 1).shape: words
            for words in model.label_words.values()
            if words
        }
        for width in self.predictor.widths:
            row = Row("", [end] * width, 0, False)
            self.predictor.predict([row], size)
            for labels in words.values():
                self.predictor.rank([row], [labels], size)

    def predict_with_scores(
        self, texts: Sequence[str], task: str | None = None, *, tasks: Sequence[str] | None = None
    ) -> list[Prediction]:
        """As `predict`, each answer with its log-probability (`decoding.generate`'s score)."""
        rows = self._rows(texts, task, tasks)
        return self._in_batches(rows, self.predictor.predict)

    def score(
        self,
        texts: Sequence[str],
        labels: Sequence[str] | None = None,
        *,
        task: str | None = None,
        tasks: Sequence[str] | None = None,
    ) -> Scores:
        """How likely each label is as the answer to each text (rank classification).

        Args:
            texts: N texts.
            labels: L texts; by default the label words of the task.
            task, tasks: as in `predict`.

        Raises:
            UserError: as `predict`; no labels, or tasks whose label words differ.
        """
        rows = self._rows(texts, task, tasks)
        labels = self._labels(tasks or [task], labels)

        def rank(rows: Sequence[Row], size: int, number: int) -> list[np.ndarray]:
            return self.predictor.rank(rows, [labels] * len(rows), size)

        found = np.array(self._in_batches(rows, rank), np.float32).reshape(len(rows), len(labels))
        return Scores(labels, found, [labels[i] for i in found.argmax(axis=1)])

    def logits(
        self,
        texts: Sequence[str],
        targets: Sequence[str],
        *,
        task: str | None = None,
        tasks: Sequence[str] | None = None,
    ) -> TargetLogits:
        """The decoder's logits as each text's target is fed to it (teacher forcing).

        Over the positions of the mask, log-softmax at the target's ids adds up to what `score`
        gives for the target. The result is on the host: N·S·V numbers of 4 bytes.

        Args:
            texts: N texts.
            targets: N texts, the answer to each; "" is the end token alone.
            task, tasks: as in `predict`.

        Raises:
            UserError: as `predict`; another number of targets, or one that is longer than
                `lengths["targets"]`.
        """
        rows = self._rows(texts, task, tasks)
        if isinstance(targets, str) or len(targets) != len(texts):
            raise UserError(f"targets must be {len(texts)} texts, one for each text.")
        given = [self._target(target, f"target {i}") for i, target in enumerate(targets)]
        rows = [row._replace(target=ids) for row, ids in zip(rows, given, strict=True)]
        found = self._in_batches(rows, lambda rows, size, _: self.predictor.logits(rows, size))
        return raw_outputs.target_logits(found, given, self.predictor.model.config.vocab_size)

    def encode(
        self, texts: Sequence[str], task: str | None = None, *, tasks: Sequence[str] | None = None
    ) -> Encoded:
        """The encoder's last states of each text, after its task's prompt.

        The result is on the host: N·(P+T)·D numbers of 4 bytes. Arguments and errors are those of
        `predict`.
        """
        rows = self._rows(texts, task, tasks)
        found = self._in_batches(rows, lambda rows, size, _: self.predictor.encode(rows, size))
        prompt_length = self.info.length if self.info else 0
        return raw_outputs.encoded(found, prompt_length, self.predictor.model.config.emb_dim)

    def embed_prompt(self, task: str | None = None, text: str | None = None) -> np.ndarray:
        """The composed prompt [P, D] of a task, float32.

        Args:
            task: may be left out where the bank has one.
            text: for a method whose prompt depends on the text (ATTEMPT).

        Raises:
            UserError: no such task; a method without prompts.
        """
        task_id = self.reader.task_id(task)
        row = None if text is None else self.reader.row(text, task_id, "the text")
        return self.predictor.embed_prompt(task_id, row)

    def rows(
        self, texts: Sequence[str], task: str | None = None, *, tasks: Sequence[str] | None = None
    ) -> list[Row]:
        """The texts as `predictor` takes them; arguments and errors are those of `predict`."""
        if isinstance(texts, str):
            raise UserError("texts is one text: give a list, [text].")
        if tasks is not None and task is not None:
            raise UserError("task and tasks exclude each other: one for all texts, or one each.")
        if tasks is None:
            tasks = [task] * len(texts)
        elif isinstance(tasks, str) or len(tasks) != len(texts):
            raise UserError(f"tasks must be {len(texts)} names, one for each text.")
        ids = [self.reader.task_id(name) for name in tasks]
        return [
            self.reader.row(text, task_id, f"text {number}")
            for number, (text, task_id) in enumerate(zip(texts, ids, strict=True))
        ]

    def _rows(
        self, texts: Sequence[str], task: str | None, tasks: Sequence[str] | None
    ) -> list[Row]:
        rows = self.rows(texts, task, tasks=tasks)
        if truncated := sum(row.truncated for row in rows):
            warnings.warn(self.reader.truncation(truncated, len(rows)), stacklevel=4)
        return rows

    def _target(self, text: str, place: str) -> list[int]:
        """The ids of a target, with the end token; cut, it would be another one."""
        vocabulary, limit = self.predictor.model.output_vocabulary, self.lengths["targets"]
        if not isinstance(text, str):
            raise UserError(f"{place} is {text!r}, which is not a text.")
        ids = [*first_ids(vocabulary, text, limit), vocabulary.eos_id]
        if len(ids) > limit:
            raise UserError(
                f"{place} has at least {len(ids)} tokens, more than the limit of {limit}: shorten "
                f'it, or load with lengths={{"targets": N}}.'
            )
        return ids

    def _labels(self, asked: Sequence[str | None], labels: Sequence[str] | None) -> tuple[str, ...]:
        if isinstance(labels, str):
            raise UserError("labels is one text: give a list of label words.")
        if labels is None:
            ids = {self.reader.task_id(name) for name in asked}
            names = {self.tasks[i] for i in ids} if self.tasks else set()
            words = self.predictor.model.label_words
            found = {tuple(words.get(name, ())) for name in names}
            if len(found) > 1:
                raise UserError(
                    f"the tasks {', '.join(sorted(names))} have different label words: give "
                    "labels, or score each task by itself."
                )
            labels = found.pop() if found else ()
        if not labels:
            raise UserError("no labels: the prompt file states no label words; give labels=[...].")
        for label in labels:
            description.check_label(label)
        return tuple(labels)

    def _in_batches(self, rows: Sequence[Row], use: Callable[..., list]) -> list:
        """What `use(rows, size, number)` gives for each row, from batches of rows of like length.

        Batches have the size of the first: a shorter last one is filled up rather than compiled.
        """
        order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
        size = self.predictor.rows_for(len(rows))
        found = [None] * len(rows)
        for number, start in enumerate(range(0, len(rows), size)):
            chosen = order[start : start + size]
            for i, result in zip(chosen, use([rows[i] for i in chosen], size, number), strict=True):
                found[i] = result
        return found


def _check_decoding(options: Mapping[str, Any]) -> None:
    for name in options:
        if name not in decoding.OPTIONS:
            raise UserError(
                f"load has no option {name!r}.{did_you_mean(name, decoding.OPTIONS)} Options of "
                f"decoding: {', '.join(decoding.OPTIONS)}."
            )
