"""Loads tests/golden/t5_*.npz: what Hugging Face's T5 computes for a tiny random model."""

import collections
import dataclasses
import functools
import pathlib
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from mpt_jax.backbone.config import T5Config
from mpt_jax.backbone.network import Transformer

VERSIONS = ("v1_0", "v1_1")
LENGTH_PENALTIES = (0.6, 1.0)
NUM_BEAMS = 4
MAX_DECODE_LENGTH = 12

_SIZES = dict(
    vocab_size=60,
    emb_dim=16,
    num_heads=2,
    head_dim=8,
    mlp_dim=32,
    num_encoder_layers=2,
    num_decoder_layers=2,
    relpos_buckets=8,
    relpos_max_distance=10,
)
CONFIGS = {
    "v1_0": T5Config(**_SIZES),
    "v1_1": T5Config(**_SIZES, mlp_activations=("gelu", "linear"), logits_via_embedding=False),
}


@dataclasses.dataclass(frozen=True)
class Golden:
    """A model, its batch, and the outputs expected of it, by name."""

    module: Transformer
    params: dict
    arrays: dict[str, np.ndarray]

    def logits(self, *arrays) -> jax.Array:
        """Of encoder inputs [B, T], decoder inputs [B, S] and prompts [B, P, D] or None."""
        return compiled(self.module.config)({"params": self.params}, *arrays)

    def encode(self, *arrays) -> jax.Array:
        """Of encoder inputs [B, T] and prompts [B, P, D] or None."""
        return compiled(self.module.config, "encode")({"params": self.params}, *arrays)

    def prompts(self, kind: str) -> np.ndarray | None:
        """[B, P, D] for "prompted", None for "plain"."""
        return self.arrays["prompts"] if kind == "prompted" else None

    def loss_and_gradient(self, **changes):
        """Of the prompts, with dropout, where `changes` replace fields of the configuration."""
        module = Transformer(dataclasses.replace(self.module.config, **changes))

        def loss(prompts):
            logits = module.apply(
                {"params": self.params},
                self.arrays["encoder_input_tokens"],
                self.arrays["decoder_input_tokens"],
                prompts,
                enable_dropout=True,
                rngs={"dropout": jax.random.key(3)},
            )
            return jnp.mean(jax.nn.log_softmax(logits)[..., 5])

        return jax.jit(jax.value_and_grad(loss))(self.arrays["prompts"])

    def scanned(self) -> "Golden":
        """The same model with `scan_layers`: parameters of all layers stacked."""
        layers = collections.defaultdict(list)
        for name, leaf in sorted(traverse_util.flatten_dict(self.params, sep="/").items()):
            layers[re.sub(r"/layers_\d/", "/layers/", name)].append(leaf)
        flat = {name: np.stack(x) if "/layers/" in name else x[0] for name, x in layers.items()}
        config = dataclasses.replace(self.module.config, scan_layers=True)
        return Golden(Transformer(config), traverse_util.unflatten_dict(flat, sep="/"), self.arrays)


@functools.cache
def compiled(config: T5Config, method: str | None = None) -> Callable:
    """`Transformer.apply(variables, *arrays)`; op by op it would take far longer."""
    return jax.jit(functools.partial(Transformer(config).apply, method=method))


def load(version: str) -> Golden:
    file = pathlib.Path(__file__).parents[1] / "golden" / f"t5_{version}.npz"
    with np.load(file, allow_pickle=False) as stored:
        arrays = dict(stored)
    weights = {
        name.removeprefix("params/"): value
        for name, value in arrays.items()
        if name.startswith("params/")
    }
    params = traverse_util.unflatten_dict(weights, sep="/")
    return Golden(Transformer(CONFIGS[version]), params, arrays)
