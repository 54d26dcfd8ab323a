"""Tasks of a user's files from the declaration to tokens; readers and forms have other files."""

import json

import pytest
import seqio

from mpt_jax.errors import UserError
from mpt_jax.tasks import info, local, mixtures, postprocessors

BYTES = seqio.ByteVocabulary()
SETTINGS = {
    "name": "reviews",
    "splits": {"train": "train.jsonl", "validation": "validation.csv", "test": "test.tsv"},
    "inputs": "review: {text}",
    "targets": "{stars}",
    "metrics": ["accuracy"],
    "label_words": {1: "negative", 5: "positive"},
}
FILES = {
    "train.jsonl": '{"text": "bad", "stars": 1}\n{"text": "fine", "stars": 5}\n',
    "validation.csv": 'text,stars\n"so, so",1\n',
    "test.tsv": 'stars\ttext\n5\t"great"\n',
}


@pytest.fixture(name="folder", autouse=True)
def _folder(tmp_path, monkeypatch):
    """The working directory, with the files; the registries are as before after the test."""
    registries = (seqio.TaskRegistry, seqio.MixtureRegistry)
    for registry in registries:
        monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def write_rows(name, rows):
    with open(name, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")


def register(**settings):
    """Registers one task; settings that are None are left out."""
    chosen = {k: v for k, v in {**SETTINGS, **settings}.items() if v is not None}
    local.register([local.Task(**chosen)], BYTES)
    return seqio.TaskRegistry.get(chosen["name"])


def rows_of(task, split, **lengths):
    dataset = task.get_dataset(lengths or None, split=split, shuffle=False)
    return list(dataset.as_numpy_iterator())


def texts_of(task, split):
    rows = rows_of(task, split)
    return [(r["inputs_pretokenized"].decode(), r["targets_pretokenized"].decode()) for r in rows]


def test_every_format_gives_the_same_kind_of_rows():
    task = register()
    assert task.splits == ("train", "validation", "test")
    assert texts_of(task, "train") == [("review: bad", "negative"), ("review: fine", "positive")]
    assert texts_of(task, "validation") == [("review: so, so", "negative")]
    assert texts_of(task, "test") == [('review: "great"', "positive")]
    assert [task.num_input_examples(split) for split in task.splits] == [2, 1, 1]


def test_tokens_end_with_eos_and_keep_to_the_lengths():
    (row,) = rows_of(register(), "validation", inputs=8, targets=20)
    assert row["inputs"].tolist() == [*BYTES.encode("review:"), 1]
    assert row["targets"].tolist() == [*BYTES.encode("negative"), 1]


def test_what_a_run_wants_to_know_of_a_task():
    register(metrics=["macro_f1", "accuracy"])
    assert info.info("reviews") == info.TaskInfo(
        label_words=("negative", "positive"), metric="macro_f1", inputs="review: {text}"
    )


def test_one_function_that_gives_two_metrics_is_called_once():
    task = register(metrics=["f1", "exact_match", "bleu"], label_words=None)
    assert [fn.__name__ for fn in task.metric_fns] == ["squad", "bleu"]


def test_the_module_is_returned_by_name():
    name = local.register([local.Task(**SETTINGS)], BYTES)
    assert name == "mpt_jax.tasks.local"
    assert mixtures.task_names("reviews", module=name) == ("reviews",)


def test_files_are_read_when_used_and_once(monkeypatch):
    opened = []
    read = local.files.read_file
    monkeypatch.setattr(
        local.files, "read_file", lambda path: opened.append(path.name) or read(path)
    )
    register(name="missing", splits={"train": "nowhere.csv"})
    task = register()
    assert opened == []
    rows_of(task, "test")
    rows_of(register(), "test")  # the same declaration, as gin evaluates it several times
    assert opened == ["test.tsv"]
    changed = register(inputs="text: {text}")
    assert texts_of(changed, "test") == [('text: "great"', "positive")]
    assert opened == ["test.tsv", "test.tsv"]


def test_another_working_directory_has_other_files(folder, monkeypatch):
    rows_of(register(), "test")
    (folder / "other").mkdir()
    monkeypatch.chdir(folder / "other")
    (folder / "other" / "test.tsv").write_text("text\tstars\nother\t1\n")
    assert texts_of(register(), "test") == [("review: other", "negative")]
    assert texts_of(register(folder=str(folder)), "test") == [('review: "great"', "positive")]


def test_validation_is_cut_from_train(monkeypatch):
    write_rows("train.jsonl", [{"text": f"row {i}", "stars": 1 + 4 * (i % 2)} for i in range(300)])
    reads = []
    read = local.files.read_file
    monkeypatch.setattr(local.files, "read_file", lambda path: reads.append(path) or read(path))
    task = register(splits={"train": "train.jsonl"}, validation_share=0.2)
    assert task.splits == ("train", "validation")
    train, validation = texts_of(task, "train"), texts_of(task, "validation")
    assert len(train) + len(validation) == 300 and 40 <= len(validation) <= 80
    assert not set(train) & set(validation)
    assert len(reads) == 1


def test_a_cut_that_leaves_a_side_empty():
    task = register(splits={"train": "train.jsonl"})
    with pytest.raises(UserError, match="'reviews': validation_share = 0.1 of 2 rows leaves 0 to"):
        task.num_input_examples("train")


def test_without_a_train_split_nothing_is_cut():
    assert register(splits={"test": "test.tsv"}).splits == ("test",)


def test_several_right_answers():
    write_rows(
        "qa.jsonl",
        [
            {"question": "who", "answers": ["Ann", "Ann B."]},
            {"question": "where", "answers": "Rome"},
            {"question": "who", "answers": ["Bob"]},
        ],
    )
    task = register(
        splits={"train": "qa.jsonl", "validation": "qa.jsonl"},
        inputs="{question}",
        targets="{answers}",
        metrics=["f1", "exact_match"],
        label_words=None,
    )
    # Training keeps every row, with its first answer; evaluation has one example per question.
    assert texts_of(task, "train") == [("who", "Ann"), ("where", "Rome"), ("who", "Bob")]
    who, where = rows_of(task, "validation")
    assert task.postprocessor is postprocessors.references
    targets = [task.postprocess_fn("", example=row, is_target=True) for row in (who, where)]
    assert targets == [["Ann", "Ann B.", "Bob"], ["Rome"]]
    (metric,) = task.metric_fns
    assert metric(targets=targets, predictions=["bob", "Paris"])["exact_match"] == 50.0


def test_numbers_are_rounded():
    write_rows("sts.jsonl", [{"text": "t", "score": 3.75}])
    task = register(
        splits={"test": "sts.jsonl"},
        targets="{score}",
        metrics=["pearson", "spearman"],
        label_words=None,
        round_to=0.2,
    )
    assert texts_of(task, "test") == [("review: t", "3.8")]


def test_few_shot_and_task_ids_work_as_for_any_task():
    register()
    register(name="second", splits={"train": "train.jsonl", "validation": "validation.csv"})
    mixture = mixtures.bind_tasks(["second", "reviews"], few_shot=1)
    assert [task.num_input_examples("train") for task in mixture.tasks] == [1, 1]
    rows = mixture.get_dataset(
        {"inputs": 32, "targets": 32}, split="train", shuffle=True, seed=0, num_epochs=4
    )
    assert {int(row["task_ids"][0]) for row in rows.as_numpy_iterator()} == {0, 1}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"name": "my-task"}, "a name is of letters, digits, _ and dots"),
        ({"name": 3}, "name = 3 must be text"),
        ({"splits": {}}, "splits = {} must name a file for each"),
        ({"splits": "train.jsonl"}, "splits = 'train.jsonl' must name a file"),
        ({"splits": {"train": "train.json"}}, "'train.json' is: known are .jsonl, .csv, .tsv"),
        ({"splits": {"train": 3}}, "'3' is: known are"),
        ({"inputs": "{text"}, "inputs = '{text' is not a template"),
        ({"inputs": "text"}, "inputs = 'text' names no field"),
        ({"targets": ["{stars}"]}, r"targets = \['{stars}'\] must be text"),
        ({"metrics": ["accurcy"]}, "unknown metric 'accurcy'. Did you mean 'accuracy'"),
        ({"metrics": [3]}, "unknown metric 3"),
        ({"metrics": "accuracy"}, r"metrics = 'accuracy' must be a list of names"),
        ({"metrics": []}, "must be a list of names"),
        ({"metrics": ["pearson"]}, "the metrics need numbers, but 'negative' is none"),
        ({"round_to": 0.2}, "exclude each other"),
        ({"validation_share": 1.0}, "must lie between 0 and 1"),
        ({"validation_share": "10%"}, "must be a number"),
        ({"skip_bad_rows": "no"}, "skip_bad_rows = 'no' must be True or False"),
        ({"folder": 3}, "folder = 3 must be text"),
    ],
)
def test_settings_that_cannot_be(settings, expected):
    with pytest.raises(UserError, match=expected) as error:
        register(**settings)
    assert str(error.value).startswith(f"Task {settings.get('name', 'reviews')!r}: ")


