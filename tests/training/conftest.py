"""Toy runs of the loop: the backbone, the batches it fetches, and a run that nothing stopped."""

import gin
import pytest
import toy
from toy_loop import TASKS, Fetched, run

from mpt_jax.engine.evaluation import evaluator


@pytest.fixture(autouse=True)
def _no_configuration():
    gin.clear_config()


@pytest.fixture(scope="session", name="backbone")
def _backbone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backbone")
    toy.save(folder)
    return str(folder)


@pytest.fixture(name="fetched")
def _fetched(monkeypatch):
    return Fetched(monkeypatch)


@pytest.fixture(name="scores")
def _scores(monkeypatch):
    """{step: outcome}: an evaluation whose outcome the test decides.

    It is the mean key metric, the key metrics of the tasks, or what raises.
    """
    scores = {}

    class Evaluator:
        key_metrics = dict.fromkeys(TASKS, "likeness")
        asked = {}

        def __init__(self, *unused_args):
            pass

        def run(self, found, *, step, output_dir):
            score = scores.get(step, 0.0)
            if isinstance(score, tuple):
                by_task = {t: {"likeness": s} for t, s in zip(TASKS, score, strict=True)}
                return {**by_task, "mean": {"key_metric": sum(score) / len(score)}}
            return {"mean": {"key_metric": score() if callable(score) else score}}

        def collapses(self):
            return {}

    monkeypatch.setattr(evaluator, "Evaluator", Evaluator)
    return scores


@pytest.fixture(scope="session", name="whole")
def _whole(tmp_path_factory, backbone):
    """(folder, batches) of a run that nothing stopped."""
    gin.clear_config()
    with pytest.MonkeyPatch.context() as monkeypatch:
        fetched = Fetched(monkeypatch)
        return run(tmp_path_factory.mktemp("whole"), backbone), fetched
