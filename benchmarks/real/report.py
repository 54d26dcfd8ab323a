"""The page and the CSV of `real_data.py`."""

import json
import math
import pathlib
from collections.abc import Mapping

import safetensors
from real import constant_answer, corpora, source_table

from mpt_jax.sweep import table
from mpt_jax.sweep.plan import Plan

READING = "## Reading"  # what is below is written by hand, and stays
SOURCES = (
    "Accuracy on the tenth of train that is held out, on the frozen backbone. `mpt` is one shared",
    "prompt with a rank-one factor per task, learnt from the six prompts of `mpt/teachers`; the",
    "others are its ablations, as `gin/sweeps/mini.toml` names them.",
)
EMPTY = "To be written: this section stays as it is when the page is written again.\n"


def write(path: pathlib.Path, plan: Plan, root: pathlib.Path, times: Mapping[str, float]) -> None:
    """Write the page, except its last section, and the cells as CSV next to it.

    Args:
      path: of the page.
      plan: whose runs are finished.
      root: folder of the runs, of the prepared corpora and of the pretraining.
      times: stage -> seconds.
    """
    records = table.collect(plan, root)
    copied = root / "data"
    lines = [
        "# Results on real data",
        "",
        "Written by `python benchmarks/real_data.py`, all but its last section. Sources:",
        f"{', '.join(corpus.name for corpus in corpora.SOURCES)}. Key metric of each target on its",
        "test split (accuracy for sst5 and mpqa, Pearson for sts and sick_r, uncased BLEU with all",
        "references for e2e), in percent, mean ± standard deviation over "
        f"{len(plan.seeds)} seeds. A seed decides",
        "the source run, the draw of the k training examples and the order of the data. mpqa and",
        "e2e have no test split: the scores are of their validation split, and a tenth of train",
        "chooses the best checkpoint. Similarities are rounded to 0.2, as T5 writes them.",
        "",
        *_facts(root / "pretraining" / "backbone", copied, times),
    ]
    if of_sources := source_table.lines(plan, root):
        lines += ["", "## Sources", "", *SOURCES, "", *of_sources]
    for k in plan.shots:
        lines += ["", f"## {table.title(k)}", "", *_table(records, plan, root, k)]
    lines += ["", _by_hand(path)]
    path.write_text("\n".join(lines), encoding="utf-8")
    table.write_csv(records, path.with_suffix(".csv"))


def _table(records: list[dict], plan: Plan, root: pathlib.Path, shots: str) -> list[str]:
    by_name = {corpus.name: corpus for corpus in corpora.TARGETS}
    body = table.rows(plan, records, shots)
    constant = [constant_answer.of_target(root / "data", by_name[task]) for task in plan.tasks]
    body.append([constant_answer.NAME, "0", *constant, "-"])
    return table.markdown(table.head(plan.tasks), body)


def _facts(backbone: pathlib.Path, copied: pathlib.Path, times: Mapping[str, float]) -> list[str]:
    config = json.loads((backbone / "config.json").read_text(encoding="utf-8"))
    removed = json.loads((copied / corpora.REMOVED).read_text(encoding="utf-8"))
    counts = ", ".join(f"{count:,} of {file}" for file, count in removed.items() if count)
    minutes = ", ".join(f"{stage} {seconds / 60:.0f}" for stage, seconds in times.items())
    return [
        f"- Backbone: T5 v1.1, {config['num_encoder_layers']} + {config['num_decoder_layers']} "
        f"layers, width {config['emb_dim']}, {_size(backbone / 'model.safetensors'):,} parameters, "
        "pretrained on",
        "  the training texts of all corpora (span corruption) and on the source tasks.",
        "- Left out of the sources and of pretraining, because a target validates or is scored on "
        "it:",
        f"  {counts or 'nothing'}.",
        f"- Minutes: {minutes}.",
    ]


def _size(weights: pathlib.Path) -> int:
    with safetensors.safe_open(weights, framework="numpy") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118


def _by_hand(path: pathlib.Path) -> str:
    """The last section of the page that is there, or an empty one."""
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    _, mark, text = old.partition(f"\n{READING}\n")
    return f"{READING}\n{text}" if mark else f"{READING}\n\n{EMPTY}"
