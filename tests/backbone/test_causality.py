"""Who sees whom, by gradients: what is not seen has a gradient of exactly zero.

A vector of zeros is added to each embedded token; derivatives by it say what an output depends on.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import t5_golden

from mpt_jax.backbone import layers, network

models = pytest.mark.parametrize(
    "golden",
    [
        pytest.param((version, scanned), id=f"{version}{'-scanned' * scanned}")
        for version in t5_golden.VERSIONS
        for scanned in (False, True)
    ],
    indirect=True,
)


@pytest.fixture(name="golden")
def _golden(request):
    version, scanned = request.param
    golden = t5_golden.load(version)
    return golden.scanned() if scanned else golden


def zeros(golden):
    """What is added to the text [B, T, D], and to the targets that are fed [B, S, D]."""
    shapes = (golden.arrays[f"{side}_input_tokens"].shape for side in ("encoder", "decoder"))
    return [np.zeros((*shape, golden.module.config.emb_dim), np.float32) for shape in shapes]


def outputs(golden, prompts, text, targets):
    """Logits [B, S, V] and the encoder's states [B, P+T, D], with these added to the embeddings."""
    added = {vectors.shape[1]: vectors for vectors in (text, targets)}
    assert len(added) == 2  # told apart by their lengths

    def add(call, args, kwargs, context):
        found = call(*args, **kwargs)
        embeds = isinstance(context.module, layers.Embed) and context.method_name == "__call__"
        return found + added[found.shape[1]] if embeds else found

    tokens, fed = (golden.arrays[f"{side}_input_tokens"] for side in ("encoder", "decoder"))
    variables = {"params": golden.params}
    with nn.intercept_methods(add):
        logits = golden.module.apply(variables, tokens, fed, prompts)
        return logits, golden.module.apply(variables, tokens, prompts, method="encode")


def log_likelihoods(golden, *vectors):
    """Of each of the targets [S], the next of those that are fed; summed over the batch."""
    logits, _ = outputs(golden, *vectors)
    targets = np.roll(golden.arrays["decoder_input_tokens"], -1, axis=1)
    found = jnp.take_along_axis(jax.nn.log_softmax(logits), targets[..., None], axis=2)
    return found.sum(axis=(0, 2))


@models
def test_padding_is_seen_by_nothing(golden):
    prompts, (text, targets) = golden.arrays["prompts"], zeros(golden)
    valid = golden.arrays["encoder_input_tokens"] != network.PAD_ID
    assert not valid.all() and valid.any()

    @jax.jit
    def loss(text):
        return -log_likelihoods(golden, prompts, text, targets).mean()

    gradient = np.abs(jax.grad(loss)(text)).max(axis=2)
    assert (gradient[~valid] == 0).all() and (gradient[valid] > 0).all()

    run = jax.jit(lambda text: outputs(golden, prompts, text, targets))
    changed = np.where(valid[..., None], text, np.float32(100))
    seen = network.encoder_valid(golden.arrays["encoder_input_tokens"], prompts)
    (logits, states), (other_logits, other_states) = run(text), run(changed)
    np.testing.assert_array_equal(logits, other_logits)
    np.testing.assert_array_equal(states[seen], other_states[seen])
    assert np.abs(states[~seen] - other_states[~seen]).max() > 0


@models
def test_every_target_sees_the_whole_prompt(golden):
    prompts, added = golden.arrays["prompts"], zeros(golden)
    by_target = jax.jit(jax.jacrev(lambda prompts: log_likelihoods(golden, prompts, *added)))
    assert (np.abs(by_target(prompts)).max(axis=3) > 0).all()  # [S, B, P]


@models
def test_a_target_sees_those_before_it_and_none_after(golden):
    prompts, (text, targets) = golden.arrays["prompts"], zeros(golden)
    by_target = jax.jit(jax.jacrev(lambda fed: log_likelihoods(golden, prompts, text, fed)))
    seen = np.abs(by_target(targets)).max(axis=3)  # [S, B, S]
    length = targets.shape[1]
    earlier = np.tril(np.ones((length, length), bool))[:, None]
    assert (seen[~np.broadcast_to(earlier, seen.shape)] == 0).all()
    assert (seen[np.broadcast_to(earlier, seen.shape)] > 0).all()
