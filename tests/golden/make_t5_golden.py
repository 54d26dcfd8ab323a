"""Makes tests/golden/t5_*.npz with Hugging Face transformers: an independent T5 to compare with.

Tiny random T5 v1.0 and v1.1 models, their weights under T5X's names, and what they compute:
logits, greedy and beam search, with a padded batch, without and with a soft prompt. Run in an
separate environment; the tests need only the files:

    python3.11 -m venv golden-venv
    golden-venv/bin/pip install torch==2.13.0 transformers==5.23.0 numpy==2.4.6
    golden-venv/bin/python tests/golden/make_t5_golden.py
"""

import pathlib

import numpy as np
import torch
import transformers

OUT = pathlib.Path(__file__).parent
VOCAB, WIDTH, HEADS, HEAD_DIM, MLP, LAYERS = 60, 16, 2, 8, 32, 2
BATCH, INPUTS, TARGETS, PROMPT = 6, 9, 7, 4
MAX_DECODE_LENGTH, BEAMS = 12, 4
LENGTH_PENALTIES = (0.6, 1.0)
END = 1


def model_of(version: str, seed: int) -> transformers.T5ForConditionalGeneration:
    gated = version == "v1_1"
    config = transformers.T5Config(
        vocab_size=VOCAB,
        d_model=WIDTH,
        d_kv=HEAD_DIM,
        d_ff=MLP,
        num_layers=LAYERS,
        num_heads=HEADS,
        # Small, so that a short text reaches the logarithmic and the last bucket.
        relative_attention_num_buckets=8,
        relative_attention_max_distance=10,
        feed_forward_proj="gated-gelu" if gated else "relu",
        tie_word_embeddings=not gated,
        dropout_rate=0.0,
        decoder_start_token_id=0,
        attn_implementation="eager",
    )
    model = transformers.T5ForConditionalGeneration(config).eval()
    if gated:
        # transformers 5 ties the two in memory whatever the config says.
        model.lm_head.weight = torch.nn.Parameter(torch.empty(VOCAB, WIDTH))
    randomize(model, torch.Generator().manual_seed(seed))
    return model


def randomize(model: torch.nn.Module, generator: torch.Generator) -> None:
    """Random weights under which the layers outweigh the embedding they add to.

    Otherwise a model with tied embeddings repeats its last token for ever.
    """
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        if "layer_norm" in name:
            weight.data = 1.0 + 0.2 * noise
        elif name == "shared.weight":
            weight.data = noise
        elif "relative_attention_bias" in name:
            weight.data = 3.0 * noise
        elif name == "lm_head.weight":
            weight.data = 0.25 * noise
        elif ".q." in name or ".k." in name:
            weight.data = noise / WIDTH**0.5
        else:
            weight.data = 4.0 * noise / weight.shape[-1] ** 0.5
    model.lm_head.weight.data[END] *= 1.5  # else few texts end
    model.encoder.final_layer_norm.weight.data *= 2.0
    model.decoder.final_layer_norm.weight.data *= 2.0


def t5x_weights(model: torch.nn.Module) -> dict[str, np.ndarray]:
    """Hugging Face's weights under T5X's names; kernels are transposed."""
    layers = {"encoder": ("attention", "mlp"), "decoder": ("self_attention", None, "mlp")}
    weights = {"token_embedder/embedding": model.shared.weight}
    for stack, parts in layers.items():
        blocks = getattr(model, stack)
        weights[f"{stack}/{stack}_norm/scale"] = blocks.final_layer_norm.weight
        first = blocks.block[0].layer[0].SelfAttention
        weights[f"{stack}/relpos_bias/rel_embedding"] = first.relative_attention_bias.weight.T
        for i, block in enumerate(blocks.block):
            at = f"{stack}/layers_{i}"
            weights |= attention_weights(f"{at}/{parts[0]}", block.layer[0].SelfAttention)
            norm = "pre_attention" if stack == "encoder" else "pre_self_attention"
            weights[f"{at}/{norm}_layer_norm/scale"] = block.layer[0].layer_norm.weight
            if stack == "decoder":
                cross = block.layer[1]
                weights |= attention_weights(
                    f"{at}/encoder_decoder_attention", cross.EncDecAttention
                )
                weights[f"{at}/pre_cross_attention_layer_norm/scale"] = cross.layer_norm.weight
            mlp = block.layer[-1]
            weights[f"{at}/pre_mlp_layer_norm/scale"] = mlp.layer_norm.weight
            for name, module in mlp.DenseReluDense.named_children():
                if isinstance(module, torch.nn.Linear):
                    weights[f"{at}/mlp/{name}/kernel"] = module.weight.T
    if model.lm_head.weight is not model.shared.weight:
        weights["decoder/logits_dense/kernel"] = model.lm_head.weight.T
    return {name: weight.detach().numpy().copy() for name, weight in weights.items()}


