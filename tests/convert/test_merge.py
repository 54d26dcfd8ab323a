"""A backbone with LoRA or (IA)³ in it computes what PEFT does with the adapter beside it."""

import re

import jax
import module_golden
import numpy as np
import pytest
import t5_golden
import toy

from mpt_jax import cli
from mpt_jax.backbone import store
from mpt_jax.backbone.formats import backbones
from mpt_jax.backbone.network import Transformer
from mpt_jax.engine import initialize, saving
from mpt_jax.methods.ia3 import IA3
from mpt_jax.methods.mpt import MPT

KEY = jax.random.key(0)


def loaded(path, config):
    """The parameters of a backbone."""
    tokens = np.ones((1, 2), np.int32)
    shapes = jax.eval_shape(lambda key: Transformer(config).init(key, tokens, tokens), KEY)
    one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    shardings = jax.tree.map(lambda _: one, shapes["params"])
    return backbones.load(path, shapes["params"], shardings)


@pytest.mark.parametrize("kind", module_golden.VERSIONS)
def test_logits_are_those_of_the_adapter(tmp_path, capsys, kind):
    """From PEFT's adapter and from ours, in each format of backbones."""
    backbone = module_golden.backbone(tmp_path, kind)
    theirs = str(module_golden.FOLDER / kind)
    flags = [f"--backbone={backbone}"]
    ours = str(tmp_path / "ours")
    assert cli.main(["convert", theirs, ours, "--to=mpt_jax", "--tasks=x", *flags]) == 0
    expected, version = module_golden.outputs(), module_golden.VERSIONS[kind]
    tokens = [expected[f"{stack}_input_tokens"] for stack in ("encoder", "decoder")]
    plain = t5_golden.load(version).logits(*tokens, None)
    for source, to, name in (
        (theirs, "huggingface", "hf"),
        (ours, "mpt_jax", "merged"),
        (ours, "t5x", "checkpoint_0"),
    ):
        place = str(tmp_path / name)
        assert cli.main(["convert", source, place, f"--to={to}", "--merge", *flags]) == 0
        config = t5_golden.CONFIGS[version]
        logits = t5_golden.compiled(config)({"params": loaded(place, config)}, *tokens, None)
        module_golden.check_logits(kind, logits)
        assert np.abs(logits - plain).max() > 0.1
        fingerprint = capsys.readouterr().out.split()[-1]
        assert fingerprint == backbones.identify(place).fingerprint


def test_one_task_of_several_and_a_smaller_type(tmp_path, capsys):
    store.save(str(tmp_path / "backbone"), toy.backbone(), toy.CONFIG, dtype="bfloat16")
    model = toy.model(IA3())
    held = jax.tree.map(lambda x: x.astype("bfloat16").astype("float32"), toy.backbone())
    params = initialize.start(model, held, KEY)
    rng = np.random.default_rng(0)
    params["per_task"] = jax.tree.map(lambda x: x + rng.normal(size=x.shape), params["per_task"])
    saving.save(model, str(tmp_path / "run"), params, step=1, results={}, feature_lengths={})
    command = [
        "convert",
        str(tmp_path / "run"),
        str(tmp_path / "merged"),
        "--to=mpt_jax",
        "--merge",
    ]
    command.append(f"--backbone={tmp_path}/backbone")
    assert cli.main(command) == 2
    assert "nli, qa, sst, and a backbone is merged with one" in capsys.readouterr().err
    assert cli.main([*command, "--tasks=qa"]) == 0
    kernel = backbones.open_weights(str(tmp_path / "merged")).tensors[
        "encoder/layers_1/mlp/wo/kernel"
    ]
    layer = params["per_task"]["encoder"]["layers_1"]["mlp"]["wo"]["ia3_input"][1]
    whole = np.asarray(held["encoder"]["layers_1"]["mlp"]["wo"]["kernel"])
    assert kernel.dtype == "float32"
    np.testing.assert_allclose(kernel.whole(), whole * np.asarray(layer)[:, None], rtol=1e-6)
    command[2] = str(tmp_path / "rounded")
    assert cli.main([*command, "--tasks=qa", "--dtype=bfloat16"]) == 0
    rounded = backbones.open_weights(str(tmp_path / "rounded")).tensors
    assert {tensor.dtype for tensor in rounded.values()} == {"bfloat16"}


def test_what_cannot_be_merged_is_said(tmp_path, capsys):
    store.save(str(tmp_path / "b"), toy.backbone(), toy.CONFIG)
    model = toy.model(MPT(prompt_length=4))
    params = initialize.start(model, toy.backbone(), KEY)
    saving.save(model, str(tmp_path / "run"), params, step=1, results={}, feature_lengths={})
    common = ["convert", str(tmp_path / "run"), str(tmp_path / "x"), "--merge"]
    for flags, message in (
        (["--to=mpt_jax"], "name the one that SRC belongs to, --backbone"),
        (["--to=peft", f"--backbone={tmp_path}/b"], "--to=peft is not for that"),
        (["--to=mpt_jax", f"--backbone={tmp_path}/b"], "'mpt': only LoRA and .* can be merged"),
    ):
        assert cli.main([*common, *flags]) == 2

        assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "x").exists()
