import importlib.util
import pathlib

import pytest

PATH = pathlib.Path(__file__).parents[2] / "benchmarks" / "step.py"


def benchmark():
    spec = importlib.util.spec_from_file_location("benchmark_step", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("size", "width"), [("mini", 128), ("t5_small", 512), ("t5_1_1_xl", 2048)])
def test_a_size_needs_no_files(size, width):
    assert benchmark().sizes(size).emb_dim == width
