"""Tests that need the real T5X: `make test-t5x T5X_PATH=...` (docs/t5x.md).

Four virtual CPU devices, as in `tests/`. Where T5X is not installed every test is skipped, and
the reason printed; with a T5X that cannot be used they fail.
"""

import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import gin
import pytest
import toy

from mpt_jax.errors import UserError
from mpt_jax.real_t5x import installed
from mpt_jax.t5x import engines


def pytest_collection_modifyitems(items):
    try:
        installed.find()
    except UserError as missing:
        for item in items:
            item.add_marker(pytest.mark.skip(reason=str(missing)))


@pytest.fixture(name="backbone", scope="module")
def _backbone(tmp_path_factory):
    """A folder with the toy backbone."""
    folder = tmp_path_factory.mktemp("toy") / "backbone"
    toy.save(folder)
    return folder


@pytest.fixture(autouse=True)
def _own_engine_and_no_configuration():
    yield
    engines.choose(engines.OWN)
    gin.clear_config()


_RECORDED = pytest.StashKey[list]()


@pytest.fixture(name="record")
def _record(request):
    """`record(run, mesh, differences)` adds a row to the table of equal numbers of docs/t5x.md."""
    rows = request.config.stash.setdefault(_RECORDED, [])
    return lambda run, mesh, found: rows.append((run, mesh, found))


def pytest_terminal_summary(terminalreporter, config):
    rows = config.stash.get(_RECORDED, [])
    if rows:
        columns = list(rows[0][2])
        terminalreporter.line(f"| run | mesh | {' | '.join(columns)} |")
        terminalreporter.line("|---" * (2 + len(columns)) + "|")
    for run, mesh, found in rows:
        shown = ("none" if found[c] is None else f"{found[c]:.1e}" for c in columns)
        values = " | ".join(shown)
        terminalreporter.line(f"| {run} | {mesh} | {values} |")
