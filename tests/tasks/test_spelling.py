import functools

import pytest
import seqio
import tensorflow as tf

from mpt_jax import cli
from mpt_jax.engine.data import pipeline
from mpt_jax.errors import UserError
from mpt_jax.tasks import local, metrics, spelling
from mpt_jax.tasks.info import TaskInfo, register_info
from mpt_jax.tasks.mini.vocabulary import vocabulary  # lower case, few signs

LOWER = {"postprocess_fn": lambda text, **_: text.lower()}


@pytest.fixture(autouse=True)
def _registry(monkeypatch, tmp_path):
    for registry in (seqio.TaskRegistry, seqio.MixtureRegistry):
        monkeypatch.setattr(registry, "_REGISTRY", {})
    monkeypatch.chdir(tmp_path)


def task(targets, *, words=(), keep=True, **fields):
    """A registered task of the mini vocabulary, as a user writes one."""

    def dataset(split, shuffle_files, seed=None):
        texts = {"inputs": ["law"] * len(targets), "targets": list(targets)}
        return tf.data.Dataset.from_tensor_slices(texts)

    feature = seqio.Feature(vocabulary(), add_eos=True)
    seqio.TaskRegistry.add(
        "toy",
        source=seqio.FunctionDataSource(dataset, ["train"], {"train": len(targets)}),
        preprocessors=[
            functools.partial(seqio.preprocessors.tokenize, copy_pretokenized=keep),
            seqio.preprocessors.append_eos_after_trim,
        ],
        output_features={"inputs": feature, "targets": feature},
        metric_fns=[metrics.accuracy],
        **fields,
    )
    register_info("toy", TaskInfo(tuple(words)))
    return seqio.TaskRegistry.get("toy")


def check():
    cfg = pipeline.DatasetConfig("toy", {"inputs": 9, "targets": 9}, "train", 2, True, 0)
    pipeline.check_vocabularies(cfg, vocabulary(), vocabulary())


@pytest.mark.parametrize(
    ("words", "becomes"),
    [
        (("Good", "bad"), "'Good' of task 'toy' cannot be spelled .* where it becomes 'good'"),
        (("<good>", "bad"), "'<good>' of task 'toy' cannot be spelled"),
        (("very  good", "bad"), "'very  good' of task .* becomes 'very good'"),
        (("\u200b", "bad"), "'\\\\u200b' of task .* becomes ''"),
        (("good", "Good"), "'good' and 'Good' of task 'toy' are the same tokens"),
        (("{ a", "} a"), "are the same tokens"),
    ],
)
@pytest.mark.parametrize("absent", [False, True])
def test_a_label_that_no_answer_can_equal_is_refused(words, becomes, absent):
    task(["good"] if absent else words, words=words)
    with pytest.raises(UserError, match=becomes):
        check()


@pytest.mark.parametrize("fields", [LOWER, {"keep": False}])
def test_a_label_whose_difference_the_metrics_never_see_passes(fields, capsys):
    task(["Good", "bad"], words=["Good", "bad"], **fields)
    check()
    assert capsys.readouterr().err == ""


def test_labels_that_are_spelled_pass(capsys):
    task(["good", "very bad"], words=["good", "very bad"])
    check()
    assert capsys.readouterr().err == ""


def test_a_collision_is_one_whatever_is_compared():
    task(["Good", "good"], words=["Good", "good"], keep=False)
    with pytest.raises(UserError, match="same tokens"):
        check()


def test_the_share_of_other_targets_that_cannot_be_spelled_is_told(capsys):
    task(["law", "Law", "law law", "}"])
    check()
    expected = "2 of the first 4 targets in 'train' of task 'toy' cannot be spelled"
    assert expected in capsys.readouterr().err
    assert spelling.lost(seqio.TaskRegistry.get("toy"), []) == []


GIN = """
from __gin__ import dynamic_registration
from mpt_jax.tasks import local
include 'gin/suites/local.gin'
reviews/local.Task:
  name = 'reviews'
  splits = {'train': 'train.csv', 'validation': 'train.csv'}
  inputs = '{text}'
  targets = '{label}'
  label_words = ('Good', 'bad')
  metrics = ['accuracy']
TASKS = [@reviews/local.Task()]
"""


def test_the_listing_shows_what_the_model_sees(tmp_path, capsys):
    (tmp_path / "train.csv").write_text("text,label\nThe  LAW,Good\nthe judge,bad\n")
    (tmp_path / "reviews.gin").write_text(GIN)
    assert cli.main(["tasks", "reviews", "--gin_file=reviews.gin"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[lines.index("Not to be spelled in the vocabulary") + 1 :][:2] == [
        "target  becomes",
        "'Good'  'good'",
    ]
    assert lines[lines.index("Example 1 of train") + 1 :][:2] == [
        "inputs   the law",
        "targets  good",
    ]


def test_a_long_label_is_no_work(tmp_path):
    word = "label" * 20_000
    (tmp_path / "train.csv").write_text(f"text,label\na,{word}\nb,bad\n")
    one = local.Task(
        "t", {"train": "train.csv"}, "{text}", "{label}", ["accuracy"], ("good", word[:-1])
    )
    with pytest.raises(UserError) as error:
        one.read("train")
    assert len(str(error.value)) < 1000 and "100,000 characters" in str(error.value)