def attention_weights(at: str, attention: torch.nn.Module) -> dict[str, torch.Tensor]:
    names = {"query": "q", "key": "k", "value": "v", "out": "o"}
    return {f"{at}/{ours}/kernel": getattr(attention, hf).weight.T for ours, hf in names.items()}


def batch_of(rng: np.random.Generator) -> dict[str, np.ndarray]:
    inputs = rng.integers(2, VOCAB, (BATCH, INPUTS))
    for row, length in enumerate((9, 4, 7, 1, 9, 6)):
        inputs[row, length:] = 0
    decoder_inputs = rng.integers(2, VOCAB, (BATCH, TARGETS))
    decoder_inputs[:, 0] = 0
    return {
        "encoder_input_tokens": inputs.astype(np.int32),
        "decoder_input_tokens": decoder_inputs.astype(np.int32),
        "prompts": rng.normal(size=(BATCH, PROMPT, WIDTH)).astype(np.float32),
    }


def outputs_of(model: torch.nn.Module, batch: dict[str, np.ndarray], prompted: bool) -> dict:
    tokens = torch.tensor(batch["encoder_input_tokens"]).long()
    mask = (tokens != 0).long()
    embedded = model.shared(tokens)
    if prompted:
        prompts = torch.tensor(batch["prompts"])
        embedded = torch.cat([prompts, embedded], dim=1)
        mask = torch.cat([torch.ones(prompts.shape[:2], dtype=torch.long), mask], dim=1)
    inputs = {"inputs_embeds": embedded, "attention_mask": mask}
    decoder_inputs = torch.tensor(batch["decoder_input_tokens"]).long()
    kind = "prompted" if prompted else "plain"
    outputs = {f"{kind}/logits": model(**inputs, decoder_input_ids=decoder_inputs).logits.numpy()}
    outputs[f"{kind}/greedy"] = padded(
        model.generate(**inputs, max_new_tokens=MAX_DECODE_LENGTH, do_sample=False)
    )
    for penalty in LENGTH_PENALTIES:
        found = model.generate(
            **inputs,
            max_new_tokens=MAX_DECODE_LENGTH,
            num_beams=BEAMS,
            do_sample=False,
            early_stopping=False,
            length_penalty=penalty,
            return_dict_in_generate=True,
            output_scores=True,
        )
        outputs[f"{kind}/beam_{penalty}"] = padded(found.sequences)
        outputs[f"{kind}/beam_{penalty}_scores"] = found.sequences_scores.numpy()
    return outputs


def padded(sequences: torch.Tensor) -> np.ndarray:
    """Without the start token, padded to [B, MAX_DECODE_LENGTH]."""
    out = np.zeros((sequences.shape[0], MAX_DECODE_LENGTH), np.int32)
    out[:, : sequences.shape[1] - 1] = sequences[:, 1:].numpy()
    ended_before = np.cumsum(out == END, axis=1) - (out == END) > 0
    return np.where(ended_before, 0, out)  # Hugging Face fills beams with the end token


def worth_keeping(outputs: dict[str, np.ndarray]) -> bool:
    """Whether texts end in some rows and not in others, vary, and differ between the searches."""
    searches = [name for name in outputs if name.endswith(("greedy", "beam_0.6"))]
    for name in searches:
        found = outputs[name]
        ended = (found == END).any(axis=1)
        constant = sum(len(np.unique(row)) == 1 for row in found)
        if not ended.any() or ended.all() or constant > 1 or len(np.unique(found)) < 10:
            return False
    return not (outputs[searches[0]] == outputs[searches[1]]).all()


def main() -> None:
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    batch = batch_of(np.random.default_rng(0))
    for version in ("v1_0", "v1_1"):
        for seed in range(1000):
            model = model_of(version, seed)
            outputs = outputs_of(model, batch, False) | outputs_of(model, batch, True)
            if worth_keeping(outputs):
                break
        else:
            raise SystemExit(f"No seed below 1000 gives a T5 {version} worth keeping.")
        print(f"T5 {version}: seed {seed}")
        weights = {f"params/{name}": weight for name, weight in t5x_weights(model).items()}
        np.savez_compressed(OUT / f"t5_{version}.npz", **batch, **outputs, **weights)


if __name__ == "__main__":
    main()
