"""Full training adds nothing to the backbone, trains all of it, and saves it."""

import dataclasses

import jax
import numpy as np
import toy

from mpt_jax.backbone import store
from mpt_jax.backbone.config import T5Config
from mpt_jax.engine import initialize, saving
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.methods.full import FullTraining


def test_it_has_no_prompt():
    model = toy.model(FullTraining())
    params = initialize.start(model, toy.backbone(), jax.random.key(0))
    assert params.keys() == {"encoder", "decoder", "token_embedder"}
    assert model.embed_prompts(params, toy.batch([0, 1])) is None


def test_only_pretraining_starts_without_a_backbone():
    assert FullTraining().needs_backbone
    assert not FullTraining(from_scratch=True).needs_backbone


def test_the_product_comes_back_exactly(tmp_path):
    model = toy.model(FullTraining())
    params = toy.backbone()
    saving.save(model, str(tmp_path), params, step=5, results={}, feature_lengths={})
    folder = tmp_path / "backbone"
    assert T5Config.from_json((folder / store.CONFIG).read_text()) == dataclasses.replace(
        toy.CONFIG, eos_id=1
    )
    shapes = jax.eval_shape(lambda: params)
    shardings = PjitPartitioner().sharding(model.param_axes(params))
    loaded = initialize.load_backbone(str(folder), shapes, shardings)
    jax.tree.map(np.testing.assert_array_equal, loaded, params)
    assert store.identify(loaded).fingerprint == store.identify(params).fingerprint
