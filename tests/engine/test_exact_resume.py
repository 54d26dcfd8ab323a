"""Whole pipelines, saved before every step and restored in another process."""

import collections
import json
import subprocess
import sys

import data_kinds
import pytest
import seqio

# One of each way that rows can take; `python tests/support/data_kinds.py` tries all there are.
KINDS = (
    "full",
    "few-shot",
    "cached",
    "streamed lines",
    "streamed local",
    "host 1 of 2, sampled",
)
# Those of one task on one host whose rows are in memory.
IN_MEMORY = ("full", "few-shot", "cached")


@pytest.fixture(name="runs", scope="module")
def _runs(tmp_path_factory):
    """kind -> (the batches of a run, digests of those after each of its saved positions)."""
    folder = tmp_path_factory.mktemp("kinds")
    registries = (seqio.TaskRegistry, seqio.MixtureRegistry)
    before = [dict(registry._REGISTRY) for registry in registries]
    whole = {kind: data_kinds.save(kind, folder) for kind in KINDS}
    for registry, content in zip(registries, before, strict=True):
        registry._REGISTRY = content
    seqio.set_global_cache_dirs([])
    command = [sys.executable, data_kinds.__file__, str(folder)]
    other = subprocess.run(command, capture_output=True, text=True)
    assert other.returncode == 0, other.stderr
    resumed = json.loads(other.stdout)
    return {kind: (whole[kind], resumed[kind]) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_another_process_goes_on_with_the_same_batches_from_every_step(runs, kind):
    whole, resumed = runs[kind]
    expected = [data_kinds.digest(batch) for batch in whole]
    assert len(resumed) == data_kinds.STEPS
    for step, found in enumerate(resumed):
        assert found == expected[step:], f"resumed at step {step}"


@pytest.mark.parametrize("kind", IN_MEMORY)
def test_each_pass_has_each_row_once_in_an_order_of_its_own(runs, kind):
    batches, _ = runs[kind]
    rows = [tuple(row) for batch in batches for row in batch["decoder_target_tokens"]]
    size = data_kinds.ROWS
    passes = [tuple(rows[i * size : (i + 1) * size]) for i in range(data_kinds.PASSES)]
    assert len({*passes[0]}) == size
    assert all(collections.Counter(one) == collections.Counter(passes[0]) for one in passes)
    assert len({*passes}) == data_kinds.PASSES
