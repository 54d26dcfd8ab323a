"""The table of source runs on the page of `real_data.py`: one prompt file, six tasks."""

import collections
import pathlib

from real import constant_answer, corpora

from mpt_jax import files
from mpt_jax.engine.records import run_record
from mpt_jax.run_layout import TEACHERS
from mpt_jax.sweep import cells, table
from mpt_jax.sweep.plan import Plan


def lines(plan: Plan, root: pathlib.Path) -> list[str]:
    """A Markdown table: validation accuracy of each source run, and of the constant answer.

    Args:
      plan: whose runs are finished.
      root: folder of the runs and of the prepared corpora.

    Returns:
      Its lines; none where no method of the plan starts from a source run.
    """
    by_name = collections.defaultdict(list)  # a folder for each seed
    for run in cells.source_runs(plan, root):
        name, _, _ = run.folder.name.rpartition("-")
        if (run.folder / TEACHERS).exists():
            by_name[f"{name}/{TEACHERS}"].append(run.folder / TEACHERS)
        by_name[name].append(run.folder)
    if not by_name:
        return []
    body = [_row(name, folders) for name, folders in by_name.items()]
    constant = [
        f"{constant_answer.of_label(root / 'data', corpus, corpora.VALIDATION):.1f}"
        for corpus in corpora.SOURCES
    ]
    body.append([constant_answer.NAME, "0", *constant])
    names = [corpus.name for corpus in corpora.SOURCES]
    return table.markdown(["source run", "tuned, all six", *names], body)


def _row(name: str, folders: list[pathlib.Path]) -> list[str]:
    tuned = files.read_json(folders[0] / "run.json")["tuned_parameters"]
    found = [run_record.evaluations(str(folder)).results() for folder in folders]
    scores = [table.mean_std([f[c.name]["accuracy"] for f in found]) for c in corpora.SOURCES]
    return [name, f"{tuned:,}", *scores]
