"""PEFT's part of `versus_peft.py`: prompt tuning of a T5 of transformers, in a process of its own.

Runs in a venv that has torch, transformers and peft, and none of our packages.

    python theirs.py --write FOLDER --size t5_small     # a random backbone in Hugging Face's format
    python theirs.py --measure FOLDER ...               # answers the jobs on standard input
"""

import argparse

import torch
from jobs import answer
from peft import PromptTuningConfig, TaskType, get_peft_model
from transformers import T5Config, T5ForConditionalGeneration

SIZES = {
    "t5_small": dict(d_model=512, d_kv=64, d_ff=2048, num_layers=6, num_heads=8),
    "t5_base": dict(d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12),
}
VOCABULARY = 32128


def write(folder: str, size: str) -> None:
    """A T5 v1.0 with random weights."""
    torch.manual_seed(0)
    config = T5Config(vocab_size=VOCABULARY, decoder_start_token_id=0, **SIZES[size])
    T5ForConditionalGeneration(config).save_pretrained(folder)


class PromptTuning:
    """Prompts of several tasks over a frozen T5, trained and used as PEFT's documentation does."""

    def __init__(self, folder: str, shape: argparse.Namespace):
        """Reads the backbone; `shape` has batch, inputs, prompt, targets and tasks."""
        self.shape = shape
        model = T5ForConditionalGeneration.from_pretrained(folder, dropout_rate=0.0)
        config = PromptTuningConfig(
            task_type=TaskType.SEQ_2_SEQ_LM,
            num_virtual_tokens=shape.prompt,
            num_transformer_submodules=1,  # in front of the encoder alone, as ours
        )
        self.model = get_peft_model(model, config, adapter_name="0")
        for task in range(1, shape.tasks):
            self.model.add_adapter(str(task), config)
        self.model.set_adapter("0")
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=0.3)

    def step(self, lengths: list[int] | None = None) -> None:
        """One training step; the batch is padded to its longest text, as their collators do."""
        lengths = lengths or [self.shape.inputs] * self.shape.batch
        ids, seen = self._texts(lengths)
        labels = torch.randint(2, VOCABULARY, (len(lengths), self.shape.targets))
        self.optimizer.zero_grad()
        loss = self.model(input_ids=ids, attention_mask=seen, labels=labels).loss
        loss.backward()
        self.optimizer.step()
        loss.item()

    def texts(self, lengths: list[int]) -> None:
        """A step for each whole batch of texts of these lengths."""
        for start in range(0, len(lengths) - self.shape.batch + 1, self.shape.batch):
            self.step(lengths[start : start + self.shape.batch])

    def decode(self, new_tokens: int, tasks: int) -> None:
        """Greedy decoding of a batch, rows of one task at a time: a call has one adapter."""
        rows = self.shape.batch // tasks
        for task in range(tasks):
            if tasks > 1:
                self.model.set_adapter(str(task))
            ids, seen = self._texts([self.shape.inputs] * rows)
            options = dict(max_new_tokens=new_tokens, min_new_tokens=new_tokens, do_sample=False)
            with torch.no_grad():
                self.model.generate(input_ids=ids, attention_mask=seen, **options)
        self.model.set_adapter("0")

    def _texts(self, lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        ids = torch.randint(2, VOCABULARY, (len(lengths), max(lengths)))
        seen = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
        return ids * seen, seen.long()


def main() -> None:
    """Writes a backbone, or answers jobs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--write")
    parser.add_argument("--measure")
    parser.add_argument("--size", default="t5_small")
    for name in ("batch", "inputs", "prompt", "targets", "tasks"):
        parser.add_argument(f"--{name}", type=int, default=1)
    args = parser.parse_args()
    if args.write:
        write(args.write, args.size)
        return
    torch.manual_seed(0)
    answer(PromptTuning(args.measure, args))


if __name__ == "__main__":
    main()
