"""BitFit (Zaken et al. 2022): nothing but biases is tuned.

T5 has no biases. As in the baseline that the paper reports (Karimi Mahabadi et al. 2021,
Compacter), a bias that starts at zero is added to the output of every projection, of every layer
norm and of the logits: 282,496 numbers for T5-Base.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import traverse_util

from mpt_jax.initializers import Context
from mpt_jax.methods.base import BACKBONE, FROZEN, AdapterMethod, filled, parameters_of

_LOGITS = "token_embedder"  # of v1.0, where the embedding doubles as output projection


@dataclasses.dataclass(frozen=True)
class BitFit(AdapterMethod):
    """Trains the added biases (group "bias"), the same for all tasks of the run."""

    name = "bitfit"
    tree = "bias"
    groups = ((r"bias/.*", "bias"), (BACKBONE, FROZEN))
    axis_rules = (
        (r"bias/\w+/layers_\d+/\w+/(query|key|value)/bias", ("joined_kv",)),
        (r"bias/\w+/layers_\d+/mlp/wi(_\d+)?/bias", ("mlp",)),
        (r"bias/\w+/layers_\d+/.*/bias", ("embed",)),
        (rf"bias/(decoder/logits_dense|{_LOGITS})/bias", ("vocab",)),
        (r"bias/\w+/\w+_norm/bias", ("embed",)),
    )

    def added_shapes(self, num_tasks: int, backbone: Mapping):
        """`bias/<module>/bias`: [F] of a projection [D, F], [D] of a layer norm, [V] of logits."""
        shapes = {
            f"{found.module}/bias": (*found.stack, found.shape[-1])
            for found in parameters_of(backbone)
            if found.name in ("kernel", "scale")
        }
        if "decoder/logits_dense/bias" not in shapes:
            shapes[f"{_LOGITS}/bias"] = (backbone["token_embedder"]["embedding"].shape[0],)
        return {"bias": traverse_util.unflatten_dict(shapes, sep="/")}

    def start(self, context: Context, rng: jax.Array):
        """Zeros: the first step sees the backbone as it is."""
        return filled(jnp.zeros, self.added_shapes(len(context.tasks), context.backbone_shapes))

    @staticmethod
    def interceptor(next_fun, args, kwargs, context):
        """Adds the bias of a module to its output."""
        output, module = next_fun(*args, **kwargs), context.module
        adds = "logits" if module.path == (_LOGITS,) else "__call__"
        if context.method_name != adds or not module.has_variable("params", "bias"):
            return output
        return output + module.get_variable("params", "bias").astype(output.dtype)
