"""What a method adds to scanned layers, in memory and in files.

A scan has the layers of a stack in one, `encoder/layers/...`, with a leading axis. In a file they
are apart, `encoder/layers_0/...`, so that a product serves backbones of both kinds.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from mpt_jax.errors import UserError
from mpt_jax.product.leaves import is_per_task

# Pattern of what follows a stack in a path, and the axes that its leaves begin with.
STACKS = (("layers_[0-9]+", ()), ("layers", ("layers",)))
_ALL = "/layers/"
_ONE = re.compile(r"(.*)/layers_(\d+)/(.*)")


def is_stacked(path: str) -> bool:
    """Whether the parameter is of all layers of a stack."""
    return _ALL in path


def by_layer(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Path -> leaf, each layer by itself."""
    found = {}
    for path, leaf in flat.items():
        if not is_stacked(path):
            found[path] = leaf
            continue
        axis = _axis(path)
        for i in range(leaf.shape[axis]):
            found[path.replace(_ALL, f"/layers_{i}/")] = leaf.take(i, axis)
    return found


def as_in(backbone: Mapping[str, Any], flat: Mapping[str, Any]) -> dict[str, Any]:
    """Path -> leaf as the backbone has its layers: each by itself, or stacked.

    Args:
        backbone: path -> leaf or shape of its parameters.
        flat: path -> array on this host, each layer by itself.

    Raises:
        UserError: leaves that cannot be stacked: not in all layers, or of several shapes.
    """
    depths = {p.split(_ALL)[0]: leaf.shape[0] for p, leaf in backbone.items() if is_stacked(p)}
    found, stacks = {}, {}
    for path, leaf in flat.items():
        match = _ONE.fullmatch(path) if depths else None
        if match is None:
            found[path] = leaf
        else:
            stacks.setdefault((match[1], match[3]), {})[int(match[2])] = leaf
    for (stack, rest), layers in stacks.items():
        path, depth = f"{stack}{_ALL}{rest}", depths[stack.rpartition("/")[2]]
        whole = set(layers) == set(range(depth)) and len({x.shape for x in layers.values()}) == 1
        if not whole:
            raise UserError(
                f"the product has {path} not in all {depth} layers alike, and scan_layers makes "
                "one of them: set config.T5Config.scan_layers = False."
            )
        found[path] = np.stack([layers[i] for i in range(depth)], _axis(path))
    return found


def _axis(path: str) -> int:
    """Where the axis of layers is: after that of tasks."""
    return int(is_per_task(path))
