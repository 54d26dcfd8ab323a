"""The product of a finished run, of whatever method, for evaluation and inference."""

import dataclasses
import functools
import importlib
import itertools
import pkgutil
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from mpt_jax import feature_lengths, hosts, initializers, methods, prompts, user_modules
from mpt_jax.backbone import store
from mpt_jax.errors import UserError
from mpt_jax.methods import stacking
from mpt_jax.methods.base import FROZEN, Method, width_of
from mpt_jax.product import belonging, product_file
from mpt_jax.product.description import ProductInfo
from mpt_jax.product.leaves import is_per_task

_FEWEST_ROWS = 16  # of a product that grows


@dataclasses.dataclass(frozen=True)
class Restored(Method):
    """What a run has trained, as it is: nothing trains.

    Attributes:
        path: the prompt or adapter file, or the run folder that holds it.
        module: imported first, where it defines the method that has trained the product.
        growing: what tasks have of their own gets spare rows, up to a power of two, so that the
            product of some more tasks has the same shapes.
    """

    path: str
    module: str | None = None
    growing: bool = False

    name = "restored"
    groups = ((".*", FROZEN),)

    @functools.cached_property
    def _product(self) -> tuple[dict[str, np.ndarray], ProductInfo]:
        leaves, info = product_file.load(self.path)
        if not self.growing or len(info.tasks) == 1:  # one task serves all: no rows to choose from
            return leaves, info
        spare = max(_FEWEST_ROWS, 1 << (len(info.tasks) - 1).bit_length()) - len(info.tasks)
        for name in filter(is_per_task, leaves):
            leaf = leaves[name]
            leaves[name] = np.pad(leaf, [(0, spare), *[(0, 0)] * (leaf.ndim - 1)])
        return leaves, info

    @property
    def info(self) -> ProductInfo:
        """What the product says of itself."""
        return self._product[1]

    @property
    def rows(self) -> tuple[str, ...]:
        """The tasks, each in the place of its rows; "" for spare ones."""
        count = next((len(x) for name, x in self._product[0].items() if is_per_task(name)), 0)
        tasks = self.info.tasks
        return (*tasks, *itertools.repeat("", count - len(tasks)))

    def traces_as(self, other: Method) -> bool:
        """Whether both make one program of parameters that have the same shapes."""
        if not isinstance(other, Restored):
            return False
        return (self._trained_by, len(self.rows)) == (other._trained_by, len(other.rows))

    @functools.cached_property
    def _trained_by(self) -> type[Method]:
        return by_name(self._product[1].method, self.module)

    @property
    def _bank(self) -> dict[str, np.ndarray]:
        """The leaves of a prompt bank: other parameters are named by a path."""
        return {name: leaf for name, leaf in self._product[0].items() if "/" not in name}

    def _others(self, backbone: Mapping) -> dict[str, np.ndarray]:
        """The other parameters, in scanned layers where the backbone has them so."""
        others = {path: leaf for path, leaf in self._product[0].items() if "/" in path}
        return stacking.as_in(traverse_util.flatten_dict(backbone, sep="/"), others)

    @property
    def tuned_backbone(self) -> str:
        """That of the method: the file knows the rest of the backbone."""
        return self._trained_by.tuned_backbone

    @property
    def bank_axes(self) -> Mapping[str, Any]:
        """Those of the method."""
        return self._trained_by.bank_axes

    @property
    def axis_rules(self):
        """Those of the method."""
        return self._trained_by.axis_rules

    @property
    def compose(self):
        """That of the method."""
        return self._trained_by.compose

    @property
    def embed_text(self):
        """That of the method."""
        return self._trained_by.embed_text

    @property
    def reads_text(self) -> bool:
        """That of the method."""
        return self._trained_by.reads_text

    @property
    def interceptor(self):
        """That of the method."""
        return self._trained_by.interceptor

    @property
    def variables(self):
        """Those of the method."""
        return self._trained_by.variables

    def added_shapes(self, num_tasks: int, backbone: Mapping):
        """The shapes in the file of what the method has added to the backbone.

        Raises:
            UserError: a backbone of another width; a bank that makes no prompts; tuned parameters
                of the backbone that it does not have in that shape.
        """
        info = self._product[1]
        width = width_of(backbone)
        belonging.check_backbone(self.path, info, width, info.vocabulary_size, info.backbone)
        own = traverse_util.flatten_dict(backbone, sep="/")
        self._check_composes()
        added = {f"prompt_bank/{name}": leaf.shape for name, leaf in self._bank.items()}
        for path, leaf in self._others(backbone).items():
            if path.split("/")[0] not in store.BACKBONE_TREES:
                added[path] = leaf.shape
            elif path not in own or tuple(own[path].shape) != leaf.shape:
                raise UserError(
                    f"{self.path} holds {path} of shape {leaf.shape}, which this backbone does not "
                    "have: set the model gin to that of its run."
                )
        return traverse_util.unflatten_dict(added, sep="/")

    def _check_composes(self) -> None:
        """Refuses a bank that its method makes no prompts of, before a large backbone is read."""
        if not self._bank:
            return
        states = jax.ShapeDtypeStruct((1, 1, self.info.width), jnp.float32)
        text = prompts.Text(states, jax.ShapeDtypeStruct((1, 1), bool))
        given = (self._bank, jax.ShapeDtypeStruct((1,), jnp.int32), text)
        try:
            made, after = jax.eval_shape(lambda *x: (self.compose(*x), self.embed_text(*x)), *given)
        except (TypeError, ValueError, KeyError, IndexError) as error:
            raise UserError(
                f"{self.path} is damaged, the method {self.info.method!r} makes no prompts of it "
                f"({str(error).splitlines()[0]}): restore it from a copy, or train again."
            ) from error
        if (made.shape[0], *made.shape[2:]) != (1, self.info.width) or after.shape != states.shape:
            raise UserError(
                f"{self.path} is damaged, its prompts are {made.shape[1:]} instead of [P, "
                f"{self.info.width}]: restore it from a copy, or train again."
            )

    def start(self, context: initializers.Context, rng: jax.Array):
        """The file's parameters, after it was checked against the backbone."""
        context.check_product(self.path, self._product[1])
        started = traverse_util.unflatten_dict(
            {p: jnp.asarray(x) for p, x in self._others(context.backbone_shapes).items()}, sep="/"
        )
        if self._bank:
            started["prompt_bank"] = {name: jnp.asarray(leaf) for name, leaf in self._bank.items()}
        return started

    def save(self, directory, params, config, info, improved=None):
        """Nothing was trained.

        Raises:
            UserError: always.
        """
        raise UserError("a restored product is for `t5x eval` and `t5x infer`; it does not train.")


