"""Makes tests/golden/peft/: adapters that PEFT saved, and what PEFT's prompted T5 computes.

Adapters of multitask prompt tuning (ranks 1 and 2, and PEFT's default of a second prompt for the
decoder) and of prompt tuning, on the T5 v1.1 of `make_t5_golden.py`. Then what our package writes
for the same numbers is loaded by PEFT, which must compute the same. Run, in the folder of the
repository, in the environment of `make_t5_golden.py`:

    golden-venv/bin/pip install peft==0.21.2 "etils[epath]" ml_dtypes
    PYTHONPATH=. golden-venv/bin/python tests/golden/make_peft_golden.py
"""

import pathlib
import shutil
import tempfile

import numpy as np
import peft
import safetensors.numpy
import torch
import transformers
from make_t5_golden import END, MAX_DECODE_LENGTH, WIDTH, batch_of, model_of, padded, t5x_weights

from mpt_jax.product.description import ProductInfo
from mpt_jax.product.formats import peft as ours

OUT = pathlib.Path(__file__).parent / "peft"
LENGTH, TASKS = 4, 3
COMMON = {
    "task_type": "SEQ_2_SEQ_LM",
    "num_virtual_tokens": LENGTH,
    "num_transformer_submodules": 1,
}
CONFIGS = {
    "multitask_rank_1": peft.MultitaskPromptTuningConfig(**COMMON, num_tasks=TASKS, num_ranks=1),
    "multitask_rank_2": peft.MultitaskPromptTuningConfig(**COMMON, num_tasks=TASKS, num_ranks=2),
    "multitask_default": peft.MultitaskPromptTuningConfig(
        **{**COMMON, "num_transformer_submodules": None}, num_tasks=TASKS
    ),
    "prompt_tuning": peft.PromptTuningConfig(**COMMON),
}


def backbone(version: str = "v1_1") -> transformers.T5ForConditionalGeneration:
    """The stored T5: the seed that gives its weights."""
    file = OUT.parent / f"t5_{version}.npz"
    with np.load(file, allow_pickle=False) as stored:
        wanted = stored["params/token_embedder/embedding"]
    for seed in range(1000):
        model = model_of(version, seed)
        if np.array_equal(t5x_weights(model)["token_embedder/embedding"], wanted):
            return model
    raise SystemExit(f"{file} was not made by make_t5_golden.py.")


def composed(model: peft.PeftModel, kind: str) -> np.ndarray:
    """The prompts [K, P, D] that PEFT puts before the texts."""
    encoder = model.prompt_encoder["default"]
    tokens = model.prompt_tokens["default"].unsqueeze(0)[:, :LENGTH]
    if kind == "prompt_tuning":
        return encoder(tokens).numpy()
    if kind == "multitask_default":
        tokens = model.prompt_tokens["default"].unsqueeze(0)
    prompts = [encoder(tokens, torch.tensor([task])) for task in range(TASKS)]
    return torch.cat(prompts)[:, :LENGTH].numpy()


def outputs_of(model: peft.PeftModel, batch: dict[str, np.ndarray], kind: str) -> dict:
    """Greedy texts, prompts, and logits [B, S, V] where PEFT has no prompt for the decoder."""
    tokens = torch.tensor(batch["encoder_input_tokens"]).long()
    inputs = {"input_ids": tokens, "attention_mask": (tokens != 0).long()}
    if kind != "prompt_tuning":
        inputs["task_ids"] = torch.tensor(batch["task_ids"]).long()
    found = model.generate(**inputs, max_new_tokens=MAX_DECODE_LENGTH, do_sample=False)
    outputs = {f"{kind}/greedy": padded(found), f"{kind}/prompts": composed(model, kind)}
    if kind != "multitask_default":
        # PEFT takes labels alone; the decoder's inputs are those shifted to the right.
        shifted = batch["decoder_input_tokens"][:, 1:]
        labels = np.concatenate([shifted, np.full((len(shifted), 1), END)], axis=1)
        logits = model(**inputs, labels=torch.tensor(labels).long()).logits
        outputs[f"{kind}/logits"] = logits.numpy()
    return outputs


def check_our_export(tensors: dict[str, np.ndarray], batch: dict, kind: str, outputs: dict) -> None:
    """PEFT loads what we write, and computes the same with it."""
    names = {
        "prompt_embeddings": "shared",
        "prefix_task_cols": "task_u",
        "prefix_task_rows": "task_v",
    }
    bank = {names[name]: tensor for name, tensor in tensors.items()}
    info = ProductInfo(
        method="mpt",
        tasks=tuple("abc"[: TASKS if "task_u" in bank else 1]),
        length=LENGTH,
        width=WIDTH,
        rank=bank["task_u"].shape[2] if "task_u" in bank else 0,
        vocabulary_size=1,
        backbone="",
        feature_lengths={},
        label_words={},
        input_forms={},
        step=0,
        metrics={},
    )
    with tempfile.TemporaryDirectory() as folder:
        ours.write(folder, bank, info)
        model = peft.PeftModel.from_pretrained(backbone(), folder)
        for name, expected in outputs_of(model, batch, kind).items():
            assert np.array_equal(outputs[name], expected), name
    print(f"{kind}: PEFT computes the same with our export")


def main() -> None:
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    rng = np.random.default_rng(1)
    batch = {k: v for k, v in batch_of(rng).items() if k != "prompts"}
    batch["task_ids"] = np.array([0, 2, 1, 1, 0, 2], np.int32)
    outputs = {}
    for kind, config in CONFIGS.items():
        shutil.rmtree(OUT / kind, ignore_errors=True)
        model = peft.get_peft_model(backbone(), config).eval()
        for parameter in model.prompt_encoder.parameters():
            parameter.data = torch.tensor(rng.normal(size=parameter.shape), dtype=torch.float32)
        found = outputs_of(model, batch, kind)
        model.save_pretrained(OUT / kind)
        (OUT / kind / "README.md").unlink()
        if kind != "multitask_default":
            tensors = safetensors.numpy.load_file(OUT / kind / ours.WEIGHTS)
            check_our_export(tensors, batch, kind, found)
        outputs |= found
    np.savez_compressed(OUT / "outputs.npz", **batch, **outputs)


if __name__ == "__main__":
    main()
