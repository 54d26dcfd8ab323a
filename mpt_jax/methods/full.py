"""Full training: every parameter of the backbone, no prompt; pretraining and fine-tuning."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax

from mpt_jax import hosts, initializers, prompt_file
from mpt_jax.backbone import store
from mpt_jax.methods.base import BACKBONE, Method


@dataclasses.dataclass(frozen=True)
class FullTraining(Method):
    """Trains the whole backbone (group "backbone"); its product is a backbone folder.

    Attributes:
        from_scratch: start from random weights where no checkpoint is given (pretraining).
    """

    from_scratch: bool = False

    name = "full"
    groups = ((BACKBONE, "backbone"),)

    @property
    def needs_backbone(self) -> bool:
        """Pretraining starts from random weights."""
        return not self.from_scratch

    def bank_shapes(self, num_tasks: int, width: int):
        """No prompt."""
        return {}

    def start(self, start: initializers.Start, rng: jax.Array):
        """Adds nothing."""
        return {}

    def save(self, directory: str, params: Mapping, config: Any, info: prompt_file.PromptInfo):
        """Write `backbone/model.safetensors` and `backbone/config.json`."""
        backbone = hosts.fetch({name: params[name] for name in store.BACKBONE_TREES})
        hosts.on_first(lambda: store.save(f"{directory}/backbone", backbone, config))
