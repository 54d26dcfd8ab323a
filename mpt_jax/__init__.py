"""Multitask Prompt Tuning (Wang et al., ICLR 2023) for T5 in JAX."""

from typing import Any


def __getattr__(name: str) -> Any:
    """`mpt_jax.load`, imported when it is first asked for: jax takes a second."""
    if name == "load":
        from mpt_jax.api import load

        return load
    raise AttributeError(f"module 'mpt_jax' has no attribute {name!r}")
