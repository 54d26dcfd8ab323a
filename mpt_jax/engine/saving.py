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
    task_steps: Mapping[str, int] | None = None,
) -> None:
    """Write what the model's method has trained; every process calls it.

    Of independent tasks only those are written whose best step is this one. The others keep their
    rows of the file that is there.

    Args:
        model: the model protocol, e.g. `models.EncoderDecoderModel`.
        directory: the run folder.
        params: nested dict of all parameters.
        step: that they were taken from.
        results: validation metrics of the best step, task -> {name: value}.
        feature_lengths: token limits, {"inputs": T, "targets": S}.
        task_steps: task -> its best step; None: `step` for all.

    Raises:
        UserError: it cannot be written.
    """
    own = dict(task_steps or {}) if model.method.independent_tasks else {}
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
        task_steps=own,
    )
    improved = [task for task in model.tasks if own.get(task, step) == step]
    model.method.save(directory, params, model.config, info, improved)


def saved_steps(directory: str) -> dict[str, int]:
    """The training step of each task of a run's product; none where no product loads."""
    try:
        info = product_file.load(directory)[1]
    except UserError:
        return {}
    return {task: info.task_steps.get(task, info.step) for task in info.tasks}
