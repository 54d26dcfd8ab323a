"""What a method is: what it adds, the parameters that train, and how it starts.

The engine and the model know methods only through this class; a new method is a new file here and
a gin file in `gin/methods/` (docs/methods.md).
"""

import abc
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from flax import traverse_util

from mpt_jax import hosts, prompts
from mpt_jax.backbone.axes import AxisNames, Rule
from mpt_jax.errors import UserError
from mpt_jax.initializers import Context
from mpt_jax.product import product_file
from mpt_jax.product.description import ProductInfo
from mpt_jax.product.leaves import AXES

FROZEN = "frozen"
BACKBONE = r"(encoder|decoder|token_embedder)/.*"

# A Flax interceptor (`nn.intercept_methods`): (next_fun, args, kwargs, context) -> output.
Interceptor = Callable[..., Any]


class Method(abc.ABC):
    """A way to adapt the backbone.

    Class attributes:
        name: as it is written into the files of runs.
        groups: (pattern, group) pairs: the first pattern that matches a parameter's whole path
            decides its learning-rate group, or FROZEN. Every parameter must be claimed.
        tuned_backbone: pattern of the backbone's own parameters that train; "": none.
        prompt_length, rank: P and R of its prompts; 0: no prompt, no factors.
        bank_axes: logical axes of the leaves of its prompt bank.
        axis_rules: logical axes of what it adds apart from a bank (see `backbone.axes`).
        needs_backbone: whether a run without a loaded backbone is an error.
        reads_text: its prompts depend on the text that they are put in front of.
        independent_tasks: no trained parameter serves two tasks, so each task's loss is a mean
            over its own target tokens and one program equals K separate runs.
    """

    name: str
    groups: Sequence[tuple[str, str]]
    tuned_backbone = ""
    prompt_length = 0
    rank = 0
    bank_axes: Mapping[str, AxisNames] = AXES
    axis_rules: Sequence[Rule] = ()
    needs_backbone = True
    reads_text = False
    independent_tasks = False

    compose: prompts.Compose = staticmethod(prompts.compose)
    embed_text: prompts.EmbedText = staticmethod(prompts.embed_text)

    def added_shapes(self, num_tasks: int, backbone: Mapping) -> Mapping[str, Any]:
        """What the method adds to the parameters of the backbone; a prompt bank is `prompt_bank`.

        Args:
            num_tasks: K.
            backbone: nested dict of its parameters or their shapes.

        Returns:
            nested dict of shapes.
        """
        return {}

    @staticmethod
    def interceptor(params: Mapping) -> Interceptor | None:
        """How the modules of the backbone act with the added parameters; None: as they are."""
        return None

    @abc.abstractmethod
    def start(self, context: Context, rng: jax.Array) -> Mapping[str, Any]:
        """The parameters that the method adds, or starts elsewhere than the backbone's."""

    @abc.abstractmethod
    def save(self, directory: str, params: Mapping, config: Any, info: ProductInfo):
        """Write the product of a run into `directory`, each file whole; all processes call it.

        Raises:
            UserError: it cannot be written.
        """


class PromptMethod(Method):
    """A method whose trained parameters are a prompt bank; its product is a prompt file."""

    @abc.abstractmethod
    def bank_shapes(self, num_tasks: int, width: int) -> Mapping[str, tuple[int, ...]]:
        """Leaf shapes of the prompt bank for K tasks and model width D."""

    def added_shapes(self, num_tasks: int, backbone: Mapping):
        """The bank alone."""
        return {"prompt_bank": self.bank_shapes(num_tasks, width_of(backbone))}

    def stored(self, bank: prompts.Bank) -> prompts.Bank:
        """What the product keeps of the trained bank, on this host: all of it."""
        return bank

    def save(self, directory: str, params: Mapping, config: Any, info: ProductInfo):
        """Write `prompts.safetensors` and `prompts.json`."""
        bank = self.stored(hosts.fetch(params["prompt_bank"]))
        hosts.on_first(lambda: product_file.save(directory, bank, info))


class AdapterMethod(Method):
    """A method that adds to the backbone's modules; its product is an adapter file."""

    def save(self, directory: str, params: Mapping, config: Any, info: ProductInfo):
        """Write `adapter.safetensors` and `adapter.json`: all that trained, by path."""
        flat = traverse_util.flatten_dict(params, sep="/")
        trained = hosts.fetch(
            {path: leaf for path, leaf in flat.items() if group_of(path, self.groups) != FROZEN}
        )
        hosts.on_first(lambda: product_file.save(directory, trained, info, product_file.ADAPTER))


def check_positive(method: Method, *fields: str) -> None:
    """Refuses a setting of a method that is not at least 1 (UserError)."""
    for field in fields:
        if (value := getattr(method, field)) < 1:
            raise UserError(f"{type(method).__name__}.{field} must be >= 1, not {value}.")


def width_of(backbone: Mapping) -> int:
    """The model width D of a backbone's parameters, or of their shapes."""
    return backbone["token_embedder"]["embedding"].shape[1]


def group_of(path: str, groups: Sequence[tuple[str, str]]) -> str | None:
    """The group that claims a parameter's path; None: nobody does."""
    return next((group for pattern, group in groups if re.fullmatch(pattern, path)), None)


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
    paths = traverse_util.flatten_dict(params, sep="/")
    labels = {path: group_of(path, groups) for path in paths}
    unclaimed = [path for path, group in labels.items() if group is None]
    if unclaimed:
        raise UserError(
            f"the method claims these parameters neither as trained nor as frozen: "
            f"{', '.join(unclaimed)}; add a pattern to its `groups`."
        )
    return traverse_util.unflatten_dict(labels, sep="/")


def unrolled_paths(backbone: Mapping, method: str) -> dict[str, Any]:
    """Path -> leaf of the backbone's parameters, for a method that adds to single layers.

    Raises:
        UserError: the layers are scanned.
    """
    flat = traverse_util.flatten_dict(backbone, sep="/")
    if any("/layers/" in path for path in flat):
        raise UserError(
            f"the method {method!r} adds to single layers, which scan_layers folds into one: set "
            "config.T5Config.scan_layers = False."
        )
    return flat
