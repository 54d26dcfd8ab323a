import types

from mpt_jax import hosts
from mpt_jax.engine.records import history
from mpt_jax.engine.reporting.reporter import Reporter

RESULTS = {"nli": {"accuracy": 50.0}, "mean": {"key_metric": 50.0}}


def report(folder, collapses):
    model = types.SimpleNamespace(method=types.SimpleNamespace(name="mpt"))
    settings = types.SimpleNamespace(model=model, model_dir=str(folder), total_steps=4)
    with Reporter(settings, 0) as reporter:
        reporter.training(2, {"loss": 1.5})
        reporter.evaluation(4, RESULTS, collapses)


def test_numbers_go_to_the_display_and_to_the_files(tmp_path, capsys):
    tmp_path = tmp_path / "demo"
    tmp_path.mkdir()
    report(tmp_path, lambda: {"nli": "100 % of the answers are 'no'"})
    assert history.read(tmp_path) == [
        {"step": 2, "kind": "train", "loss": 1.5},
        {"step": 4, "kind": "eval", "mean/key_metric": 50.0, "nli/accuracy": 50.0},
    ]
    shown = capsys.readouterr().err
    assert "mpt demo  2/4  loss 1.5" in shown
    assert "mpt demo  4/4  loss 1.5  score 50" in shown
    values = "score 50.00  nli/accuracy 50.00  mean/key_metric 50.00"
    assert f"step 4  validation: {values}" in shown
    assert "step 4  nli: 100 % of the answers are 'no'" in shown


def test_other_processes_are_silent_and_decode_nothing(tmp_path, capsys, monkeypatch):
    def collapses():
        raise AssertionError

    monkeypatch.setattr(hosts, "is_first", lambda: False)
    report(tmp_path, collapses)
    assert not list(tmp_path.iterdir())
    assert not capsys.readouterr().err
