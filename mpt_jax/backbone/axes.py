"""The logical axis of every dimension of every backbone parameter, in T5X's names.

One table serves our own partitioner, which maps the names to the mesh, and T5X, which asks a
model for them (`params_axes`). A method that adds parameters brings its own rows.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import flax

AxisNames = tuple[str | None, ...]
Rule = tuple[str, AxisNames]

# Regular expressions on the whole parameter path; the first that matches counts.
RULES: tuple[Rule, ...] = (
    (r"token_embedder/embedding", ("vocab", "embed")),
    (r"(encoder|decoder)/relpos_bias/rel_embedding", ("heads", "relpos_buckets")),
    (r"(encoder|decoder)/layers_\d+/relpos_bias/rel_embedding", ("heads", "relpos_buckets")),
    (r"(encoder|decoder)/\w*norm/scale", ("embed",)),
    (r"(encoder|decoder)/layers_\d+/\w*norm/scale", ("embed",)),
    (r"(encoder|decoder)/layers_\d+/\w*attention/(query|key|value)/kernel", ("embed", "joined_kv")),
    (r"(encoder|decoder)/layers_\d+/\w*attention/out/kernel", ("joined_kv", "embed")),
    (r"(encoder|decoder)/layers_\d+/mlp/wi(_\d+)?/kernel", ("embed", "mlp")),
    (r"(encoder|decoder)/layers_\d+/mlp/wo/kernel", ("mlp", "embed")),
    (r"decoder/logits_dense/kernel", ("embed", "vocab")),
)
_ONE_LAYER, _ALL_LAYERS = r"layers_\d+", "layers"


def param_axes(shapes: Mapping[str, Any], extra_rules: Iterable[Rule] = ()) -> dict[str, Any]:
    """Names every dimension of every parameter.

    Args:
        shapes: nested mapping of parameters, arrays or `jax.ShapeDtypeStruct`s.
        extra_rules: (regular expression, axis names) tried before `RULES`.

    Returns:
        nested dict like `shapes`, whose leaves are tuples with one name per dimension.

    Raises:
        ValueError: parameters without a rule, or with a rule of another rank; all are listed.
    """
    rules = [*extra_rules, *RULES]
    rules += [_scanned(rule) for rule in rules if _ONE_LAYER in rule[0]]
    rules = [(re.compile(pattern), names) for pattern, names in rules]
    axes, wrong = {}, []
    for path, leaf in flax.traverse_util.flatten_dict(flax.core.unfreeze(shapes), sep="/").items():
        names = next((names for pattern, names in rules if pattern.fullmatch(path)), None)
        if names is None or len(names) != len(leaf.shape):
            wrong.append(
                f"{path} {tuple(leaf.shape)}: " + (f"rule {names}" if names else "no rule")
            )
        axes[path] = names
    if wrong:
        raise ValueError("Parameters without matching logical axes:\n  " + "\n  ".join(wrong))
    return flax.traverse_util.unflatten_dict(axes, sep="/")


def _scanned(rule: Rule) -> Rule:
    """The rule of a layer's parameter for those of all layers, stacked (T5Config.scan_layers)."""
    pattern, names = rule
    return pattern.replace(_ONE_LAYER, _ALL_LAYERS), ("layers", *names)
