"""Label smoothing and z-loss are T5X's, values and gradients."""

import jax
import numpy as np
import pytest

from mpt_jax import losses

LOGITS = 3 * np.random.default_rng(0).normal(size=(2, 5, 300)).astype(np.float32)
TARGETS = np.random.default_rng(1).integers(0, 300, size=(2, 5)).astype(np.int32)


@pytest.mark.parametrize("z_loss", [0.0, 1e-2])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.5])
def test_the_loss_is_t5xs(label_smoothing, z_loss):
    from t5x import losses as t5x_losses

    def theirs(logits):
        return t5x_losses.compute_weighted_cross_entropy(
            logits, TARGETS, label_smoothing=label_smoothing, z_loss=z_loss
        )[0]

    def ours(logits):
        return losses.cross_entropy(logits, TARGETS, label_smoothing, z_loss).sum()

    expected, found = (jax.value_and_grad(loss)(LOGITS) for loss in (theirs, ours))
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-6)
