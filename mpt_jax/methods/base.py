"""What a method is: what it adds, the parameters that train, and how it starts.

The engine and the model know methods only through this class; a new method is a new file here and
a gin file in `gin/methods/` (docs/methods.md).
"""

import abc
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import traverse_util

from mpt_jax import hosts, prompts
from mpt_jax.backbone.axes import AxisNames, Rule
from mpt_jax.errors import UserError
from mpt_jax.initializers import Context
from mpt_jax.methods import stacking
from mpt_jax.product import product_file
from mpt_jax.product.description import ProductInfo
from mpt_jax.product.leaves import AXES, TASK_TREE

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
        interceptor: how the modules of the backbone act with what the method adds to them; None: as
            they are. Flax calls it around every method of every module.
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

    interceptor: Interceptor | None = None

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

    @classmethod
    def variables(cls, params: Mapping, task_ids: jax.Array) -> Mapping:
        """The parameters as the modules of the backbone see them, for a batch's `task_ids` [B]."""
        del task_ids
        return params

    @abc.abstractmethod
    def start(self, context: Context, rng: jax.Array) -> Mapping[str, Any]:
        """The parameters that the method adds, or starts elsewhere than the backbone's."""

    @abc.abstractmethod
    def save(
        self,
        directory: str,
        params: Mapping,
        config: Any,
        info: ProductInfo,
        improved: Sequence[str] | None = None,
    ):
        """Write the product of a run into `directory`, each file whole; all processes call it.

        Args:
            directory: made where it is missing.
            params: nested dict of all parameters.
            config: the T5Config.
            info: what the product says of itself.
            improved: of independent tasks, those whose rows are written; the others keep the rows
                of the product that is there. None: all.

        Raises:
            UserError: it cannot be written.
        """


class PromptMethod(Method):
    """A method whose trained parameters are a prompt bank; its product is a prompt file.

    What all tasks share is in one learning-rate group, what belongs to a task in another.
    """

    groups = (
        ("prompt_bank/shared", "shared"),
        ("prompt_bank/task_.*", "task"),
        ("teacher/.*", FROZEN),
        (BACKBONE, FROZEN),
    )

    @abc.abstractmethod
    def bank_shapes(self, num_tasks: int, width: int) -> Mapping[str, tuple[int, ...]]:
        """Leaf shapes of the prompt bank for K tasks and model width D."""

    def added_shapes(self, num_tasks: int, backbone: Mapping):
        """The bank alone."""
        return {"prompt_bank": self.bank_shapes(num_tasks, width_of(backbone))}

    def stored(self, bank: prompts.Bank) -> prompts.Bank:
        """What the product keeps of the trained bank, on this host: all of it."""
        return bank

    def save(self, directory, params, config, info, improved=None):
        """Write `prompts.safetensors` and `prompts.json`."""
        bank = self.stored(hosts.fetch(params["prompt_bank"]))
        hosts.on_first(lambda: product_file.save(directory, bank, info, improved=improved))


class AdapterMethod(Method):
    """A method that adds to the backbone's modules; its product is an adapter file.

    Attributes:
        tree: the name of what it adds: `tree/<path of a module>/<leaf>` is among that module's
            parameters, where the `interceptor` finds it (`module.get_variable("params", leaf)`).
            Of scanned layers it has all in one, stacked on its first axis.
    """

    tree: str

    @classmethod
    def variables(cls, params: Mapping, task_ids: jax.Array) -> Mapping:
        """What is added, put into the modules that it belongs to."""
        del task_ids
        return _put_in(params, cls.tree, params[cls.tree])

    def save(self, directory, params, config, info, improved=None):
        """Write `adapter.safetensors` and `adapter.json`: what trained or was added, by path.

        Scanned layers are written one by one.
        """
        flat = traverse_util.flatten_dict(params, sep="/")
        product = hosts.fetch({path: leaf for path, leaf in flat.items() if self._is_of(path)})
        product = stacking.by_layer(product)
        name = product_file.ADAPTER
        hosts.on_first(lambda: product_file.save(directory, product, info, name, improved=improved))

    def _is_of(self, path: str) -> bool:
        return path.startswith(f"{self.tree}/") or group_of(path, self.groups) != FROZEN


class TaskAdapterMethod(AdapterMethod):
    """An adapter method whose every task has its own: all leaves begin with a task axis [K, ...].

    A module sees the rows of its batch [B, ...], or [1, ...] where there is one task, whose row
    serves all: no copies of it are made.
    """

    tree = TASK_TREE
    independent_tasks = True

    @classmethod
    def variables(cls, params: Mapping, task_ids: jax.Array) -> Mapping:
        """The rows of the batch's tasks, put into the modules that they belong to."""

        def rows(path: str, leaf: jax.Array) -> jax.Array:
            chosen = leaf if leaf.shape[0] == 1 else leaf[task_ids]
            # The optimizer wants tasks first, the scan its layers.
            return jnp.moveaxis(chosen, 1, 0) if stacking.is_stacked(path) else chosen

        flat = traverse_util.flatten_dict(params[cls.tree], sep="/")
        added = {path: rows(path, leaf) for path, leaf in flat.items()}
        return _put_in(params, cls.tree, traverse_util.unflatten_dict(added, sep="/"))


def per_row(rows: jax.Array, x: jax.Array, use: Callable[[jax.Array, jax.Array], jax.Array]):
    """`use(x, rows)` for rows that each serve a part of x.

    Args:
        rows: [R, ...], what a module of a `TaskAdapterMethod` sees; cast to the dtype of x.
        x: [B * N, T, D], N rows for each example where it has several hypotheses or labels.
        use: of x [R, B * N * T / R, D] and rows, to [R, B * N * T / R, F].

    Returns:
        [B * N, T, F]
    """
    found = use(x.reshape(rows.shape[0], -1, x.shape[-1]), rows.astype(x.dtype))
    return found.reshape(*x.shape[:-1], found.shape[-1])


def _put_in(params: Mapping, tree: str, added: Mapping) -> Mapping:
    """`params` with `added` instead of their `tree`."""
    others = {name: params[name] for name in params if name != tree}
    flat = {**traverse_util.flatten_dict(others), **traverse_util.flatten_dict(added)}
    return traverse_util.unflatten_dict(flat)


class Parameter(NamedTuple):
    """A parameter of a module of the backbone, as a method sees it that adds to that module."""

    module: str  # its path
    name: str
    shape: tuple[int, ...]  # of one layer
    stack: tuple[int, ...]  # (layers,) where they are scanned, else ()


def parameters_of(backbone: Mapping) -> list[Parameter]:
    """The parameters of a backbone, given as a nested dict of them or of their shapes."""
    found = []
    for path, leaf in traverse_util.flatten_dict(backbone, sep="/").items():
        module, _, name = path.rpartition("/")
        layers = int(stacking.is_stacked(path))
        shape = tuple(leaf.shape)
        found.append(Parameter(module, name, shape[layers:], shape[:layers]))
    return found


def filled(fill: Callable[[tuple[int, ...]], jax.Array], shapes: Mapping) -> dict:
    """`fill(shape)` for each shape of a nested dict."""
    return jax.tree.map(fill, shapes, is_leaf=lambda x: isinstance(x, tuple))


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
