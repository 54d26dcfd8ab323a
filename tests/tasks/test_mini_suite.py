import collections
import time

import pytest

from mpt_jax.tasks.mini import suite as mini_suite


@pytest.mark.parametrize("name", mini_suite.SUITE)
def test_splits_are_distinct_and_of_their_size(name):
    task = mini_suite.SUITE[name]
    splits = [mini_suite.split_rows(name, split) for split in mini_suite.SPLITS]
    assert [len(rows) for rows in splits] == [task.size(split) for split in mini_suite.SPLITS]
    inputs = [row.inputs for rows in splits for row in rows]
    assert len(inputs) == len(set(inputs))


@pytest.mark.parametrize("name", [n for n, t in mini_suite.SUITE.items() if t.labelled])
def test_labels_are_balanced_in_every_split(name):
    cases = mini_suite.SUITE[name].cases
    for split in mini_suite.SPLITS:
        counts = collections.Counter(row.targets for row in mini_suite.split_rows(name, split))
        assert set(counts) == set(cases)
        assert max(counts.values()) - min(counts.values()) <= len(cases)


def test_rows_are_the_same_every_time():
    mini_suite.split_rows.cache_clear()
    mini_suite._stream.cache_clear()
    assert mini_suite.split_rows("mini_rte", "test")[0].inputs == GOLDEN_RTE


def test_generation_is_fast():
    start = time.process_time()
    mini_suite._stream("mini_cloze", 4501)
    assert 4501 / (time.process_time() - start) > 5_000  # rows/s, the slowest writer


GOLDEN_RTE = (
    "premise: the mayor opposed the stadium . the court signed the risky budget in oslo ."
    " hypothesis: the court signed the safe budget ."
)
