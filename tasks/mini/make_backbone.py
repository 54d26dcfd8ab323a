"""Makes a pretraining run's product the package's mini backbone, stored in bfloat16.

    python -m mpt_jax.tasks.mini.make_backbone runs/pretrain_mini [FOLDER]

FOLDER defaults to the package's own `assets/mini`. Prompt files name their backbone by
fingerprint, so those trained on the former weights are refused afterwards.
"""

import sys

import jax
import jax.numpy as jnp
from jax.sharding import SingleDeviceSharding

from mpt_jax import assets
from mpt_jax.backbone import store
from mpt_jax.backbone.formats import backbones
from mpt_jax.backbone.network import Transformer


def publish(run: str, folder: str) -> str:
    """Copy `<run>/backbone` to `folder` in bfloat16; returns its fingerprint.

    Raises:
        UserError: the run has no backbone, or a broken one.
    """
    source = f"{run}/backbone"
    config = backbones.config_of(source)
    tokens = jnp.ones((1, 1), jnp.int32)
    init = Transformer(config).init
    shapes = jax.eval_shape(lambda key: init(key, tokens, tokens)["params"], jax.random.key(0))
    device = SingleDeviceSharding(jax.devices()[0])
    params = backbones.load(source, shapes, jax.tree.map(lambda _: device, shapes))
    store.save(folder, params, config, dtype="bfloat16")
    return store.identify(params).fingerprint


if __name__ == "__main__":
    where = sys.argv[2] if len(sys.argv) > 2 else assets.path("mini")
    print(where, publish(sys.argv[1], where))
