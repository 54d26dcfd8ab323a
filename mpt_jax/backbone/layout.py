"""How the states of a network lie on the devices of a mesh: split over their batch."""

import contextlib
import contextvars
from collections.abc import Iterator

import jax
from jax.sharding import NamedSharding

# Of each thread its own: several may trace at once.
_batch: contextvars.ContextVar[NamedSharding | None] = contextvars.ContextVar("batch", default=None)


@contextlib.contextmanager
def split_over_batch(sharding: NamedSharding) -> Iterator[None]:
    """Within it networks are traced whose states lie as `sharding` says, of an array [B, ...]."""
    before = _batch.set(sharding)
    try:
        yield
    finally:
        _batch.reset(before)


def states(x: jax.Array) -> jax.Array:
    """The states [B, ...] of a network, laid out as `split_over_batch` says; else as they are."""
    sharding = _batch.get()
    return x if sharding is None else jax.lax.with_sharding_constraint(x, sharding)
