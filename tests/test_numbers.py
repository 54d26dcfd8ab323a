"""Each measured number of the README, docs/ and benchmarks/ is in a committed CSV.

`measured_numbers` has the rule. These need no CSV: what `STATED` lists, and the paper's own scores,
which are in `mpt_jax/report/reported.py`.
"""

import itertools
import pathlib
import re

import measured_numbers
import pytest

from mpt_jax.report import reported

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("benchmarks/*.md"))]
CSVS = sorted(itertools.chain(ROOT.glob("docs/**/*.csv"), ROOT.glob("benchmarks/**/*.csv")))

# Versions, sizes, the paper's share of tuned numbers, and what an interval is said to cover.
STATED = (
    r"0\.035\s+%\s+of\s+its\s+numbers",
    r"95\s+%\s+interval",
    r"Python \d\.\d+",
    r"transformers \d+\.\d+",
    r"2 cores \(AMD EPYC\)",
    r"\w+==\d+\.\d+",
    r"2\.2\s+million parameters",
    r"each 8 MB of a large one",
)


@pytest.fixture(name="rows", scope="module")
def _rows():
    rows = measured_numbers.read(CSVS)
    for point in reported.TABLE:
        rows.append(measured_numbers.row([point.method, *map(str, point.means.values())]))
    for scores in reported.MPT_BY_TASK.values():
        rows += [measured_numbers.row([task, str(score)]) for task, score in scores.items()]
    return rows


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_measured_numbers_are_in_a_csv(page, rows):
    text = re.sub("|".join(STATED), "", page.read_text(encoding="utf-8"))
    every = page.parent.name == "benchmarks"
    missing = measured_numbers.missing(text, rows, every=every)
    assert not missing, "write settings as code, and what was measured into a CSV:\n" + "\n".join(
        missing
    )


def test_what_is_stated_is_on_a_page():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [pattern for pattern in STATED if not re.search(pattern, text)] == []


CSV = """\
method,shots,score,deviation,command,date
MPT,16,56.08,1.47,python x.py --rate=77.7,2026-11-30
adapters,16,57.52,1.8,python x.py,2026-11-30
a step,,2.16,,python x.py,2026-11-30
"""
CELLS = """\
method,task,seed,score
MPT,rte,0,60.0
MPT,rte,1,64.0
MPT,wic,0,50.0
MPT,wic,1,52.0
"""
PAGE = """\
# Scores

MPT reaches 56.1 ± 1.5, and [adapters](adapters.md) 57.5. Over seeds MPT has 62.0 ± 2.8 on `rte`,
and 56.5 ± 2.1 on both tasks.

- A step takes 2.2 s (`rate=0.3`, Python 3, batch 16).

    t5x train --gin.RATE=9.9

```python
rate = 8.8
```

```
       score
MPT    56.1
```

| method | score |
|---|---|
| MPT | **56.1 ± 1.5** |
"""


@pytest.fixture(name="sample")
def _sample(tmp_path):
    for name, text in (("a.csv", CSV), ("b.csv", CELLS)):
        (tmp_path / name).write_text(text)
    return measured_numbers.read([tmp_path / "a.csv", tmp_path / "b.csv"])


def test_a_page_whose_numbers_are_in_a_csv(sample):
    assert measured_numbers.missing(PAGE, sample) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("56.1 ± 1.5, and", "56.3 ± 1.5, and"),
        ("56.1 ± 1.5, and", "56.1 ± 1.8, and"),  # the deviation of another row
        ("57.5", "57.4"),
        ("62.0 ± 2.8", "62.0 ± 2.9"),
        ("56.5 ± 2.1", "56.5 ± 2.2"),
        ("2.2 s", "2.1 s"),
        ("2.2 s", "3 s"),
        ("MPT    56.1", "MPT    57.5"),  # of another row
        ("**56.1 ± 1.5**", "**56.1 ± 1.4**"),
        ("57.5. Over", "57.5, or 77.7. Over"),  # a command is not a measurement
    ],
)
def test_a_changed_digit_is_noticed(sample, old, new):
    assert PAGE.count(old) == 1
    assert len(measured_numbers.missing(PAGE.replace(old, new), sample)) == 1


def test_every_number_counts_in_tables_and_output(sample):
    page = "| method | tasks |\n|---|---|\n| MPT | 21 |\n\n```\nMPT  17\n```\n\nMPT has 19 tasks.\n"
    assert measured_numbers.missing(page, sample) == []
    found = measured_numbers.missing(page, sample, every=True)
    assert [text.split(" in: ")[0] for text in found] == ["21", "17"]
