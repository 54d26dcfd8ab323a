"""A model card for a prompt file: Markdown with the front matter that Hugging Face's cards have."""

import json
import math
from collections.abc import Mapping
from typing import Any

from mpt_jax.product import product_file
from mpt_jax.product.description import ProductInfo

_LISTED = 50  # tasks in the card's tables
_OF_TASKS = "prompt_bank/task_"  # weights with a row for each task

# Run by a test, in the folder.
_ALONE = """\
import json

import numpy as np{imported}
from jax import export, jit
from safetensors.numpy import load_file

about = json.load(open("export.json"))
weights = load_file("weights.safetensors")
program = export.deserialize(bytearray(open("model.jax_export", "rb").read()))
generate = jit(program.call)
{vocabulary}

texts, task = [{example}], {task}
limit, end = about["feature_lengths"]["inputs"], about["eos_id"]
rows = [[*encode(text)[: limit - 1], end] for text in texts]
tokens = np.zeros((len(rows), max(map(len, rows))), np.int32)  # 0 is padding
for row, ids in zip(tokens, rows):
    row[: len(ids)] = ids
task_ids = np.full(len(rows), about["tasks"].index(task), np.int32)  # rows may differ
ids, scores = generate(weights, tokens, task_ids)
answers = [row[: row.index(end)] if end in row else row for row in ids.tolist()]
print([decode(answer) for answer in answers], scores)
"""
_SENTENCEPIECE = """\
pieces = sentencepiece.SentencePieceProcessor(model_file="spiece.model")
encode = pieces.encode


def decode(ids):
    return pieces.decode([i for i in ids if 0 < i < len(pieces)])
"""
_BYTES = """\
def encode(text):
    return [byte + 3 for byte in text.encode()]


def decode(ids):
    return bytes(i - 3 for i in ids if 3 <= i < 259).decode(errors="ignore")
"""


def write(info: ProductInfo, about: Mapping[str, Any], sizes: Mapping[str, int]) -> str:
    """The card.

    Args:
        info: what the prompt file says of itself.
        about: `export.json`.
        sizes: of the folder's files in bytes.
    """
    title = f"{info.method}: {', '.join(info.tasks[:3])}{', ...' if len(info.tasks) > 3 else ''}"
    parts = [
        f"---\n{_front_matter(info, title)}---",
        f"# {title}",
        f"What the method `{info.method}` has trained on a frozen T5 for {len(info.tasks)} "
        f"task{'s' if len(info.tasks) > 1 else ''}, in {info.step} steps.",
        _facts(info, about),
        "## Tasks",
        _tasks(info),
        "## Files",
        _table(["file", "bytes"], [[f"`{n}`", f"{s:,}"] for n, s in sorted(sizes.items())]),
        "## Use",
        "Without the package that trained it, in this folder (jax, numpy, safetensors"
        f"{'' if _is_bytes(about) else ', sentencepiece'}):",
        f"```python\n{_alone(info, _is_bytes(about))}```",
        *_with_package(info, sizes),
        f"The program runs on {', '.join(about['platforms'])}, for any number of texts of any "
        f"length; it was exported by jax {about['jax']}.",
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(info: ProductInfo, title: str) -> str:
    """YAML; its strings and lists are written as JSON, which YAML reads."""
    metrics = {task: found for task in info.tasks if (found := _scores(info, task))}
    names = sorted({name for found in metrics.values() for name in found})
    lines = [
        "library_name: mpt_jax",
        "pipeline_tag: text2text-generation",
        f"tags: {json.dumps(['t5', 'jax', 'prompt-tuning', info.method])}",
    ]
    if metrics:
        results = [
            {
                "task": {"type": "text2text-generation"},
                "dataset": {"name": task, "type": task, "split": "validation"},
                "metrics": [{"type": name, "value": value} for name, value in found.items()],
            }
            for task, found in metrics.items()
        ]
        lines.append(f"metrics: {json.dumps(names)}")
        lines.append(f"model-index: {json.dumps([{'name': title, 'results': results}])}")
    return "\n".join(lines) + "\n"


def _scores(info: ProductInfo, task: str) -> dict[str, float]:
    """A task's metrics, those that are numbers."""
    return {n: value for n, value in info.metrics.get(task, {}).items() if value is not None}


def _facts(info: ProductInfo, about: Mapping[str, Any]) -> str:
    rows = [
        ["method", f"`{info.method}`"],
        ["training steps", f"{info.step:,}"],
        ["backbone", f"width {info.width}, vocabulary {info.vocabulary_size:,}"],
        ["backbone's fingerprint", f"`{info.backbone}`"],
        ["longest input, target", _lengths(info)],
    ]
    if info.length:
        rows.insert(1, ["prompt", f"{info.length} vectors of {info.width}"])
    if info.rank and not info.length:
        rows.insert(1, ["an adapter's rank", str(info.rank)])
    elif info.rank:
        weights = about["inputs"]["weights"].items()
        own = [weight["shape"][1:] for name, weight in weights if name.startswith(_OF_TASKS)]
        numbers = sum(map(math.prod, own))
        each = f"rank {info.rank}: {numbers:,} numbers, {4 * numbers:,} bytes"
        rows.insert(2, ["each task", each])
    return _table(["", ""], rows)


def _lengths(info: ProductInfo) -> str:
    lengths = [info.feature_lengths.get(side) for side in ("inputs", "targets")]
    return ", ".join(f"{length} tokens" if length else "not stated" for length in lengths)


def _tasks(info: ProductInfo) -> str:
    rows = []
    for task in info.tasks[:_LISTED]:
        scores = _scores(info, task).items()
        rows.append(
            [
                f"`{task}`",
                ", ".join(f"`{word}`" for word in info.label_words.get(task, ())),
                f"`{info.input_forms[task]}`" if task in info.input_forms else "",
                ", ".join(f"{name} {value:.2f}" for name, value in scores),
            ]
        )
    table = _table(["task", "label words", "inputs are written", "validation"], rows)
    more = len(info.tasks) - _LISTED
    return f"{table}\n\nand {more} more (`export.json`)." if more > 0 else table


def _is_bytes(about: Mapping[str, Any]) -> bool:
    return about["files"]["vocabulary"] is None


def _alone(info: ProductInfo, of_bytes: bool) -> str:
    task = info.tasks[0]
    example = json.dumps(info.input_forms.get(task, "a text"), ensure_ascii=False)
    code = _ALONE.replace("{imported}", "" if of_bytes else "\nimport sentencepiece")
    code = code.replace("{vocabulary}", _BYTES if of_bytes else _SENTENCEPIECE)
    return code.replace("{example}", example).replace("{task}", json.dumps(task))


def _with_package(info: ProductInfo, sizes: Mapping[str, int]) -> list[str]:
    if not {product_file.PROMPTS, product_file.ADAPTER} & set(sizes):
        return []
    task = json.dumps(info.tasks[0])
    return [
        "With it, and the backbone of that fingerprint:",
        '```python\nimport mpt_jax\n\nt5 = mpt_jax.load("BACKBONE", ".")\n'
        f't5.predict(["..."], task={task})\n```',
    ]


def _table(head: list[str], rows: list[list[str]]) -> str:
    cells = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in cells)
