"""Methods that add to modules, on scanned layers: the numbers of layers by themselves."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy
import toy_run
from flax import traverse_util

from mpt_jax.engine import initialize, saving
from mpt_jax.errors import UserError
from mpt_jax.methods import stacking
from mpt_jax.methods.adapter import Adapter
from mpt_jax.methods.bitfit import BitFit
from mpt_jax.methods.ia3 import IA3
from mpt_jax.methods.lora import LoRA
from mpt_jax.methods.restored import Restored
from mpt_jax.product import product_file

KEY = jax.random.key(0)
METHODS = [Adapter(reduction=4), BitFit(), LoRA(rank=3), IA3()]
SCANNED = dataclasses.replace(toy.CONFIG, scan_layers=True)


def stacked(tree):
    """A nested dict with each layer by itself, as one with scanned layers."""
    shapes = jax.eval_shape(
        lambda key: dataclasses.replace(toy.model(), config=SCANNED).get_initial_variables(
            key, toy.SHAPES
        ),
        KEY,
    )["params"]
    flat = traverse_util.flatten_dict(jax.tree.map(np.asarray, tree), sep="/")
    found = stacking.as_in(traverse_util.flatten_dict(shapes, sep="/"), flat)
    return traverse_util.unflatten_dict({p: jnp.asarray(x) for p, x in found.items()}, sep="/")


def moved(model, backbone):
    """Parameters at which what the method adds changes the outputs."""
    params = initialize.start(model, jax.tree.map(jnp.array, backbone), KEY)
    tree = model.method.tree
    rng = np.random.default_rng(1)
    params[tree] = jax.tree.map(
        lambda leaf: leaf + 0.3 * rng.normal(size=leaf.shape).astype(np.float32), params[tree]
    )
    return params


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_step_and_a_product_are_those_of_single_layers(method, tmp_path):
    batch = toy.batch([0, 1, 2, 0])
    plain = toy.model(method)
    scanned = dataclasses.replace(plain, config=SCANNED)
    params = moved(plain, toy.backbone())
    in_one = stacked(params)
    shapes = jax.eval_shape(lambda key: scanned.get_initial_variables(key, toy.SHAPES), KEY)
    assert jax.tree.map(np.shape, in_one) == jax.tree.map(np.shape, shapes["params"])
    started = jax.tree.map(np.shape, initialize.start(scanned, stacked(toy.backbone()), KEY))
    assert started == jax.tree.map(np.shape, in_one)

    # Read before a step, which reuses the buffers of what trains.
    saving.save(plain, str(tmp_path / "plain"), params, step=1, results={}, feature_lengths={})
    saving.save(scanned, str(tmp_path / "scanned"), in_one, step=1, results={}, feature_lengths={})
    for file in ("adapter.safetensors", "adapter.json"):
        written = [(tmp_path / kind / file).read_bytes() for kind in ("plain", "scanned")]
        assert written[0] == written[1]
    restored = dataclasses.replace(scanned, method=Restored(str(tmp_path / "plain")))
    served = initialize.start(restored, stacked(toy.backbone()), KEY)
    use = "predict_batch" if method.name == "lora" else "score_batch"  # it takes a while to compile
    expected = jax.jit(getattr(plain, use))(params, batch)
    found = jax.jit(getattr(restored, use))(served, batch)
    np.testing.assert_allclose(found, expected, rtol=1e-5)

    runs = [toy_run.Run(plain, params), toy_run.Run(scanned, in_one)]
    losses = [run.step(batch)["loss"] for run in runs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    expected = traverse_util.flatten_dict(stacked(runs[0].trainable), sep="/")
    found = traverse_util.flatten_dict(runs[1].trainable, sep="/")
    assert found.keys() == expected.keys()
    for path, leaf in expected.items():
        if not path.endswith("key/bias"):  # it moves nothing: Adam divides rounding errors
            np.testing.assert_allclose(found[path], leaf, atol=2e-3, err_msg=path)


def test_what_only_some_layers_have_is_not_scanned(tmp_path):
    model = toy.model(IA3())
    params = moved(model, toy.backbone())
    saving.save(model, str(tmp_path), params, step=1, results={}, feature_lengths={})
    bank, info = product_file.load(str(tmp_path))
    some = {path: leaf for path, leaf in bank.items() if "encoder/layers_1" not in path}
    product_file.save(str(tmp_path), some, info, product_file.ADAPTER)
    Restored(str(tmp_path)).added_shapes(3, toy.backbone())
    with pytest.raises(UserError, match=r"per_task/encoder/layers/.*in all 2 layers.*scan_lay"):
        Restored(str(tmp_path)).added_shapes(3, stacked(toy.backbone()))
