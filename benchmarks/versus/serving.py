"""What `benchmarks/serve.py` compares with: transformers and PEFT, one request after the other.

Runs where these are installed, without mpt_jax: serving.py BACKBONE REQUEST, a folder in
Hugging Face's format with prompt.npy [P, D] in it, and JSON (see `serve.measure_rival`). Each task
is an adapter of prompt tuning with this prompt. Prints JSON.
"""

import json
import pathlib
import random
import sys
import time

import numpy as np
import peft
import torch
import transformers


def main() -> None:
    folder, request = sys.argv[1], json.loads(sys.argv[2])
    torch.set_grad_enabled(False)
    prompt = torch.tensor(np.load(pathlib.Path(folder, "prompt.npy")))
    backbone = transformers.T5ForConditionalGeneration.from_pretrained(folder).eval()
    began = time.perf_counter()
    model = with_adapters(backbone, prompt, request["tasks"])
    added = time.perf_counter() - began
    tokens = torch.tensor([request["tokens"]])
    inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    options = {"max_new_tokens": request["most_tokens"], "do_sample": False}

    def answer(task: int) -> list[int]:
        model.set_adapter(f"task_{task}")
        return model.generate(**inputs, **options)[0].tolist()

    draw, latencies = random.Random(0), {}
    answer(0)
    for name, tasks in (("1", 1), (str(request["tasks"]), request["tasks"])):
        latencies[name] = own = []
        end = time.perf_counter() + request["seconds"]
        while (now := time.perf_counter()) < end:
            answer(draw.randrange(tasks))
            own.append(time.perf_counter() - now)
    print(json.dumps({"latencies": latencies, "added": added, "answer": answer(0)[1:]}))


def with_adapters(backbone, prompt: torch.Tensor, count: int) -> peft.PeftModel:
    config = peft.PromptTuningConfig(
        task_type="SEQ_2_SEQ_LM", num_virtual_tokens=len(prompt), num_transformer_submodules=1
    )
    model = peft.get_peft_model(backbone, config, adapter_name="task_0")
    for task in range(1, count):
        model.add_adapter(f"task_{task}", config)
    for encoder in model.prompt_encoder.values():
        encoder.embedding.weight.copy_(prompt)
    return model.eval()


if __name__ == "__main__":
    main()
