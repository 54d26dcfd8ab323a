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
from mpt_jax.methods.base import BACKBONE, FROZEN, AdapterMethod, unrolled_paths, width_of

_SUBLAYER = re.compile(r"((encoder|decoder)/layers_\d+/(attention|self_attention|mlp))/.*")
_NORMS = r"(encoder|decoder)/.*norm/scale"


@dataclasses.dataclass(frozen=True)
class Adapter(AdapterMethod):
    """One adapter for all tasks of the run; it and the layer norms train (group "adapter").

    Attributes:
        reduction: the bottleneck is D / reduction wide, rounded down.
    """

    reduction: int = 32

    name = "adapter"
    tuned_backbone = _NORMS
    groups = ((r"adapter/.*", "adapter"), (_NORMS, "adapter"), (BACKBONE, FROZEN))
    axis_rules = (
        (r"adapter/.*/down/kernel", ("embed", "bottleneck")),
        (r"adapter/.*/down/bias", ("bottleneck",)),
        (r"adapter/.*/up/kernel", ("bottleneck", "embed")),
        (r"adapter/.*/up/bias", ("embed",)),
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
        for path in unrolled_paths(backbone, self.name):
            if match := _SUBLAYER.fullmatch(path):
                shapes[f"{match[1]}/down/kernel"] = (width, bottleneck)
                shapes[f"{match[1]}/down/bias"] = (bottleneck,)
                shapes[f"{match[1]}/up/kernel"] = (bottleneck, width)
                shapes[f"{match[1]}/up/bias"] = (width,)
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
    def interceptor(params: Mapping):
        """Sends the output of each sub-layer with an adapter through it."""
        adapters = params["adapter"]

        def intercept(next_fun, args, kwargs, context):
            output = next_fun(*args, **kwargs)
            if context.method_name not in ("__call__", "step_self"):
                return output
            adapter = _at(adapters, context.module.path)
            return output if adapter is None else _adapted(adapter, output)

        return intercept


def _at(adapters: Mapping, path: tuple[str, ...]) -> Mapping | None:
    """The adapter of the module at `path`, if it has one."""
    for name in path:
        if name not in adapters:
            return None
        adapters = adapters[name]
    return adapters if "down" in adapters else None


def _adapted(adapter: Mapping, x: jax.Array) -> jax.Array:
    """[B, T, D] -> [B, T, D], in the dtype of x."""
    down, up = (jax.tree.map(lambda leaf: leaf.astype(x.dtype), adapter[n]) for n in ("down", "up"))
    hidden = nn.gelu(x @ down["kernel"] + down["bias"])
    return x + hidden @ up["kernel"] + up["bias"]
