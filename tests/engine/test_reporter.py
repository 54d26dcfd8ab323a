import types

from mpt_jax import hosts
from mpt_jax.engine.records import history
from mpt_jax.engine.reporting.reporter import Reporter

RESULTS = {"nli": {"accuracy": 50.0}, "mean": {"key_metric": 50.0}}


def report(folder):
    model = types.SimpleNamespace(method=types.SimpleNamespace(name="mpt"))
    settings = types.SimpleNamespace(model=model, model_dir=str(folder), total_steps=4)
    with Reporter(settings, 0) as reporter:
        reporter.training(2, {"loss": 1.5})
        reporter.evaluation(4, RESULTS, {})


def test_numbers_go_to_the_display_and_to_the_files(tmp_path, capsys):
    tmp_path = tmp_path / "demo"
    tmp_path.mkdir()
    report(tmp_path)
    assert history.read(tmp_path) == [
        {"step": 2, "kind": "train", "loss": 1.5},
        {"step": 4, "kind": "eval", "mean/key_metric": 50.0, "nli/accuracy": 50.0},
    ]
    shown = capsys.readouterr().err
    assert "mpt demo  2/4  loss 1.5" in shown
    assert "mpt demo  4/4  loss 1.5  score 50" in shown
    values = "score 50.00  nli/accuracy 50.00  mean/key_metric 50.00"
    assert f"step 4  validation: {values}" in shown


def test_other_processes_are_silent(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(hosts, "is_first", lambda: False)
    report(tmp_path)
    assert not list(tmp_path.iterdir())
    assert not capsys.readouterr().err
