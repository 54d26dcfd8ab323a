"""Makes tests/golden/adapted_*.npz: adapters and biases put into Hugging Face's T5 by hooks.

What a method adds to the modules of a T5 is added here to the modules of another implementation:
tiny random models, random adapters and biases under the paths of `mpt_jax.methods`, and the logits
and greedy outputs that follow. Run as `make_t5_golden.py`:

    golden-venv/bin/python tests/golden/make_method_golden.py
"""

import numpy as np
import torch
from make_t5_golden import (
    MAX_DECODE_LENGTH,
    OUT,
    VOCAB,
    WIDTH,
    batch_of,
    model_of,
    padded,
    t5x_weights,
)

SEED, BOTTLENECK = 3, 5


def sublayers_of(model: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """Path of ours -> module after which an adapter comes."""
    found = {}
    for stack, attention in (("encoder", "attention"), ("decoder", "self_attention")):
        for i, block in enumerate(getattr(model, stack).block):
            found[f"{stack}/layers_{i}/{attention}"] = block.layer[0].SelfAttention
            found[f"{stack}/layers_{i}/mlp"] = block.layer[-1].DenseReluDense
    return found


def biased_of(model: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """Path of ours -> module (projection, layer norm, logits) that gets a bias."""
    tied = model.lm_head.weight is model.shared.weight
    found = {"token_embedder" if tied else "decoder/logits_dense": model.lm_head}
    names = {"query": "q", "key": "k", "value": "v", "out": "o"}
    for stack in ("encoder", "decoder"):
        blocks = getattr(model, stack)
        found[f"{stack}/{stack}_norm"] = blocks.final_layer_norm
        for i, block in enumerate(blocks.block):
            at, prefix = f"{stack}/layers_{i}", "" if stack == "encoder" else "self_"
            attentions = {f"{prefix}attention": block.layer[0].SelfAttention}
            found[f"{at}/pre_{prefix}attention_layer_norm"] = block.layer[0].layer_norm
            if stack == "decoder":
                attentions["encoder_decoder_attention"] = block.layer[1].EncDecAttention
                found[f"{at}/pre_cross_attention_layer_norm"] = block.layer[1].layer_norm
            for name, attention in attentions.items():
                found |= {f"{at}/{name}/{x}": getattr(attention, hf) for x, hf in names.items()}
            found[f"{at}/pre_mlp_layer_norm"] = block.layer[-1].layer_norm
            for name, module in block.layer[-1].DenseReluDense.named_children():
                if isinstance(module, torch.nn.Linear):
                    found[f"{at}/mlp/{name}"] = module
    return found


def adapters_for(paths: list[str], rng: np.random.Generator) -> dict[str, np.ndarray]:
    shapes = {
        "down/kernel": (WIDTH, BOTTLENECK),
        "down/bias": (BOTTLENECK,),
        "up/kernel": (BOTTLENECK, WIDTH),
        "up/bias": (WIDTH,),
    }
    return {
        f"{path}/{name}": rng.normal(size=shape).astype(np.float32) * 0.5
        for path in paths
        for name, shape in shapes.items()
    }


def adapter_hook(weights: dict[str, torch.Tensor]):
    def adapted(x: torch.Tensor) -> torch.Tensor:
        hidden = x @ weights["down/kernel"] + weights["down/bias"]
        hidden = torch.nn.functional.gelu(hidden, approximate="tanh")
        return x + hidden @ weights["up/kernel"] + weights["up/bias"]

    def hook(module, inputs, output):
        if isinstance(output, tuple):  # attention gives more than its states
            return (adapted(output[0]), *output[1:])
        return adapted(output)

    return hook


def bias_hook(bias: torch.Tensor):
    return lambda module, inputs, output: output + bias


def outputs_of(model: torch.nn.Module, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    tokens = torch.tensor(batch["encoder_input_tokens"]).long()
    inputs = {"input_ids": tokens, "attention_mask": (tokens != 0).long()}
    decoder_inputs = torch.tensor(batch["decoder_input_tokens"]).long()
    found = model.generate(**inputs, max_new_tokens=MAX_DECODE_LENGTH, do_sample=False)
    logits = model(**inputs, decoder_input_ids=decoder_inputs).logits
    return {"logits": logits.numpy(), "greedy": padded(found)}


def main() -> None:
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    rng = np.random.default_rng(SEED)
    batch = {name: array for name, array in batch_of(rng).items() if name != "prompts"}
    for version in ("v1_0", "v1_1"):
        model = model_of(version, SEED)
        stored = {f"params/{name}": weight for name, weight in t5x_weights(model).items()}

        sublayers = sublayers_of(model)
        adapters = adapters_for(list(sublayers), rng)
        hooks = []
        for path, module in sublayers.items():
            own = {n: torch.tensor(adapters[f"{path}/{n}"]) for n in ("down/kernel", "down/bias")}
            own |= {n: torch.tensor(adapters[f"{path}/{n}"]) for n in ("up/kernel", "up/bias")}
            hooks.append(module.register_forward_hook(adapter_hook(own)))
        stored |= {f"adapter/{name}": weight for name, weight in adapters.items()}
        stored |= {f"adapted/{name}": x for name, x in outputs_of(model, batch).items()}
        for hook in hooks:
            hook.remove()

        for path, module in biased_of(model).items():
            size = VOCAB if module is model.lm_head else module.weight.shape[0]
            bias = rng.normal(size=size).astype(np.float32) * 0.5
            stored[f"bias/{path}/bias"] = bias
            module.register_forward_hook(bias_hook(torch.tensor(bias)))
        stored |= {f"biased/{name}": x for name, x in outputs_of(model, batch).items()}
        np.savez_compressed(OUT / f"adapted_{version}.npz", **batch, **stored)


if __name__ == "__main__":
    main()
