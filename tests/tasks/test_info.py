from mpt_jax.tasks import info
from mpt_jax.tasks.info import TaskInfo


def test_a_task_without_facts_has_no_labels_and_accuracy():
    assert info.info("no_such_task") == TaskInfo(label_words=(), metric="accuracy")


def test_registered_facts_are_returned(monkeypatch):
    monkeypatch.setattr(info, "_INFO", {})
    info.register_info("toy", TaskInfo(("yes", "no"), "f1"))
    assert info.info("toy") == TaskInfo(("yes", "no"), "f1")
    assert info.label_words(["toy", "other"]) == {"toy": ("yes", "no"), "other": ()}
