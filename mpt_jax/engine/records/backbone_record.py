"""Which backbone a run was first started on, so that it does not go on with another.

Part of `run.json`; checkpoints hold only what trains.
"""

from collections.abc import Mapping
from typing import Any

from mpt_jax.backbone import store
from mpt_jax.errors import UserError


def checked(
    model: Any, params: Mapping, before: Mapping[str, Any] | None, model_dir: str
) -> dict[str, str]:
    """The identity of a run's backbone, compared with that of its first start.

    Every process must ask.

    Args:
        model: the model protocol; what its method tunes of the backbone is left out.
        params: nested dict of the parameters that the run starts from.
        before: the record of a run that goes on from a checkpoint; None: of a first start.
        model_dir: the run folder, for the message.

    Raises:
        UserError: it is another one, even if only in the lowest bits.
    """
    found = store.identify(params, model.method.tuned_backbone)._asdict()
    noted = (before or {}).get("backbone")
    if noted is not None and noted != found:
        raise UserError(
            f"INITIAL_CHECKPOINT_PATH holds another backbone ({found}) than when the run in "
            f"{model_dir} was started ({noted}): it was changed or damaged. Put back what was "
            "there, or start again with another --gin.MODEL_DIR."
        )
    return found
