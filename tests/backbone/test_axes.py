import golden_folders
import jax
import jax.numpy as jnp
import pytest
import t5_golden
from flax import traverse_util

from mpt_jax.backbone import axes


def shapes_of(version):
    params = t5_golden.load(version).params
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)


@pytest.mark.parametrize("version", t5_golden.VERSIONS)
def test_every_parameter_has_a_name_per_dimension(version):
    shapes = shapes_of(version)
    found = axes.param_axes(shapes)
    flat_shapes = traverse_util.flatten_dict(shapes)
    flat_axes = traverse_util.flatten_dict(found)
    assert flat_axes.keys() == flat_shapes.keys()
    sizes = {"vocab": 60, "embed": 16, "joined_kv": 16, "mlp": 32, "heads": 2, "relpos_buckets": 8}
    for path, names in flat_axes.items():
        assert tuple(sizes[name] for name in names) == flat_shapes[path].shape, path


def test_names_are_those_of_t5x():
    found = axes.param_axes(shapes_of("v1_1"))
    layer = found["decoder"]["layers_1"]
    assert layer["encoder_decoder_attention"]["out"]["kernel"] == ("joined_kv", "embed")
    assert layer["mlp"]["wi_1"]["kernel"] == ("embed", "mlp")
    assert found["decoder"]["logits_dense"]["kernel"] == ("embed", "vocab")
    assert found["encoder"]["relpos_bias"]["rel_embedding"] == ("heads", "relpos_buckets")


def test_stacked_layers_have_an_axis_of_their_own():
    found = axes.param_axes(t5_golden.load("v1_1").scanned().params)
    layer = found["decoder"]["layers"]
    assert layer["mlp"]["wi_1"]["kernel"] == ("layers", "embed", "mlp")
    assert layer["pre_mlp_layer_norm"]["scale"] == ("layers", "embed")
    assert found["decoder"]["decoder_norm"]["scale"] == ("embed",)


def test_a_bias_per_layer_has_the_axes_of_one_per_stack():
    found = axes.param_axes(golden_folders.tree_of("umt5"))["encoder"]["layers_1"]
    assert found["relpos_bias"]["rel_embedding"] == ("heads", "relpos_buckets")
    tree = {"encoder": {"layers": {"relpos_bias": {"rel_embedding": jnp.zeros((3, 2, 8))}}}}
    found = axes.param_axes(tree)["encoder"]["layers"]["relpos_bias"]
    assert found["rel_embedding"] == ("layers", "heads", "relpos_buckets")


def test_parameters_without_a_rule_are_all_listed():
    shapes = shapes_of("v1_0") | {"prompt_bank": {"shared": jnp.zeros((4, 16))}, "x": jnp.zeros(2)}
    with pytest.raises(ValueError, match=r"prompt_bank/shared \(4, 16\): no rule\n  x \(2,\)"):
        axes.param_axes(shapes)
    rules = [(r"prompt_bank/.*", ("prompt_length", "embed")), ("x", (None,))]
    found = axes.param_axes(shapes, rules)
    assert found["prompt_bank"]["shared"] == ("prompt_length", "embed")
    assert found["x"] == (None,)


def test_a_rule_of_another_rank_is_an_error():
    with pytest.raises(ValueError, match=r"token_embedder/embedding \(3,\): rule"):
        axes.param_axes({"token_embedder": {"embedding": jnp.zeros(3)}})
