"""Adapters (Houlsby et al. 2019): a bottleneck after each self-attention and feed-forward layer.

`y + up(gelu(down(y)))` on the output y of the sub-layer, before its residual connection, on both
sides of the T5; the layer norms are tuned as well. The sizes of Karimi Mahabadi et al. 2021
(Compacter), from whose results the paper takes its baseline: D / 32 wide, nothing after the
cross-attention.
"""

import dataclasses
import re
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import traverse_util

from mpt_jax.errors import UserError
from mpt_jax.initializers import Context
from mpt_jax.methods.base import BACKBONE, FROZEN, AdapterMethod, parameters_of, width_of

_SUBLAYER = re.compile(r"((encoder|decoder)/layers(_\d+)?/(attention|self_attention|mlp))/.*")
_NORMS = r"(encoder|decoder)/.*norm/scale"


@dataclasses.dataclass(frozen=True)
class Adapter(AdapterMethod):
    """One adapter for all tasks of the run; it and the layer norms train (group "adapter").

    Attributes:
        reduction: the bottleneck is D / reduction wide, rounded down.
    """

    reduction: int = 32

    name = tree = "adapter"
    tuned_backbone = _NORMS
    groups = ((r"adapter/.*", "adapter"), (_NORMS, "adapter"), (BACKBONE, FROZEN))
    axis_rules = (
        (r"adapter/\w+/layers_\d+/\w+/down/kernel", ("embed", "bottleneck")),
        (r"adapter/\w+/layers_\d+/\w+/down/bias", ("bottleneck",)),
        (r"adapter/\w+/layers_\d+/\w+/up/kernel", ("bottleneck", "embed")),
        (r"adapter/\w+/layers_\d+/\w+/up/bias", ("embed",)),
    )

    def added_shapes(self, num_tasks: int, backbone: Mapping):
        """`adapter/<sub-layer>/{down,up}/{kernel,bias}`; down [D, D/r], up [D/r, D]."""
        width = width_of(backbone)
        bottleneck = width // self.reduction if self.reduction > 0 else 0
        if bottleneck < 1:
            raise UserError(
                f"Adapter.reduction = {self.reduction} leaves no bottleneck in a width of {width}: "
                f"give a number from 1 to {width}."
            )
        shapes = {}
        for found in parameters_of(backbone):
            if match := _SUBLAYER.fullmatch(found.module):
                shapes[f"{match[1]}/down/kernel"] = (*found.stack, width, bottleneck)
                shapes[f"{match[1]}/down/bias"] = (*found.stack, bottleneck)
                shapes[f"{match[1]}/up/kernel"] = (*found.stack, bottleneck, width)
                shapes[f"{match[1]}/up/bias"] = (*found.stack, width)
        return {"adapter": traverse_util.unflatten_dict(shapes, sep="/")}

    def start(self, context: Context, rng: jax.Array):
        """Nearly the identity, as in the paper: kernels of std 0.01 cut at 2 std, zero biases."""
        flat = traverse_util.flatten_dict(
            self.added_shapes(len(context.tasks), context.backbone_shapes)
        )
        draw = nn.initializers.truncated_normal(0.01)
        keys = dict(zip(flat, jax.random.split(rng, len(flat)), strict=True))
        added = {
            path: draw(keys[path], shape) if path[-1] == "kernel" else jnp.zeros(shape)
            for path, shape in flat.items()
        }
        return traverse_util.unflatten_dict(added)

    @staticmethod
    def interceptor(next_fun, args, kwargs, context):
        """Sends the output of each sub-layer with an adapter through it."""
        output, module = next_fun(*args, **kwargs), context.module
        if context.method_name not in ("__call__", "step_self"):
            return output
        if not module.has_variable("params", "down"):
            return output
        return _adapted({n: module.get_variable("params", n) for n in ("down", "up")}, output)


def _adapted(adapter: Mapping, x: jax.Array) -> jax.Array:
    """[B, T, D] -> [B, T, D], in the dtype of x."""
    down, up = (jax.tree.map(lambda leaf: leaf.astype(x.dtype), adapter[n]) for n in ("down", "up"))
    hidden = nn.gelu(x @ down["kernel"] + down["bias"])
    return x + hidden @ up["kernel"] + up["bias"]
