"""LoRA (Hu et al. 2021): low-rank updates of projections, each task's own.

`y + (alpha / r) x A B` on the output y = x W of a projection (section 4.1 of that paper): by
default, as in PEFT, of query and value in every attention, 884,736 numbers a task for T5-Base.
"""

import dataclasses
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import traverse_util

from mpt_jax import initializers
from mpt_jax.errors import UserError
from mpt_jax.initializers import Context
from mpt_jax.methods.base import BACKBONE, FROZEN, TaskAdapterMethod, parameters_of, per_row
from mpt_jax.methods.prompt_tuning import each_task
from mpt_jax.methods.stacking import STACKS
from mpt_jax.product.leaves import TASK_TREE

PROJECTIONS = ("query", "key", "value", "out", "wi", "wi_0", "wi_1", "wo")
_INPUTS = {"out": "joined_kv", "wo": "mlp"}  # of the others "embed"
_OUTPUTS = {"query": "joined_kv", "key": "joined_kv", "value": "joined_kv"}
_OUTPUTS |= {"wi": "mlp", "wi_0": "mlp", "wi_1": "mlp"}


def _axis_rules():
    """Rows for layers by themselves and scanned: the axis of tasks comes first in both."""
    for layers, stack in STACKS:
        for name in PROJECTIONS:
            module = rf"{TASK_TREE}/\w+/{layers}/\w+/{name}"
            first = ("tasks", *stack)
            yield f"{module}/lora_a", (*first, _INPUTS.get(name, "embed"), "rank")
            yield f"{module}/lora_b", (*first, "rank", _OUTPUTS.get(name, "embed"))
            yield f"{module}/lora_scale", first


@dataclasses.dataclass(frozen=True)
class LoRA(TaskAdapterMethod):
    """Trains A and B of every task (group "task").

    Attributes:
        rank: r.
        alpha: the update is scaled by alpha / r.
        projections: names of the modules that get one, of `PROJECTIONS`.
    """

    rank: int = 8
    alpha: float = 32
    projections: tuple[str, ...] = ("query", "value")

    name = "lora"
    groups = (
        (rf"{TASK_TREE}/.*/lora_[ab]", "task"),
        (rf"{TASK_TREE}/.*/lora_scale", FROZEN),
        (BACKBONE, FROZEN),
    )
    axis_rules = tuple(_axis_rules())

    def __post_init__(self):
        if type(self.rank) is not int or self.rank < 1 or not 0 < self.alpha < math.inf:
            raise UserError(
                f"LoRA needs rank >= 1 and alpha > 0, not rank {self.rank} and alpha {self.alpha}."
            )
        unknown = set(self.projections) - set(PROJECTIONS)
        if unknown or not self.projections:
            raise UserError(
                f"LoRA.projections = {self.projections!r}: name one or more of "
                f"{', '.join(PROJECTIONS)}."
            )

    def added_shapes(self, num_tasks: int, backbone: Mapping):
        """`per_task/<projection>/...`: `lora_a` [K, D, r], `lora_b` [K, r, F], `lora_scale` [K].

        Of scanned layers [K, layers, ...].
        """
        shapes = {}
        for found in parameters_of(backbone):
            if found.module.rpartition("/")[2] in self.projections:
                first, (inputs, outputs) = (num_tasks, *found.stack), found.shape
                shapes[f"{found.module}/lora_a"] = (*first, inputs, self.rank)
                shapes[f"{found.module}/lora_b"] = (*first, self.rank, outputs)
                shapes[f"{found.module}/lora_scale"] = first
        if not shapes:
            raise UserError(
                f"LoRA.projections = {self.projections!r}: this backbone has none of them (a gated "
                "one has wi_0 and wi_1, another has wi)."
            )
        return {TASK_TREE: traverse_util.unflatten_dict(shapes, sep="/")}

    def start(self, context: Context, rng: jax.Array):
        """A uniform in ±1/sqrt(D), as PEFT's (Kaiming, a = sqrt 5), B zero: the backbone as it is.

        Each task's start is its own draw, whichever other tasks there are.
        """
        flat = traverse_util.flatten_dict(self.added_shapes(1, context.backbone_shapes))
        flat = {path: shape[1:] for path, shape in flat.items()}

        def draw(rng, unused_context):
            keys = jax.random.split(rng, len(flat))
            return {p: self._one(key, p[-1], flat[p]) for key, p in zip(keys, flat, strict=True)}

        return traverse_util.unflatten_dict(each_task(draw, context, rng))

    def _one(self, rng: jax.Array, leaf: str, shape: tuple[int, ...]) -> jax.Array:
        if leaf == "lora_a":
            return initializers.within_fan_in(rng, shape, shape[-2])
        return jnp.full(shape, 0 if leaf == "lora_b" else self.alpha / self.rank, jnp.float32)

    @staticmethod
    def interceptor(next_fun, args, kwargs, context):
        """Adds each row's update to the output of a projection that has one."""
        output, module = next_fun(*args, **kwargs), context.module
        if context.method_name != "__call__" or not module.has_variable("params", "lora_a"):
            return output
        a, b, scale = (module.get_variable("params", f"lora_{x}") for x in ("a", "b", "scale"))
        inner = per_row(a, args[0].astype(output.dtype), jnp.matmul)
        update = per_row(b * scale[:, None, None], inner, jnp.matmul)
        return output + update
