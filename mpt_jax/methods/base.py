"""What a method is: the modules it adds, the parameters that train, and how it starts.

The engine and the model know methods only through this class; a new method is a new file here and
a gin file in `gin/methods/`.
"""

import abc
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from flax import traverse_util

from mpt_jax import hosts, prompt_file
from mpt_jax.errors import UserError
from mpt_jax.initializers import Start

FROZEN = "frozen"
BACKBONE = r"(encoder|decoder|token_embedder)/.*"


class Method(abc.ABC):
    """A way to adapt the backbone.

    Class attributes:
        name: as it is written into prompt files.
        groups: (pattern, group) pairs: the first pattern that matches a parameter's whole path
            decides its learning-rate group, or FROZEN. Every parameter must be claimed.
        needs_backbone: whether a run without a loaded backbone is an error.
        independent_tasks: no trained parameter serves two tasks, so each task's loss is a mean
            over its own target tokens and one program equals K separate runs.
    """

    name: str
    groups: Sequence[tuple[str, str]]
    needs_backbone = True
    independent_tasks = False

    @abc.abstractmethod
    def bank_shapes(self, num_tasks: int, width: int) -> Mapping[str, tuple[int, ...]]:
        """Leaf shapes of the prompt bank for K tasks and model width D; empty: no prompt."""

    @abc.abstractmethod
    def start(self, start: Start, rng: jax.Array) -> Mapping[str, Any]:
        """The sub-trees that the method adds to the parameters, initialised."""

    @abc.abstractmethod
    def save(self, directory: str, params: Mapping, config: Any, info: prompt_file.PromptInfo):
        """Write the product of a run into `directory`, each file whole; all processes call it.

        Raises:
            UserError: it cannot be written.
        """


class PromptMethod(Method):
    """A method whose trained parameters are a prompt bank; its product is a prompt file."""

    rank = 0

    def save(self, directory: str, params: Mapping, config: Any, info: prompt_file.PromptInfo):
        """Write `prompts.safetensors` and `prompts.json`."""
        bank = hosts.fetch(params["prompt_bank"])
        hosts.on_first(lambda: prompt_file.save(directory, bank, info))


def label_parameters(params: Mapping, groups: Sequence[tuple[str, str]]) -> dict:
    """The learning-rate group of every parameter, or FROZEN.

    Args:
        params: nested dict of parameters (or of their shapes).
        groups: as `Method.groups`.

    Returns:
        a nested dict of strings with the structure of `params`.

    Raises:
        UserError: parameters that no pattern claims; lists them.
    """
    labels, unclaimed = {}, []
    for path in traverse_util.flatten_dict(params, sep="/"):
        group = next((group for pattern, group in groups if re.fullmatch(pattern, path)), None)
        labels[path] = group
        if group is None:
            unclaimed.append(path)
    if unclaimed:
        raise UserError(
            f"the method claims these parameters neither as trained nor as frozen: "
            f"{', '.join(unclaimed)}; add a pattern to its `groups`."
        )
    return traverse_util.unflatten_dict(labels, sep="/")
