import pytest
import seqio

from mpt_jax.errors import UserError
from mpt_jax.tasks import listing, local, registration

LENGTHS = {"inputs": 10, "targets": 9}


@pytest.fixture(autouse=True)
def _registry(tmp_path, monkeypatch):
    """Two tasks over bytes, in their own registries."""
    for registry in (seqio.TaskRegistry, seqio.MixtureRegistry):
        monkeypatch.setattr(registry, "_REGISTRY", {})
    monkeypatch.chdir(tmp_path)
    texts = ["fine", "dull", "good", "a long review"]
    rows = [f"{text},{'yes' if i == 2 else 'no'}\n" for i, text in enumerate(texts)]
    (tmp_path / "train.csv").write_text("text,good\n" + "".join(rows))
    (tmp_path / "test.csv").write_text("text,good\nnever,no\n")
    splits = {"train": "train.csv", "validation": "test.csv"}
    tasks = [
        local.Task("reviews", splits, "{text}", "{good}", ["macro_f1"], label_words=("yes", "no")),
        local.Task("echo", {"test": "test.csv"}, "{text}", "{text}", ["bleu"]),
    ]
    local.register(tasks, seqio.ByteVocabulary())
    registration.add_mixture("both", ["reviews", "echo"])


def show(capsys, name=None):
    listing.show(name, task_feature_lengths=LENGTHS, modules=["mpt_jax.tasks.local"])
    return capsys.readouterr().out.splitlines()


def test_the_list(capsys):
    assert (
        show(capsys)
        == show(capsys, "both")
        == [
            "task     key metric  label words  mixtures",
            "echo     bleu                     both",
            "reviews  macro_f1    yes, no      both",
        ]
    )


def test_one_task(capsys):
    assert show(capsys, "reviews") == [
        "task        reviews",
        "mixtures    both",
        "key metric  macro_f1",
        "inputs      {text}",
        "",
        "Tokens, with the end token",
        "split       side     examples  median  95 %  longest  limit     cut",
        "train       inputs          4       5    14       14     10  25.0 %",
        "train       targets         4       3     4        4      9   0.0 %",
        "validation  inputs          1       6     6        6     10   0.0 %",
        "validation  targets         1       3     3        3      9   0.0 %",
        "",
        "Targets",
        "target       train   validation",
        "yes     1 (25.0 %)    0 (0.0 %)",
        "no      3 (75.0 %)  1 (100.0 %)",
        "",
        "Example 1 of train",
        "inputs   fine",
        "targets  no",
        "",
        "Example 2 of train",
        "inputs   dull",
        "targets  no",
        "",
        "Example 3 of train",
        "inputs   good",
        "targets  yes",
    ]


def test_a_task_without_label_words_has_no_table_of_them(capsys):
    assert "Targets" not in show(capsys, "echo")


def test_targets_that_are_no_label_words_are_counted_together(capsys):
    from mpt_jax.tasks import info

    info.register_info("echo", info.TaskInfo(("yes", "no"), "bleu"))
    assert "(others)  1 (100.0 %)" in show(capsys, "echo")


def test_an_unknown_name_comes_with_the_nearest(capsys):
    with pytest.raises(UserError, match="'review'. Did you mean 'reviews'"):
        show(capsys, "review")
