"""Full training: every parameter of the backbone, no prompt; pretraining and fine-tuning."""

import dataclasses
import os

import jax

from mpt_jax import hosts, initializers
from mpt_jax.backbone import store
from mpt_jax.methods.base import BACKBONE, Method
from mpt_jax.product import description, product_file


@dataclasses.dataclass(frozen=True)
class FullTraining(Method):
    """Trains the whole backbone (group "backbone"); its product is a backbone folder.

    Attributes:
        from_scratch: start from random weights where no checkpoint is given (pretraining).
    """

    from_scratch: bool = False

    name = "full"
    tuned_backbone = BACKBONE
    groups = ((BACKBONE, "backbone"),)

    @property
    def needs_backbone(self) -> bool:
        """Pretraining starts from random weights."""
        return not self.from_scratch

    def start(self, context: initializers.Context, rng: jax.Array):
        """Adds nothing."""
        return {}

    def save(self, directory, params, config, info, improved=None):
        """Write `backbone/model.safetensors`, `.json` of the run, and `backbone/config.json`."""
        folder = os.path.join(directory, product_file.BACKBONE_FOLDER)
        backbone = hosts.fetch({name: params[name] for name in store.BACKBONE_TREES})
        header = description.header(info)
        hosts.on_first(lambda: store.save(folder, backbone, config, header=header))
