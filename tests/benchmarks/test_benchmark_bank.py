import importlib.util
import pathlib

import jax
import jax.numpy as jnp
import toy_prompts

import mpt_jax
from mpt_jax import prompts

PATH = pathlib.Path(__file__).parents[2] / "benchmarks" / "bank.py"


def benchmark():
    spec = importlib.util.spec_from_file_location("benchmark_bank", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_composing_gathers_the_rows_of_the_batch_alone():
    tasks, length, width, batch = 10_000, 20, 128, 32
    shapes = prompts.factorized_shapes(tasks, length, width, rank=1)
    bank = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
    used = benchmark().composition_bytes(bank, batch)
    prompt = 4 * batch * length * width
    assert prompt <= used < 2 * prompt


def test_a_bank_of_many_tasks(tmp_path):
    folder = toy_prompts.write(tmp_path)
    path = benchmark().write_bank(str(tmp_path / "bank"), folder, 50, 4)
    t5 = mpt_jax.load(folder, path, batch_size=4)
    sizes = [leaf.nbytes for leaf in t5.predictor.params["prompt_bank"].values()]
    assert sum(sizes) == 50 * 4 * (4 + 16) + 4 * 4 * 16
    assert (t5.embed_prompt("task_49") == t5.embed_prompt("task_0")).all()
    calls = []
    counted = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    assert set(benchmark().medians(counted, 2)) == {"a", "b"} and calls == ["a", "b"] * 3
