"""A user's module is imported while a run is under way, when gin takes no new configurables."""

import gin
import pytest

from mpt_jax.errors import UserError
from mpt_jax.methods import restored
from mpt_jax.tasks import mixtures


def method_of(module):
    """A method by its name, after the import of METHOD_MODULE."""
    return restored.by_name("mpt", module)


@pytest.fixture(autouse=True)
def _a_run_has_started():
    gin.clear_config()
    gin.finalize()
    yield
    gin.clear_config()


@pytest.mark.parametrize(
    ("load", "module"), [(mixtures.import_tasks, "toy_own_tasks"), (method_of, "toy_own_method")]
)
def test_a_module_may_register_configurables(load, module, tmp_path, monkeypatch):
    (tmp_path / f"{module}.py").write_text(
        f"import gin\n\n\n@gin.configurable\ndef {module}(x=1):\n    return x\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    load(module)
    assert gin.config_is_locked()
    assert gin.get_configurable(module)() == 1


def test_a_module_that_is_not_there_is_named():
    with pytest.raises(UserError, match="Cannot import MIXTURE_OR_TASK_MODULE 'nowhere'"):
        mixtures.import_tasks("nowhere")
