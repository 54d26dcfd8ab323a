"""Prompt tuning (Lester et al. 2021): one whole prompt per task, or one for all tasks.

The teachers of a source run are this method with `per_task = True`: the κ prompts are trained in
one program on task-mixed batches, and equal κ separate runs.
"""

import dataclasses
import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mpt_jax import initializers
from mpt_jax.methods.base import PromptMethod, check_positive


@dataclasses.dataclass(frozen=True)
class PromptTuning(PromptMethod):
    """Whole prompts, tuned in the group "task" (per task) or "shared" (one for all).

    Attributes:
        prompt_length: P, 100 in the paper.
        initializer: the start of each prompt.
        per_task: False trains a single prompt on the mixture of all tasks, which is MPT without
            its decomposition.
    """

    prompt_length: int = 100
    initializer: initializers.Initializer = initializers.sampled_vocabulary
    per_task: bool = True

    name = "prompt_tuning"

    def __post_init__(self):
        check_positive(self, "prompt_length")

    @property
    def independent_tasks(self) -> bool:
        """Whole prompts share nothing; a single prompt is shared by all tasks."""
        return self.per_task

    def bank_shapes(self, num_tasks: int, width: int):
        """`task_prompts` [K, P, D], or `shared` [P, D]."""
        if self.per_task:
            return {"task_prompts": (num_tasks, self.prompt_length, width)}
        return {"shared": (self.prompt_length, width)}

    def start(self, context: initializers.Context, rng: jax.Array):
        """Each task's prompt starts from its own draw, whichever other tasks there are."""
        if not self.per_task:
            return {"prompt_bank": {"shared": self.initializer(rng, self.prompt_length, context)}}
        prompts = own_prompts(self.initializer, self.prompt_length, context, rng)
        return {"prompt_bank": {"task_prompts": prompts}}


def own_prompts(
    initializer: initializers.Initializer,
    length: int,
    context: initializers.Context,
    rng: jax.Array,
) -> jax.Array:
    """A prompt for each of the K tasks [K, P, D], which does not depend on the other tasks."""
    return each_task(lambda rng, one: initializer(rng, length, one), context, rng)


def each_task(
    draw: Callable[[jax.Array, initializers.Context], Any],
    context: initializers.Context,
    rng: jax.Array,
) -> Any:
    """What `draw(rng, context)` gives for each of the K tasks by itself, stacked [K, ...]."""
    found = [
        draw(
            jax.random.fold_in(rng, zlib.crc32(task.encode()) & 0x7FFFFFFF),
            dataclasses.replace(context, tasks=(task,)),
        )
        for task in context.tasks
    ]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)
