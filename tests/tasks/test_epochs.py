import pytest
import seqio

from mpt_jax.errors import UserError
from mpt_jax.tasks import epochs, mixtures, paper


@pytest.fixture(autouse=True)
def _registered(paper_data_dir):
    paper.register(vocabulary=seqio.ByteVocabulary(), data_dir=paper_data_dir)


def test_steps_are_rows_times_epochs_over_the_batch_rounded_up():
    assert epochs.steps("rte", epochs=20, batch_size=32) == 4  # 5 rows: 100 / 32
    assert epochs.steps("record", epochs=1, batch_size=4) == 2  # a row for each of 8 answers
    assert epochs.steps("paper_sources", epochs=5, batch_size=8) == 19  # 5 * 29 / 8
    assert epochs.steps(["rte", "cb"], epochs=1, batch_size=5) == 2


def test_a_large_task_counts_as_much_as_in_the_mixture(monkeypatch):
    monkeypatch.setattr(epochs, "SIZE_LIMIT", 3)
    assert epochs.steps(["rte", "cb"], epochs=1, batch_size=1) == 6
    assert mixtures.SIZE_LIMIT == 2**19


def test_equal_mixing_counts_the_largest_task():
    sizes = [epochs.steps(name, epochs=1, batch_size=1) for name in ("rte", "record")]
    assert sizes == [5, 8]
    both = epochs.steps(["rte", "record"], epochs=5, batch_size=8, equal_mixing=True)
    assert both == 5  # 5 * 8 / 8


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": 0}])
def test_counts_below_one_are_refused(wrong):
    with pytest.raises(UserError, match="at least one"):
        epochs.steps("rte", **{"epochs": 1, "batch_size": 1, **wrong})