def by_name(name: str, module: str | None = None) -> type[Method]:
    """The method whose `name` it is, among those in `mpt_jax/methods/` and in `module`.

    Raises:
        UserError: there is none, or no such module.
    """
    if module is not None:
        user_modules.load(module, "METHOD_MODULE")
    for shipped in pkgutil.iter_modules(methods.__path__):
        importlib.import_module(f"{methods.__name__}.{shipped.name}")
    known = {cls.name: cls for cls in _concrete(Method)}
    if name not in known:
        raise UserError(
            f"the product was trained by a method {name!r} that is not known here, only "
            f"{', '.join(sorted(known))}: name the module that defines it, "
            "--gin.METHOD_MODULE=MODULE."
        )
    return known[name]


def _concrete(base: type[Method]) -> list[type[Method]]:
    found = [base] if isinstance(getattr(base, "name", None), str) else []
    return found + [cls for child in base.__subclasses__() for cls in _concrete(child)]


def tasks_of(path: str) -> tuple[str, ...]:
    """Names of the K tasks of a product, in its order (UserError: unreadable)."""
    return product_file.load(path)[1].tasks


def lengths_of(path: str, instead: Mapping[str, int] | None = None) -> dict[str, int]:
    """The token limits that a product was trained with, {"inputs": T, "targets": S}.

    Args:
        path: the product.
        instead: other limits (TASK_FEATURE_LENGTHS), which win; the user is told.

    Raises:
        UserError: the product is unreadable; `instead` is not a pair of limits.
    """
    trained = {**feature_lengths.DEFAULT, **product_file.load(path)[1].feature_lengths}
    if instead is None:
        return trained
    feature_lengths.check(instead)
    if dict(instead) != trained:
        hosts.warn(
            f"TASK_FEATURE_LENGTHS = {dict(instead)} is used, but {path} was trained with "
            f"{trained}: scores may differ from those of its run."
        )
    return dict(instead)
