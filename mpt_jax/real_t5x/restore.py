"""What evaluation and inference under T5X start from: a backbone and a trained product."""

import functools

from t5x import utils

from mpt_jax.engine.settings import Evaluation, Inference
from mpt_jax.errors import UserError
from mpt_jax.real_t5x.start import Restorer

# T5X's evaluation reads a step at the end of a checkpoint's name, which a backbone need not have.
_NAME = "checkpoint_0"


def restore_config(settings: Evaluation | Inference) -> utils.RestoreCheckpointConfig:
    """T5X's settings, by which it gets the parameters that our engine would start from.

    Raises:
        UserError: the settings ask for label words to be ranked.
    """
    if settings.rank_labels:
        raise UserError("RANK_LABELS is not for --engine=t5x, which decodes: use our own engine.")
    return utils.RestoreCheckpointConfig(
        path=_NAME,
        mode="specific",
        checkpoint_manager_cls=functools.partial(Restorer, start=settings.params),
    )
