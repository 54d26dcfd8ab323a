"""Test setting: CPU, four virtual devices, strict promotion, no network."""

import os
import tempfile

import xla

from mpt_jax import process

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = xla.flags(4)
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
# Toy programs cost more to optimise than to run; a quarter of the suite's time was that.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
process.tune()  # as the commands do: else a tenth of the suite's time goes to garbage collection
# What a test or its subprocess has compiled, later ones take; for each worker of pytest-xdist.
_PROGRAMS = tempfile.TemporaryDirectory(prefix="programs_")
os.environ["JAX_COMPILATION_CACHE_DIR"] = _PROGRAMS.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

# The files that take minutes, longest first: begun last, one would keep a single process busy.
LONGEST = (
    "test_docs.py",
    "test_several_hosts.py",
    "test_loop_resume.py",
    "test_loop_product.py",
    "test_end_to_end.py",
    "test_stress.py",
    "test_sweep.py",
    "test_exact_resume.py",
    "test_killed.py",
)


def pytest_collection_modifyitems(items):
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(LONGEST)))
