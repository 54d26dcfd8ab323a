"""Tuned parameters on T5-Base v1.0, as the paper's table has them; no weight is allocated."""

import jax
import numpy as np
import pytest
import seqio

from mpt_jax.backbone.config import T5Config
from mpt_jax.methods.adapter import Adapter
from mpt_jax.methods.attempt import Attempt
from mpt_jax.methods.base import FROZEN
from mpt_jax.methods.bitfit import BitFit
from mpt_jax.methods.dept import DePT
from mpt_jax.methods.dpt import DPT
from mpt_jax.methods.full import FullTraining
from mpt_jax.methods.ia3 import IA3
from mpt_jax.methods.lora import LoRA
from mpt_jax.methods.mpt import MPT
from mpt_jax.methods.prompt_tuning import PromptTuning
from mpt_jax.methods.residual import ResidualPromptTuning
from mpt_jax.methods.ulpt import ULPT
from mpt_jax.models import EncoderDecoderModel
from mpt_jax.product import product_file
from mpt_jax.product.description import ProductInfo

BASE = T5Config(
    vocab_size=32128,
    emb_dim=768,
    num_heads=12,
    head_dim=64,
    mlp_dim=3072,
    num_encoder_layers=12,
    num_decoder_layers=12,
)
VOCABULARY = seqio.ByteVocabulary()  # any: no number depends on it
SHAPES = {"encoder_input_tokens": (1, 8), "decoder_input_tokens": (1, 4)}


def _tuned(method, num_tasks=1):
    tasks = tuple(f"task_{i}" for i in range(num_tasks))
    model = EncoderDecoderModel(BASE, method, tasks, VOCABULARY, VOCABULARY)
    shapes = jax.eval_shape(lambda k: model.get_initial_variables(k, SHAPES), jax.random.key(0))
    labels = model.param_labels(shapes["params"])
    sizes = jax.tree.map(
        lambda x, group: 0 if group == FROZEN else x.size, shapes["params"], labels
    )
    return sum(jax.tree.leaves(sizes))


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (PromptTuning(), 76_800),
        (MPT(), 77_668),
        (DePT(), 76_800),
        (DPT(), 8_680),
        (ULPT(), 7_936),
        (ResidualPromptTuning(), 693_904),  # reported: 0.69M
        (BitFit(), 282_496),  # reported: 280K
        (Adapter(), 1_855_104),  # reported: 1.9M
        (LoRA(), 884_736),  # as PEFT counts
        (IA3(), 129_024),  # as PEFT counts
        (FullTraining(), 222_903_552),  # reported: 220M
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_tuned_parameters_of_t5_base(method, expected):
    assert _tuned(method) == expected


def test_eight_joint_targets_share_a_prompt():
    assert _tuned(MPT(), num_tasks=8) == 76_800 + 8 * 868  # 10.5K a task


def test_attempt(tmp_path):
    info = ProductInfo("prompt_tuning", ("a", "b"), 100, 768, 0, 32128, "", {}, {}, {}, 0, {})
    product_file.save(str(tmp_path), {"task_prompts": np.zeros((2, 100, 768))}, info)
    assert _tuned(Attempt(str(tmp_path))) == 231_936  # reported: 232K
