"""Makes tests/golden/huggingface/: tiny backbones as transformers saves them, and their logits.

    t5_v1_0, t5_v1_1   the models of t5_v1_0.npz and t5_v1_1.npz, which hold their logits
    mt5                gated and untied, in shards; with logits.npz: of the batch in t5_v1_0.npz
    sentinels.json     ids that transformers gives to a text in the mini vocabulary

Run in the environment of make_t5_golden.py, with sentencepiece==0.2.3 and protobuf:

    golden-venv/bin/python tests/golden/make_huggingface.py
"""

import json
import pathlib
import shutil

import make_t5_golden as t5
import numpy as np
import torch
import transformers

OUT = t5.OUT / "huggingface"
MINI = t5.OUT.parents[1] / "mpt_jax" / "assets" / "mini"
TEXT = "premise: a <extra_id_0> b <extra_id_31>"


def golden_model(version: str, stored: dict[str, np.ndarray]) -> torch.nn.Module:
    """The model whose weights are in t5_<version>.npz."""
    for seed in range(1000):
        model = t5.model_of(version, seed)
        if (model.shared.weight.numpy() == stored["params/token_embedder/embedding"]).all():
            return model
    raise SystemExit(f"t5_{version}.npz is of no seed: run make_t5_golden.py again.")


def mt5_model() -> torch.nn.Module:
    config = transformers.MT5Config(
        vocab_size=t5.VOCAB,
        d_model=t5.WIDTH,
        d_kv=t5.HEAD_DIM,
        d_ff=t5.MLP,
        num_layers=1,
        num_decoder_layers=2,
        num_heads=3,  # their width together is not the model's, as in mT5 small
        relative_attention_num_buckets=8,
        relative_attention_max_distance=10,
        dropout_rate=0.0,
        attn_implementation="eager",
    )
    model = transformers.MT5ForConditionalGeneration(config).eval()
    model.lm_head.weight = torch.nn.Parameter(torch.empty(t5.VOCAB, t5.WIDTH))
    t5.randomize(model, torch.Generator().manual_seed(0))
    return model


def main() -> None:
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    shutil.rmtree(OUT, ignore_errors=True)
    for version in ("v1_0", "v1_1"):
        with np.load(t5.OUT / f"t5_{version}.npz") as stored:
            batch = dict(stored)
        golden_model(version, batch).save_pretrained(OUT / f"t5_{version}")
    model = mt5_model()
    model.save_pretrained(OUT / "mt5", max_shard_size="20KB")
    tokens = torch.tensor(batch["encoder_input_tokens"]).long()
    decoder_inputs = torch.tensor(batch["decoder_input_tokens"]).long()
    mask = (tokens != 0).long()
    logits = model(tokens, mask, decoder_input_ids=decoder_inputs).logits
    np.savez_compressed(OUT / "mt5" / "logits.npz", logits=logits.numpy())
    tokenizer = transformers.T5Tokenizer.from_pretrained(MINI)
    ids = {"text": TEXT, "ids": tokenizer(TEXT).input_ids}
    (OUT / "sentinels.json").write_text(json.dumps(ids) + "\n")
    for file in pathlib.Path(OUT).rglob("*.*"):
        file.chmod(0o644) if file.name != "generation_config.json" else file.unlink()


if __name__ == "__main__":
    main()
