"""A finished prompt file, for evaluation and inference: nothing trains."""

import dataclasses

import jax
import jax.numpy as jnp

from mpt_jax import initializers, prompt_file
from mpt_jax.methods.base import BACKBONE, FROZEN, PromptMethod


@dataclasses.dataclass(frozen=True)
class RestoredPrompts(PromptMethod):
    """The bank of a prompt file as it is.

    Attributes:
        path: the prompt file, or the run folder that holds it.
    """

    path: str

    name = "restored"
    groups = (("prompt_bank/.*", FROZEN), (BACKBONE, FROZEN))

    def bank_shapes(self, num_tasks: int, width: int):
        """The shapes in the file, which must be as wide as the backbone."""
        bank, info = prompt_file.load(self.path)
        prompt_file.check_backbone(self.path, info, width, info.vocabulary_size, info.backbone)
        return {name: leaf.shape for name, leaf in bank.items()}

    def start(self, start: initializers.Start, rng: jax.Array):
        """The file's bank, after it was checked against the backbone."""
        bank, _ = start.load_prompts(self.path)
        return {"prompt_bank": {name: jnp.asarray(leaf) for name, leaf in bank.items()}}


def tasks_of(path: str) -> tuple[str, ...]:
    """Names of the K tasks of a prompt file, in its order (UserError: unreadable)."""
    return prompt_file.load(path)[1].tasks
