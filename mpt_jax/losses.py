"""The task loss L_PLM and what is reported of it, as pure functions of logits and a batch.

Sums are divided by counts of the *whole* batch, so that microbatches add up.
Letters: B batch, S target length, V vocabulary, P prompt length, T input length, K tasks.
"""

import functools
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from mpt_jax import metrics
from mpt_jax.backbone import network

Batch = Mapping[str, jax.Array]


def cross_entropy(
    logits: jax.Array, targets: jax.Array, label_smoothing: float = 0.0, z_loss: float = 0.0
) -> jax.Array:
    """The loss of each target token, in nats, by T5X's definition (`t5x.losses`).

    Args:
        logits: [B, S, V] float32.
        targets: [B, S] int32.
        label_smoothing: share of the target mass given to the other V-1 pieces, in equal parts; the
            entropy of such a target is subtracted, so that the best prediction has loss 0.
        z_loss: weight of T5X's penalty `log(Z)^2` on the softmax normaliser.

    Returns:
        [B, S] float32, also at padding.
    """
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    log_z = jax.nn.logsumexp(logits, axis=-1) if label_smoothing or z_loss else None
    if label_smoothing:
        others = logits.shape[-1] - 1
        low, high = label_smoothing / others, 1 - label_smoothing
        of_all = (others + 1) * log_z - logits.sum(axis=-1)
        entropy = -high * math.log(high) - label_smoothing * math.log(low)
        loss = (high - low) * loss + low * of_all - entropy
    if z_loss:
        loss += z_loss * log_z**2
    return loss


def token_counts(batch: Batch, num_tasks: int | None = None) -> jax.Array:
    """By how many target tokens each example's loss is divided, [B] float32, at least 1.

    Args:
        batch: decoder_loss_weights [B, S], task_ids [B].
        num_tasks: K of tasks that are independent, so that the loss of each is its own mean: the
            tokens of the example's own task. None: those of the whole batch.
    """
    per_example = batch["decoder_loss_weights"].astype(jnp.float32).sum(axis=1)
    if num_tasks is None:
        tokens = jnp.broadcast_to(per_example.sum(), per_example.shape)
    else:
        totals = jax.ops.segment_sum(per_example, batch["task_ids"], num_tasks)
        tokens = totals[batch["task_ids"]]
    return jnp.maximum(tokens, 1.0)


def valid_positions(batch: Batch, prompt_length: int) -> dict[str, jax.Array]:
    """1 where a position is not padding: encoder [B, P+T] (the prompt counts), decoder [B, S]."""
    text = batch["encoder_input_tokens"] != network.PAD_ID
    prompt = jnp.ones((text.shape[0], prompt_length), bool)
    return {
        "encoder": jnp.concatenate([prompt, text], axis=1).astype(jnp.float32),
        "decoder": batch["decoder_loss_weights"].astype(jnp.float32),
    }


def by_task(
    logits: jax.Array, batch: Batch, token_loss: jax.Array, num_tasks: int
) -> dict[str, metrics.PerTask]:
    """Mean loss and accuracy of each task's target tokens.

    Args:
        logits: [B, S, V].
        batch: decoder_target_tokens and decoder_loss_weights [B, S], task_ids [B].
        token_loss: [B, S], 0 at padding.
        num_tasks: K.
    """
    weights = batch["decoder_loss_weights"].astype(jnp.float32)
    correct = (logits.argmax(axis=-1) == batch["decoder_target_tokens"]) * weights
    per_task = functools.partial(
        metrics.PerTask.from_examples,
        weights=weights.sum(axis=1),
        task_ids=batch["task_ids"],
        num_tasks=num_tasks,
    )
    return {
        "task_loss": per_task(token_loss.sum(axis=1)),
        "task_token_accuracy": per_task(correct.sum(axis=1)),
    }
