import pathlib
import re

import mini_figure

from mpt_jax.report.settings import settings

ROOT = pathlib.Path(__file__).parents[2]
CELLS = ROOT / "docs/mini_results.csv"
PAGE = (ROOT / "docs/mini_results.md").read_text(encoding="utf-8")


def test_the_curves_are_the_means_of_the_page():
    drawn = {}
    for setting in settings(mini_figure.runs(CELLS)):
        for label in setting.labels:
            cell = setting.mean(label)
            title = setting.title.removesuffix(" per task")
            drawn[title, label] = f"{cell.mean:.1f} ± {cell.std:.1f}"
    stated = {}
    for part in PAGE.split("\n## ")[1:]:
        title = part.splitlines()[0]
        for method, mean in re.findall(r"(?m)^\| (.+?) \| [\d,]+ \|.* \*\*(.+?)\*\* \|$", part):
            stated[title, method] = mean
    assert drawn == stated and len(drawn) == 27


def test_the_committed_picture_is_that_of_the_committed_cells(tmp_path):
    new = tmp_path / "new.svg"
    assert mini_figure.main([f"--cells={CELLS}", f"--out={new}"]) == 0
    assert new.read_bytes() == (ROOT / "docs/mini_few_shot.svg").read_bytes()
