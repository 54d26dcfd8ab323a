"""Models answer the batches of an evaluation: one by itself, or several over one backbone at once.

Of several, the batches of all are sorted by length, and so many are answered at a time, whichever
models they are for. Each batch has its model's parameters on a leading axis; the backbone, which
all share, has no such axis.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from seqio.metrics import ModelOutputType

from mpt_jax.engine import run_axis
from mpt_jax.engine import step as step_lib
from mpt_jax.engine.data.length_buckets import Batch
from mpt_jax.engine.partitioning import PjitPartitioner


def _as_found(batch: Batch, found: np.ndarray) -> np.ndarray:
    del batch
    return found


@dataclasses.dataclass(frozen=True)
class Question:
    """What an evaluation asks of a model.

    Attributes:
        function: of the model, of parameters and a batch: "predict_batch", "score_batch" or
            "rank_batch".
        batches: of B rows each, numpy, the same on every process; short ones first.
        read: from a batch and what the function gives for it to the answer [B, ...].
    """

    function: str
    batches: Sequence[Batch]
    read: Callable[[Batch, np.ndarray], np.ndarray] = _as_found


Asked = Mapping[ModelOutputType, Question]
Answers = dict[ModelOutputType, list[np.ndarray]]  # [B, ...] of each batch


class Alone:
    """One model.

    Args:
        model: with the functions that are asked for.
        partitioner: the mesh.
    """

    def __init__(self, model: Any, partitioner: PjitPartitioner):
        self._step = functools.cache(
            lambda function: step_lib.kept_eval_step(model, function, partitioner)
        )

    def answers(self, params: Mapping, asked: Asked) -> Answers:
        """Its answers with these parameters."""

        def ask(function: str, batches: Sequence[tuple[int, Batch]]) -> list[jax.Array]:
            return [self._step(function)(params, batch) for _, batch in batches]

        return _answers([asked], 1, ask)[0]


class AtOnce:
    """Several models, which compute the same with parameters of their own.

    Args:
        model: one of them.
        partitioner: the mesh.
        axes: tree like the parameters: None where all share them, else 0, the axis of models.
        size: batches that are answered at a time.
    """

    def __init__(self, model: Any, partitioner: PjitPartitioner, axes: Any, size: int):
        self._mesh, self._size = partitioner.mesh, size
        self._stack = run_axis.Stack(partitioner, size)
        over_data = run_axis.lies_over_data(partitioner, size)
        self._step = functools.cache(
            lambda function: step_lib.jitted_eval_step(
                getattr(model, function), partitioner, axes=axes, runs_over_data=over_data
            )
        )

    def answers(self, params: Mapping, asked: Mapping[int, Asked]) -> dict[int, Answers]:
        """The answers of each model that is asked.

        Args:
            params: of all models, those that they do not share on a first axis.
            asked: by the model's place on that axis.
        """
        places = list(asked)

        def ask(function: str, batches: Sequence[tuple[int, Batch]]) -> jax.Array:
            filled = [*batches, *[batches[-1]] * (self._size - len(batches))]
            chosen = np.int32([places[model] for model, _ in filled])
            stacked = self._stack.whole_batches([batch for _, batch in filled])
            with jax.set_mesh(self._mesh):
                return self._step(function)(params, chosen, stacked)

        return dict(zip(places, _answers(list(asked.values()), self._size, ask), strict=True))

    def lower(self, params: Mapping, asked: Sequence[Asked]) -> Any:
        """The program of the first of the questions for the longest batches, lowered."""
        questions = [question for each in asked for question in each.values()]
        function = questions[0].function
        longest = max((q.batches[-1] for q in questions if q.function == function), key=_width)
        chosen, batches = np.zeros(self._size, np.int32), [longest] * self._size
        with jax.set_mesh(self._mesh):
            return self._step(function).lower(params, chosen, self._stack.whole_batches(batches))


def _answers(
    asked: Sequence[Asked],
    size: int,
    ask: Callable[[str, Sequence[tuple[int, Batch]]], Sequence[jax.Array]],
) -> list[Answers]:
    """The answers to each of `asked`, from `ask` of a function and `size` batches of any."""
    answers: list[Answers] = [{kind: [] for kind in each} for each in asked]
    for kind, function in {(k, q.function): None for each in asked for k, q in each.items()}:
        questions = {
            index: each[kind]
            for index, each in enumerate(asked)
            if kind in each and each[kind].function == function
        }
        batches = [(index, batch) for index, q in questions.items() for batch in q.batches]
        batches.sort(key=lambda each: _width(each[1]))  # it is stable
        taken = [batches[start : start + size] for start in range(0, len(batches), size)]
        # jax goes on while the next batches are made ready.
        found = [ask(function, part) for part in taken]
        for part, outputs in zip(taken, found, strict=True):
            fetched = jax.device_get(outputs)
            for (index, batch), output in zip(part, fetched, strict=False):  # some fill up
                answers[index][kind].append(questions[index].read(batch, output))
    return answers


def _width(batch: Batch) -> int:
    return batch["encoder_input_tokens"].shape[1]
