"""umT5 on T5X's own network, scalable_t5: a checkpoint that we write gives it our logits."""

import dataclasses

import jax
import numpy as np
import toy
from flax import traverse_util

from mpt_jax.backbone import network, store
from mpt_jax.convert import convert_backbones

CONFIG = dataclasses.replace(toy.CONFIG, relpos_bias_per_layer=True)
T5XS = ("vocab_size", "emb_dim", "num_heads", "head_dim", "mlp_dim", "mlp_activations")


def test_a_checkpoint_of_umt5_is_read_by_t5xs_scanned_network(tmp_path):
    from t5x import checkpoints
    from t5x.examples.scalable_t5 import network as scalable

    rng = np.random.default_rng(0)
    inputs = rng.integers(2, CONFIG.vocab_size, (2, 9))
    inputs[1, 5:] = 0
    targets = rng.integers(2, CONFIG.vocab_size, (2, 4))
    shifted = np.pad(targets, ((0, 0), (1, 0)))[:, :-1]
    module = network.Transformer(CONFIG)
    shapes = jax.eval_shape(module.init, jax.random.key(0), inputs, shifted)["params"]
    flat = traverse_util.flatten_dict(shapes, sep="/")
    flat = {name: rng.normal(size=x.shape).astype(np.float32) / 2 for name, x in flat.items()}
    params = traverse_util.unflatten_dict(flat, sep="/")
    expected = jax.jit(module.apply)({"params": params}, inputs, shifted)

    store.save(str(tmp_path / "ours"), params, CONFIG)
    checkpoint = str(tmp_path / "checkpoint_0")
    convert_backbones.convert(str(tmp_path / "ours"), checkpoint, "t5x")
    theirs = checkpoints.load_t5x_checkpoint(checkpoint)["target"]
    config = scalable.T5Config(
        **{name: getattr(CONFIG, name) for name in T5XS},
        num_encoder_layers=CONFIG.num_encoder_layers,
        num_decoder_layers=CONFIG.num_decoder_layers,
        logits_via_embedding=CONFIG.logits_via_embedding,
    )
    found = scalable.Transformer(config).apply(
        {"params": theirs}, inputs, shifted, targets, enable_dropout=False
    )
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
