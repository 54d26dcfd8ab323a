"""Makes tests/golden/peft_modules/: LoRA and (IA)³ adapters that PEFT saved, and what they compute.

On the T5 v1.0 and v1.1 of `make_t5_golden.py`; then what our package writes for the same numbers is
loaded by PEFT, which must compute the same. Run, in the folder of the repository, in the
environment of `make_peft_golden.py`:

    golden-venv/bin/pip install jax==0.10.2 flax==0.12.8
    PYTHONPATH=. golden-venv/bin/python tests/golden/make_peft_modules_golden.py
"""

import copy
import pathlib
import shutil
import tempfile

import numpy as np
import peft
import torch
import transformers
from make_peft_golden import backbone
from make_t5_golden import MAX_DECODE_LENGTH, batch_of, padded

from mpt_jax.product.formats import peft as ours

OUT = pathlib.Path(__file__).parent / "peft_modules"
ROWS = 3
COMMON = {"task_type": "SEQ_2_SEQ_LM"}
EVERYWHERE = ["q", "k", "v", "o", "wi_0", "wi_1", "wo"]
CONFIGS = {  # kind -> version of the T5, configuration
    "lora": ("v1_0", peft.LoraConfig(**COMMON, r=3, lora_alpha=5)),
    "lora_everywhere": (
        "v1_1",
        peft.LoraConfig(**COMMON, r=2, use_rslora=True, target_modules=EVERYWHERE),
    ),
    "ia3": ("v1_0", peft.IA3Config(**COMMON)),
    "ia3_gated": ("v1_1", peft.IA3Config(**COMMON)),
    # PEFT's choice for an mT5, and that of T-Few: the output of one branch.
    "ia3_branch": (
        "v1_1",
        peft.IA3Config(**COMMON, target_modules=["k", "v", "wi_1"], feedforward_modules=[]),
    ),
}


def outputs_of(model: torch.nn.Module, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    tokens = torch.tensor(batch["encoder_input_tokens"]).long()
    inputs = {"input_ids": tokens, "attention_mask": (tokens != 0).long()}
    decoder_inputs = torch.tensor(batch["decoder_input_tokens"]).long()
    found = model.generate(**inputs, max_new_tokens=MAX_DECODE_LENGTH, do_sample=False)
    logits = model(**inputs, decoder_input_ids=decoder_inputs).logits
    return {"logits": logits.numpy(), "greedy": padded(found)}


def randomize(model: peft.PeftModel, rng: np.random.Generator) -> None:
    """Numbers with which an adapter matters: PEFT's own start changes nothing."""
    for name, weight in model.named_parameters():
        if "lora_" in name or "ia3_" in name:
            noise = 0.2 * rng.normal(size=tuple(weight.shape))
            weight.data = torch.tensor(noise + ("ia3_" in name), dtype=torch.float32)


def check_our_export(
    model: transformers.T5ForConditionalGeneration,
    folder: pathlib.Path,
    version: str,
    batch: dict[str, np.ndarray],
    outputs: dict[str, np.ndarray],
) -> None:
    """PEFT loads what we write of what it wrote, and computes the same."""
    with tempfile.TemporaryDirectory() as place:
        model.save_pretrained(f"{place}/t5")
        bank, info = ours.read(str(folder), ["task"], f"{place}/t5")
        ours.write(f"{place}/adapter", bank, info)
        again, same = ours.read(f"{place}/adapter", None, f"{place}/t5")
        assert same == info and again.keys() == bank.keys()
        assert all(np.array_equal(again[name], leaf) for name, leaf in bank.items())
        loaded = peft.PeftModel.from_pretrained(backbone(version), f"{place}/adapter")
        for name, expected in outputs_of(loaded, batch).items():
            np.testing.assert_allclose(outputs[name], expected, atol=1e-6, rtol=1e-6)
    print(f"{folder.name}: PEFT computes the same with our export")


def main() -> None:
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    rng = np.random.default_rng(2)
    batch = {k: v[:ROWS] for k, v in batch_of(rng).items() if k != "prompts"}
    stored = dict(batch)
    for kind, (version, config) in CONFIGS.items():
        shutil.rmtree(OUT / kind, ignore_errors=True)
        model = peft.get_peft_model(backbone(version), config).eval()
        plain = outputs_of(model, batch)["logits"]
        randomize(model, rng)
        found = outputs_of(model, batch)
        assert np.abs(found["logits"] - plain).max() > 0.5
        model.save_pretrained(OUT / kind)
        (OUT / kind / "README.md").unlink()
        check_our_export(backbone(version), OUT / kind, version, batch, found)
        # In float64, so that a test meets only the rounding of what it tests.
        exact = outputs_of(copy.deepcopy(model).double(), batch)["logits"]
        stored |= {f"{kind}/greedy": found["greedy"], f"{kind}/logits": exact.astype(np.float32)}
    np.savez_compressed(OUT / "outputs.npz", **stored)


if __name__ == "__main__":
    main()
