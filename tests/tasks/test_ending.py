import data_kinds
import pytest
import seqio

from mpt_jax.engine.data.feature_converter import TaskIdFeatureConverter
from mpt_jax.engine.data.pipeline import DatasetConfig, train_dataset


def end(name, step, **feature):
    """Trains on a task whose last preprocessor is `step`."""
    side = seqio.Feature(seqio.ByteVocabulary(), **feature)
    seqio.TaskRegistry.add(
        name,
        source=data_kinds.function_source(name),
        preprocessors=[seqio.preprocessors.tokenize, *([step] if step else [])],
        output_features={"inputs": side, "targets": side},
    )
    cfg = DatasetConfig(name, data_kinds.LENGTHS, "train", 4, True, 0)
    train_dataset(cfg, TaskIdFeatureConverter, shard=seqio.ShardInfo(0, 1))


@pytest.fixture(autouse=True)
def _registry(monkeypatch):
    monkeypatch.setattr(seqio.TaskRegistry, "_REGISTRY", {})


def test_a_task_that_cuts_the_end_token_off_is_named(capsys):
    end("cut", seqio.preprocessors.append_eos)
    said = capsys.readouterr().err
    assert "task 'cut' cuts the end token off its longer inputs and targets" in said
    assert "append_eos_after_trim" in said


@pytest.mark.parametrize(
    "step, wanted", [(seqio.preprocessors.append_eos_after_trim, True), (None, False)]
)
def test_a_task_that_ends_as_it_says_is_not(capsys, step, wanted):
    end("whole", step, add_eos=wanted)
    assert "end token" not in capsys.readouterr().err
