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
from mpt_jax.methods.base import BACKBONE, FROZEN, AdapterMethod, unrolled_paths

_LOGITS = "token_embedder"  # of v1.0, where the embedding doubles as output projection


@dataclasses.dataclass(frozen=True)
class BitFit(AdapterMethod):
    """Trains the added biases (group "bias"), the same for all tasks of the run."""

    name = "bitfit"
    groups = ((r"bias/.*", "bias"), (BACKBONE, FROZEN))
    axis_rules = (
        (r"bias/.*/(query|key|value)", ("joined_kv",)),
        (r"bias/.*/wi(_\d+)?", ("mlp",)),
        (rf"bias/(decoder/logits_dense|{_LOGITS})", ("vocab",)),
        (r"bias/.*", ("embed",)),
    )

    def added_shapes(self, num_tasks: int, backbone: Mapping):
        """`bias/<module>` [F] for each projection [D, F] and layer norm [D], and the logits [V]."""
        shapes = {}
        for path, leaf in unrolled_paths(backbone, self.name).items():
            module, _, kind = path.rpartition("/")
            if kind in ("kernel", "scale"):
                shapes[module] = (leaf.shape[-1],)
        if "decoder/logits_dense" not in shapes:
            shapes[_LOGITS] = (backbone["token_embedder"]["embedding"].shape[0],)
        return {"bias": traverse_util.unflatten_dict(shapes, sep="/")}

    def start(self, context: Context, rng: jax.Array):
        """Zeros: the first step sees the backbone as it is."""
        shapes = traverse_util.flatten_dict(
            self.added_shapes(len(context.tasks), context.backbone_shapes)
        )
        return traverse_util.unflatten_dict({p: jnp.zeros(s) for p, s in shapes.items()})

    @staticmethod
    def interceptor(params: Mapping):
        """Adds the bias of a module to its output."""
        biases = traverse_util.flatten_dict(params["bias"])

        def intercept(next_fun, args, kwargs, context):
            output = next_fun(*args, **kwargs)
            path = context.module.path
            adds = "logits" if path == (_LOGITS,) else "__call__"
            if path not in biases or context.method_name != adds:
                return output
            return output + biases[path].astype(output.dtype)

        return intercept
