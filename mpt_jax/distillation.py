"""Knowledge transfer from teacher prompts to the student bank, as pure functions.

`L_total = L_PLM + λ (L_logits + L_hidden)` (Wang et al. 2023, section 3.2, equations 3-5). Every
term comes back as a sum, to be divided by a count over the *whole* batch, so that microbatches add
up.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from mpt_jax import prompts
from mpt_jax.errors import UserError, did_you_mean
from mpt_jax.initializers import Context


@dataclasses.dataclass(frozen=True)
class Distillation:
    """How a student learns from teachers.

    Attributes:
        teacher_prompts: path of the teachers' prompt file (or the run folder that holds it); it
            must hold a prompt for each of the student's tasks.
        weight: λ, 0.9 in the paper; multiplies both terms.
        temperature: softens both distributions of L_logits; 1 in the paper.
        hidden_states: which states L_hidden compares, as module paths: "encoder/final",
            "decoder/final" (after the last layer norm), or a layer's output, e.g.
            "encoder/layers_3/output". Empty: no L_hidden.
    """

    teacher_prompts: str
    weight: float = 0.9
    temperature: float = 1.0
    hidden_states: Sequence[str] = ("encoder/final", "decoder/final")

    def __post_init__(self):
        if self.temperature <= 0:
            raise UserError(f"Distillation.temperature must be above 0, not {self.temperature}.")
        if self.weight < 0:
            raise UserError(f"Distillation.weight must not be negative, it is {self.weight}.")


def kl_divergence(
    teacher_logits: jax.Array, student_logits: jax.Array, weights: jax.Array, temperature: float
) -> jax.Array:
    """Sum over target tokens of KL(teacher ‖ student), in nats (equation 4).

    Args:
        teacher_logits, student_logits: [B, S, V] float32.
        weights: [B, S], 0 on padding.
        temperature: both logits are divided by it, and the sum is multiplied by its square, which
            keeps the size of the gradient (Hinton et al. 2015).

    Returns:
        scalar float32.
    """
    teacher = jax.nn.log_softmax(teacher_logits / temperature)
    student = jax.nn.log_softmax(student_logits / temperature)
    per_token = jnp.sum(jnp.exp(teacher) * (teacher - student), axis=-1)
    return temperature**2 * jnp.sum(per_token * weights)


def squared_difference(teacher: jax.Array, student: jax.Array, valid: jax.Array) -> jax.Array:
    """Sum over valid positions of the mean over D of squared differences (equation 5).

    Args:
        teacher, student: [B, L, D] hidden states.
        valid: [B, L], 0 on padding.

    Returns:
        scalar float32.
    """
    difference = (teacher - student).astype(jnp.float32)
    return jnp.sum(jnp.mean(difference**2, axis=-1) * valid)


def select_states(collected: Mapping, names: Sequence[str]) -> dict[str, jax.Array]:
    """Pick states out of a `hidden_states` collection, e.g. "encoder/final" -> [B, L, D].

    Raises:
        UserError: a name that the network does not record; lists those it does.
    """
    flat = {
        "/".join(str(entry.key) for entry in path if hasattr(entry, "key")): state
        for path, state in jax.tree_util.tree_leaves_with_path(collected)
    }
    missing = [name for name in names if name not in flat]
    if missing:
        raise UserError(
            f"Distillation.hidden_states {missing} are not recorded by the network; it records "
            f"{', '.join(sorted(flat))}."
        )
    return {name: flat[name] for name in names}


def load_teachers(distillation: Distillation, context: Context) -> dict[str, jax.Array]:
    """Read the teachers' prompts in the order of the student's tasks.

    Returns:
        {"task_prompts": [K, P, D]} float32.

    Raises:
        UserError: no such file, another backbone, or a task without a teacher.
    """
    bank, info = context.load_prompts(distillation.teacher_prompts)
    for task in context.tasks:
        if task not in info.tasks:
            raise UserError(
                f"teacher prompts {distillation.teacher_prompts} have no prompt for task "
                f"{task!r}; they hold {', '.join(info.tasks)}." + did_you_mean(task, info.tasks)
            )
    rows = jnp.asarray([info.tasks.index(task) for task in context.tasks])
    return {"task_prompts": prompts.compose(jax.tree.map(jnp.asarray, bank), rows)}
