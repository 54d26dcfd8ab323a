"""How the states of a network lie on the devices of a mesh: split over their batch."""

import contextlib
from collections.abc import Iterator

import jax
from jax.sharding import NamedSharding

_batch: NamedSharding | None = None


@contextlib.contextmanager
def split_over_batch(sharding: NamedSharding) -> Iterator[None]:
    """Within it networks are traced whose states lie as `sharding` says, of an array [B, ...]."""
    global _batch
    before, _batch = _batch, sharding
    try:
        yield
    finally:
        _batch = before


def states(x: jax.Array) -> jax.Array:
    """The states [B, ...] of a network, laid out as `split_over_batch` says; else as they are."""
    return x if _batch is None else jax.lax.with_sharding_constraint(x, _batch)
