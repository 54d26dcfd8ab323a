"""The product of a run, as the engines write it and look for it."""

from collections.abc import Mapping
from typing import Any

from mpt_jax.backbone import store
from mpt_jax.errors import UserError
from mpt_jax.product import product_file
from mpt_jax.product.description import ProductInfo
from mpt_jax.vocabulary import digest


def save(
    model: Any,
    directory: str,
    params: Mapping,
    *,
    step: int,
    results: Mapping[str, Any],
    feature_lengths: Mapping[str, int],
) -> None:
    """Write what the model's method has trained; every process calls it.

    Args:
        model: the model protocol, e.g. `models.EncoderDecoderModel`.
        directory: the run folder.
        params: nested dict of all parameters.
        step: that they were taken from.
        results: validation metrics of that step, task -> {name: value}.
        feature_lengths: token limits, {"inputs": T, "targets": S}.

    Raises:
        UserError: it cannot be written.
    """
    identity = store.identify(params, model.method.tuned_backbone)
    info = ProductInfo(
        method=model.method.name,
        tasks=model.tasks,
        length=model.method.prompt_length,
        width=model.config.emb_dim,
        rank=model.method.rank,
        vocabulary_size=model.config.vocab_size,
        backbone=identity.fingerprint,
        feature_lengths=dict(feature_lengths),
        label_words={task: list(words) for task, words in model.label_words.items()},
        input_forms=dict(model.input_forms),
        step=step,
        metrics=dict(results),
        backbone_bits=identity.bits,
        arithmetic=model.config.arithmetic,
        vocabulary=digest(model.input_vocabulary),
    )
    model.method.save(directory, params, model.config, info)


def saved_step(directory: str) -> int | None:
    """The training step of the product in a run folder; None: there is no product that loads."""
    try:
        return product_file.load(directory)[1].step
    except UserError:
        return None