def test_tasks_are_a_list_of_different_names():
    task = local.Task(**SETTINGS)
    with pytest.raises(UserError, match="two tasks with the name 'reviews'"):
        local.register([task, task], BYTES)
    for mistake in (task, [local.Task], "reviews"):
        with pytest.raises(UserError, match="must be a list"):
            local.register(mistake, BYTES)
    assert local.names([task, local.Task(**{**SETTINGS, "name": "b"})]) == ["reviews", "b"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"splits": {"train": "trian.jsonl"}}, "no file trian.jsonl. Did you mean 'train.jsonl'"),
        (
            {"inputs": "{txt}"},
            "train.jsonl (task 'reviews'): every row is bad: there is no field 't",
        ),
        (
            {"label_words": {1: "negative"}},
            "1 bad of 2 rows:\n  line 2: the label '5' is not one of '1'",
        ),
        ({"splits": {"train": "empty.jsonl"}}, "empty.jsonl (task 'reviews') holds no rows"),
        ({"splits": {"train": "latin.csv"}}, "latin.csv, line 2, is not UTF-8"),
        (
            {"splits": {"train": "train"}, "tfds": "prepared"},
            "no prepared TFDS dataset in prepared",
        ),
    ],
)
def test_data_that_cannot_be_used_stops_before_training(settings, expected, folder):
    (folder / "empty.jsonl").touch()
    (folder / "latin.csv").write_bytes("text,stars\nété,1\n".encode("latin-1"))
    register(**settings)
    with pytest.raises(UserError) as error:
        mixtures.bind_tasks("reviews")
    assert expected in str(error.value)


def test_few_shot_beyond_the_rows():
    register()
    with pytest.raises(
        UserError, match="'reviews': few_shot = 3 must lie between 1 and the 2 rows"
    ):
        mixtures.bind_tasks("reviews", few_shot=3)


def test_tasks_of_another_vocabulary_are_not_mixed():
    register()
    other = local.Task(**{**SETTINGS, "name": "other"})
    local.register([other], seqio.ByteVocabulary(extra_ids=8))
    message = "'reviews' and 'other' cannot be mixed: their feature .* another vocabulary"
    with pytest.raises(UserError, match=message):
        mixtures.bind_tasks(["reviews", "other"])
