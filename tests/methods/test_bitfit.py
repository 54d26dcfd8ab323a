"""BitFit: Hugging Face's T5 with the same biases by hooks, a start at the backbone, what moves."""

import adapted_golden
import jax
import numpy as np
import pytest
import t5_golden
import toy
import toy_run

from mpt_jax.engine import initialize
from mpt_jax.methods.bitfit import BitFit
from mpt_jax.methods.full import FullTraining

KEY = jax.random.key(0)


@pytest.mark.parametrize("version", t5_golden.VERSIONS)
def test_as_biases_in_hugging_faces_t5(version):
    adapted_golden.check(BitFit(), version, "bias", "biased")


def test_it_starts_at_the_backbone():
    batch = toy.batch([0, 1, 2, 0])
    model, plain = toy.model(BitFit()), toy.model(FullTraining())
    params = initialize.start(model, toy.backbone(), KEY)
    scores = jax.jit(model.score_batch)(params, batch)
    np.testing.assert_array_equal(scores, jax.jit(plain.score_batch)(toy.backbone(), batch))


def test_only_biases_move():
    model = toy.model(BitFit(), config=toy.ONE_LAYER)
    run = toy_run.Run(model, initialize.start(model, toy.one_layer(), KEY))
    run.step(toy.batch([0, 1, 2, 0]))
    assert run.trainable.keys() == {"bias"}
    assert all(leaf.any() for leaf in jax.tree.leaves(run.trainable))
