"""Loads tests/golden/adapted_*.npz: adapters and biases put into Hugging Face's T5."""

import pathlib

import jax
import numpy as np
import seqio
import t5_golden
from flax import traverse_util

from mpt_jax.models import EncoderDecoderModel

GOLDEN = pathlib.Path(t5_golden.__file__).parents[1] / "golden"


def check(method, version: str, tree: str, kind: str) -> None:
    """The model with `method` and the stored parameters gives the stored logits and texts.

    Args:
        method: an `AdapterMethod`.
        version: one of `t5_golden.VERSIONS`.
        tree: what the method adds, "adapter" or "bias".
        kind: prefix of the expected outputs.
    """
    with np.load(GOLDEN / f"adapted_{version}.npz", allow_pickle=False) as stored:
        arrays = dict(stored)
    flat = {name.removeprefix("params/"): x for name, x in arrays.items() if "params/" in name}
    flat |= {name: x for name, x in arrays.items() if name.startswith(f"{tree}/")}
    params = traverse_util.unflatten_dict(flat, sep="/")
    vocabulary = seqio.ByteVocabulary()
    model = EncoderDecoderModel(t5_golden.CONFIGS[version], method, ("a",), vocabulary, vocabulary)
    shapes = method.added_shapes(1, params)
    assert jax.tree.map(np.shape, params[tree]) == shapes[tree]

    tokens, inputs = arrays["encoder_input_tokens"], arrays["decoder_input_tokens"]
    batch = {
        "encoder_input_tokens": tokens,
        "decoder_input_tokens": inputs,
        "task_ids": np.zeros(len(tokens), np.int32),
    }
    logits = jax.jit(model.logits_batch)(params, batch)
    np.testing.assert_allclose(logits, arrays[f"{kind}/logits"], atol=1e-4, rtol=1e-4)

    longer = np.zeros((len(tokens), t5_golden.MAX_DECODE_LENGTH), np.int32)
    predicted = jax.jit(model.predict_batch)(params, {**batch, "decoder_input_tokens": longer})
    np.testing.assert_array_equal(predicted, arrays[f"{kind}/greedy"])
