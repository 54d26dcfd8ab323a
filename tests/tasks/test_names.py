"""The names that are known without SeqIO are those that are registered."""

from mpt_jax.tasks import mini, names, paper, registration
from mpt_jax.tasks.mini.vocabulary import vocabulary


def test_the_names_are_those_that_the_modules_register(monkeypatch):
    found = []

    def add(name, *_, **__):
        found.append(name)

    monkeypatch.setattr(registration, "add_task", add)
    monkeypatch.setattr(registration, "add_mixture", add)
    monkeypatch.setattr(paper, "add_task", add)
    mini._register()
    assert sorted(found) == sorted(names.MINI)
    found.clear()
    paper.register(vocabulary=vocabulary())
    assert sorted(found) == sorted(names.PAPER)
