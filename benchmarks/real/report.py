"""The page and the CSVs of `real_data.py`."""

import json
import math
import pathlib
import shutil
import textwrap
from collections.abc import Mapping, Sequence

import safetensors
from mini import page, scores, summary
from mini.regimes import SEEN
from real import by_name, constant_answer, corpora, results, source_table

from mpt_jax.sweep import table
from mpt_jax.sweep.plan import Plan

READING = "## Reading"  # what is below is written by hand, and stays
SOURCES = (
    "Accuracy on the validation split, on the frozen backbone. `mpt` is one shared prompt with a",
    "rank-one factor per task, learnt from the six prompts of `mpt/teachers`; the others are its",
    "ablations, as `gin/sweeps/mini.toml` names them.",
)
ASKED = (
    "The backbone without a prompt, asked with the task's name in front, as in pretraining, and",
    "without it, as the methods below are.",
)
BY_NAME = "by_name.csv"  # in the folder of the runs
EMPTY = "To be written: this section stays as it is when the page is written again.\n"


def write(
    path: pathlib.Path, plan: Plan, root: pathlib.Path, regime: str, times: Mapping[str, float]
) -> None:
    """Write the page, except its last section, and next to it the cells and the means as CSV.

    Args:
      path: of the page.
      plan: whose runs are finished.
      root: folder of the runs, of the prepared corpora and of the pretraining.
      regime: of the backbone.
      times: stage -> seconds.
    """
    copied = root / "data"
    found = results.collect(plan, root, regime)
    means = summary.lines(found)
    lines = [
        "# Results on real data",
        "",
        "Written by `python benchmarks/real_data.py`, all but its last section. Sources:",
        f"{', '.join(corpus.name for corpus in corpora.SOURCES)}. Score of each target on its test",
        "split in percent (accuracy for sst5 and mpqa, Pearson for sts and sick_r, slot accuracy",
        "for e2e), mean ± standard deviation over "
        f"{len(plan.seeds)} seeds. A seed decides the source run and",
        "the order of the data. Similarities are rounded to whole numbers. Slot accuracy is 100",
        "less the share of the facts asked for that are missing, wrong or added in the text",
        '(`benchmarks/real/facts.py`). "against MPT" is the mean difference at the same targets',
        "and seeds with its 95 % interval over both; better or worse only where that excludes 0.",
        "",
        *_facts(root / "pretraining" / "backbone", copied, regime, times),
        *_of_text(copied, plan.tasks),
    ]
    asked = path.with_name(f"{path.stem}_by_name.csv")
    shutil.copyfile(root / BY_NAME, asked)
    lines += ["", "## Before any tuning", "", *ASKED, "", *by_name.lines(asked)]
    if of_sources := source_table.collect(plan, root):
        source_table.write(path.with_name(f"{path.stem}_sources.csv"), of_sources)
        lines += ["", "## Sources", "", *SOURCES, "", *source_table.lines(of_sources)]
    for k in plan.shots:
        part = [line for line in means if line.shots == k]
        lines += ["", f"## {table.title(k)}", "", page.methods(part)]
    lines += ["", _by_hand(path)]
    path.write_text("\n".join(lines), encoding="utf-8")
    scores.write(path.with_suffix(".csv"), found)
    summary.write(path.with_name(f"{path.stem}_summary.csv"), means)


def _facts(
    backbone: pathlib.Path, copied: pathlib.Path, regime: str, times: Mapping[str, float]
) -> list[str]:
    config = json.loads((backbone / "config.json").read_text(encoding="utf-8"))
    removed = json.loads((copied / corpora.REMOVED).read_text(encoding="utf-8"))
    counts = ", ".join(f"{count:,} of {file}" for file, count in removed.items() if count)
    minutes = ", ".join(f"{stage} {seconds / 60:.0f}" for stage, seconds in times.items())
    tasks = "the sources' and the targets' training rows" if regime == SEEN else "the sources' rows"
    return [
        *_item(
            f"Backbone: T5 v1.1, {config['num_encoder_layers']} + {config['num_decoder_layers']} "
            f"layers, width {config['emb_dim']}, {_size(backbone / 'model.safetensors'):,} "
            "parameters, pretrained on the training texts of all corpora (span corruption, and "
            "pairs of texts with the share of words in common) and, with the task's name in "
            f"front, on {tasks}."
        ),
        *_item(
            "Left out of training, because a target validates or is tested on it, and of the "
            "sources' validation, because a task is trained or tested on it: "
            f"{counts or 'nothing'}."
        ),
        *_item(f"Minutes: {minutes}."),
    ]


def _of_text(copied: pathlib.Path, tasks: Sequence[str]) -> list[str]:
    """Between what the score of a target lies whose answers are texts."""
    found = []
    for corpus in corpora.TARGETS:
        if corpus.name in tasks and corpus.is_text:
            text, score = constant_answer.of_text(copied, corpus)
            found += _item(
                f"{corpus.name}'s own references score "
                f"{constant_answer.of_references(copied, corpus):.1f}, the best constant answer "
                f"{score:.1f}, a training sentence chosen on validation: *{text}*"
            )
    return found


def _item(text: str) -> list[str]:
    return textwrap.wrap(text, 110, initial_indent="- ", subsequent_indent="  ")


def _size(weights: pathlib.Path) -> int:
    with safetensors.safe_open(weights, framework="numpy") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118


def _by_hand(path: pathlib.Path) -> str:
    """The last section of the page that is there, or an empty one."""
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    _, mark, text = old.partition(f"\n{READING}\n")
    return f"{READING}\n{text}" if mark else f"{READING}\n\n{EMPTY}"
