"""(IA)³ (Liu et al. 2022): learnt factors of keys, values and what the feed-forward's wo takes in.

`k * l_k`, `v * l_v` and `wo(h * l_ff)` in every layer (section 3.3 of that paper), as PEFT places
them in a T5: h is the input of `wo`, after its dropout, and in a gated feed-forward the product of
both branches. 129,024 numbers a task for T5-Base.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import traverse_util

from mpt_jax.initializers import Context
from mpt_jax.methods.base import (
    BACKBONE,
    FROZEN,
    TaskAdapterMethod,
    filled,
    parameters_of,
    per_row,
)
from mpt_jax.methods.stacking import STACKS
from mpt_jax.product.leaves import TASK_TREE

# What a module's factors multiply.
_OUTPUT, _INPUT = "ia3_output", "ia3_input"
_AXES = {"key": "joined_kv", "value": "joined_kv", "wo": "mlp"}
_LEAVES = {"key": _OUTPUT, "value": _OUTPUT, "wo": _INPUT}


@dataclasses.dataclass(frozen=True)
class IA3(TaskAdapterMethod):
    """Trains the factors of every task (group "task")."""

    name = "ia3"
    groups = ((rf"{TASK_TREE}/.*", "task"), (BACKBONE, FROZEN))
    axis_rules = tuple(
        (rf"{TASK_TREE}/\w+/{layers}/\w+/{name}/{_LEAVES[name]}", ("tasks", *stack, axis))
        for layers, stack in STACKS
        for name, axis in _AXES.items()
    )

    def added_shapes(self, num_tasks: int, backbone: Mapping):
        """`per_task/<module>/...`: `ia3_output` [K, H·d] of keys, values, `ia3_input` [K, M] of wo.

        Of scanned layers [K, layers, ...].
        """
        shapes = {}
        for found in parameters_of(backbone):
            leaf = _LEAVES.get(found.module.rpartition("/")[2])
            if leaf is not None:
                size = found.shape[0 if leaf == _INPUT else 1]
                shapes[f"{found.module}/{leaf}"] = (num_tasks, *found.stack, size)
        return {TASK_TREE: traverse_util.unflatten_dict(shapes, sep="/")}

    def start(self, context: Context, rng: jax.Array):
        """Ones: the first step sees the backbone as it is."""
        return filled(jnp.ones, self.added_shapes(len(context.tasks), context.backbone_shapes))

    @staticmethod
    def interceptor(next_fun, args, kwargs, context):
        """Multiplies what goes into a projection, or comes out of it, by each row's factors."""
        module = context.module
        if context.method_name != "__call__":
            return next_fun(*args, **kwargs)
        if module.has_variable("params", _INPUT):
            args = (_scaled(module.get_variable("params", _INPUT), args[0]), *args[1:])
        output = next_fun(*args, **kwargs)
        if module.has_variable("params", _OUTPUT):
            output = _scaled(module.get_variable("params", _OUTPUT), output)
        return output


def _scaled(factors: jax.Array, x: jax.Array) -> jax.Array:
    return per_row(factors, x, lambda x, factors: x * factors[:, None, :])
