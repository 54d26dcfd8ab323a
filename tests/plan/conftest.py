"""What the tests of plans share."""

import pytest

from mpt_jax.plan import topology


@pytest.fixture
def compiler():
    """Skips the test where the TPU compiler is not installed."""
    if not topology.has_compiler():
        pytest.skip(f"needs the TPU compiler: {topology.INSTALL}")


@pytest.fixture
def no_compiler(monkeypatch):
    """As where the TPU compiler is not installed."""
    monkeypatch.setattr(topology, "has_compiler", lambda: False)
