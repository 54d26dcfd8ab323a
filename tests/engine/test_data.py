import collections
import dataclasses
import functools
import itertools
import shutil

import numpy as np
import pytest
import seqio
import tensorflow as tf

from mpt_jax.engine.data import pipeline
from mpt_jax.engine.data.feature_converter import TaskIdFeatureConverter
from mpt_jax.engine.data.pipeline import DatasetConfig, load_mixture, train_batches
from mpt_jax.errors import UserError
from mpt_jax.tasks.info import TaskInfo, info
from mpt_jax.tasks.mini.vocabulary import vocabulary
from mpt_jax.tasks.mixtures import bind_tasks

SIZES = {"toy_a": 10, "toy_b": 30, "toy_c": 20, "toy_empty": 0}
TASKS = ["toy_c", "toy_a", "toy_b"]
TEXT = seqio.Feature(seqio.ByteVocabulary())


def register(name, rows, steps=(), splits=("train", "validation")):
    def dataset_fn(split, shuffle_files=False, seed=None):
        texts = [f"{name[-1]}{'x' * (i % 5)}{i}" for i in range(rows)]
        return tf.data.Dataset.from_tensor_slices(
            {side: tf.constant(texts, tf.string, [rows]) for side in ("inputs", "targets")}
        )

    sizes = dict.fromkeys(splits, rows)
    seqio.TaskRegistry.add(
        name,
        source=seqio.FunctionDataSource(dataset_fn, list(sizes), sizes),
        preprocessors=[
            functools.partial(seqio.preprocessors.tokenize, copy_pretokenized=False),
            seqio.preprocessors.append_eos_after_trim,
            *steps,
        ],
        output_features={"inputs": TEXT, "targets": TEXT},
    )


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    monkeypatch.setattr(seqio.TaskRegistry, "_REGISTRY", {})
    monkeypatch.setattr(seqio.MixtureRegistry, "_REGISTRY", {})
    for name, rows in SIZES.items():
        register(name, rows)


def config(names, **changes):
    fields = {
        "mixture_or_task_name": names,
        "task_feature_lengths": {"inputs": 9, "targets": 9},
        "split": "train",
        "batch_size": 4,
        "shuffle": True,
        "seed": None,
    }
    return DatasetConfig(**{**fields, **changes})


ALL = seqio.ShardInfo(0, 1)


def train(names, *, shard=ALL, seed=0, **changes):
    return train_batches(config(names, **changes), TaskIdFeatureConverter, shard=shard, seed=seed)


def texts(batch):
    rows = batch["encoder_input_tokens"]
    return [text for row in rows if (text := TEXT.vocabulary.decode(row.tolist()))]


def assert_same(batch, other):
    assert set(batch) == set(other)
    for name, array in batch.items():
        np.testing.assert_array_equal(array, other[name])


def test_a_batch_holds_the_contracts_features():
    iterator = train(TASKS)
    batch = next(iterator)
    assert {name: (array.shape, array.dtype) for name, array in batch.items()} == {
        "encoder_input_tokens": ((4, 9), np.int32),
        "decoder_input_tokens": ((4, 9), np.int32),
        "decoder_target_tokens": ((4, 9), np.int32),
        "decoder_loss_weights": ((4, 9), np.int32),
        "task_ids": ((4,), np.int32),
    }
    for text, task_id in zip(texts(batch), batch["task_ids"], strict=True):
        assert TASKS[task_id] == f"toy_{text[0]}"


@pytest.mark.parametrize("names", [TASKS, ["toy_a"]])
def test_tensorflows_tuner_does_not_hold_up_the_end_of_an_iterator(names):
    cfg = config(names)
    training = pipeline.train_dataset(cfg, TaskIdFeatureConverter, shard=ALL)
    reading = {"split": "validation", "shuffle": False, "num_epochs": 1}
    validation = load_mixture(cfg).get_dataset(cfg.task_feature_lengths, **reading)
    assert training.options().autotune.enabled is False
    assert validation.options().autotune.enabled is False


def test_the_seed_fixes_the_batches_and_the_configs_comes_first():
    first, second, configured = (
        next(
            train_batches(
                config("toy_b", seed=own),
                TaskIdFeatureConverter,
                shard=ALL,
                seed=run,
            )
        )
        for own, run in [(None, 1), (None, 2), (1, 2)]
    )
    assert_same(first, configured)
    assert texts(first) != texts(second)


def test_batches_hold_the_tasks_that_were_sampled_for_them():
    B, names = 6, sorted(TASKS)  # SeqIO mixes by name, ids follow TASKS
    mixture = bind_tasks(TASKS, min_tasks_per_batch=2, batch_size=B, seed=5)
    iterator = train(mixture, batch_size=B)
    for step in range(25):
        rates = [float(SIZES[name]) for name in names]
        choices = mixture.choices(step, rates, None).numpy()
        expected = [TASKS.index(names[choice]) for choice in choices]
        assert next(iterator)["task_ids"].tolist() == expected


def test_rows_whose_reading_keeps_a_state_are_refused():
    def stateful(row):
        return {**row, "inputs": tf.random.shuffle(row["inputs"])}

    register("toy_stateful", 5, steps=[lambda dataset: dataset.map(stateful)])
    with pytest.raises(UserError, match="'toy_stateful' cannot be trained on.*stateless.*cache"):
        train(["toy_a", "toy_stateful"])


def test_few_shot_rows_are_seen_equally_often():
    batches = train(bind_tasks("toy_b", few_shot=8))
    seen = itertools.chain.from_iterable(map(texts, itertools.islice(batches, 20)))
    assert sorted(collections.Counter(seen).values()) == [10] * 8


def test_processes_share_an_epoch():
    halves = [train("toy_a", shard=seqio.ShardInfo(i, 2)) for i in range(2)]
    epoch = [text for half in halves for _ in range(2) for text in texts(next(half))]
    assert len(set(epoch)) == 8


def test_buckets_cut_padding_alone():
    whole, cut = train(TASKS), train(TASKS, length_buckets={"inputs": [5, 6, 7]})
    widths = set()
    for _ in range(15):
        batch, small = next(whole), next(cut)
        widths.add(width := small["encoder_input_tokens"].shape[1])
        assert not batch["encoder_input_tokens"][:, width:].any()
        np.testing.assert_array_equal(
            batch["encoder_input_tokens"][:, :width], small["encoder_input_tokens"]
        )
    assert len(widths) > 1 and widths <= {5, 6, 7, 9}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"pack": True}, "pack = True"),
        ({"batch_size": 0}, "batch_size must be a number of at least 1"),
        ({"batch_size": "x"}, "batch_size must be a number of at least 1; got 'x'"),
        ({"task_feature_lengths": {"inputs": 4}}, "the limit of targets"),
        ({"length_buckets": {"inputs": [8, 4]}}, "ascending"),
        ({"length_buckets": {"encoder": [4]}}, "'inputs' and 'targets'"),
        ({"split": "dev"}, "no split 'dev'; it has train, validation"),
        ({"mixture_or_task_name": "toy_d"}, "Unknown task or mixture 'toy_d'. Did you mean 'toy_"),
        ({"mixture_or_task_name": "toy_empty"}, "'toy_empty' has 0 rows"),
        ({"module": "no_such_module"}, "MODULE 'no_such_module': No module"),
    ],
)
def test_bad_configurations_say_what_is_wrong(changes, message):
    with pytest.raises(UserError, match=message):
        load_mixture(config("toy_a", **changes))


def test_a_batch_must_divide_over_the_processes():
    with pytest.raises(UserError, match="Batch size 4 does not divide over 3 processes"):
        train("toy_a", shard=seqio.ShardInfo(0, 3))


def test_each_process_needs_a_row():
    with pytest.raises(UserError, match="has 10 rows; at least 16 are needed"):
        train("toy_a", batch_size=16, shard=seqio.ShardInfo(0, 16))


def test_a_task_whose_rows_are_all_dropped_is_named():
    register("toy_dropped", 5, steps=[lambda dataset: dataset.filter(lambda _: False)])
    with pytest.raises(UserError, match="'train' of task 'toy_dropped' gives no example"):
        pipeline.check_vocabularies(
            config(["toy_a", "toy_dropped"]), TEXT.vocabulary, TEXT.vocabulary
        )


def test_tasks_without_the_split_are_left_out_and_named(capsys):
    """The others keep the ids and the rates that they have among all."""
    register("toy_no_dev", 5, splits=("train",))
    mixture = bind_tasks(["toy_no_dev", "toy_b", "toy_a"])
    found = load_mixture(config(mixture, split="validation"))
    assert "no split 'validation': toy_no_dev" in capsys.readouterr().err
    assert {task.name: found.get_rate(task) for task in found.tasks} == {"toy_a": 10, "toy_b": 30}
    rows = found.get_dataset({"inputs": 9, "targets": 9}, "validation", num_epochs=1, seed=0)
    assert {int(row["task_ids"][0]) for row in rows.take(40).as_numpy_iterator()} == {1, 2}
    with pytest.raises(UserError, match="'toy_no_dev' has no split 'validation'; it has train"):
        load_mixture(config("toy_no_dev", split="validation"))


@pytest.mark.parametrize("few_shot, min_tasks", [(3, None), (None, 3)])
def test_training_leaves_out_tasks_without_rows_to_train_on(few_shot, min_tasks):
    register("toy_test_only", 5, splits=("validation",))
    tasks = ["toy_test_only", "toy_a", "toy_b"]
    mixture = bind_tasks(tasks, few_shot=few_shot, min_tasks_per_batch=min_tasks, batch_size=4)
    batches = itertools.islice(train(mixture), 8)
    assert {int(task) for batch in batches for task in batch["task_ids"]} == {1, 2}


def test_two_batch_sizes_are_refused():
    mixture = bind_tasks(TASKS, min_tasks_per_batch=2, batch_size=8)
    with pytest.raises(
        UserError, match=r"batch_size = 8 .*Config.batch_size = 4 .*--gin.BATCH_SIZE"
    ):
        train(mixture, batch_size=4)


def test_a_mixture_without_ids_is_refused():
    mixture = seqio.Mixture("plain", [("toy_a", 1.0)])
    with pytest.raises(UserError, match="'plain' carries no task ids"):
        load_mixture(config(mixture))


def test_label_words_must_fit_the_targets(monkeypatch):
    known = {"toy_a": TaskInfo(label_words=("no", "yes"), metric="accuracy")}
    monkeypatch.setattr("mpt_jax.tasks.info.info", lambda name: known.get(name) or info(name))
    cfg = config("toy_a", task_feature_lengths={"inputs": 9, "targets": 4})
    load_mixture(cfg)
    with pytest.raises(UserError, match="'yes' of task 'toy_a' takes 4 tokens .* the 3 of"):
        load_mixture(dataclasses.replace(cfg, task_feature_lengths={"inputs": 9, "targets": 3}))


def test_a_copy_of_a_vocabulary_is_the_same_vocabulary(tmp_path):
    copy = shutil.copy(vocabulary().sentencepiece_model_file, tmp_path)
    copies = [seqio.SentencePieceVocabulary(copy, extra_ids=n) for n in (32, 100)]
    assert [pipeline._same(vocabulary(), other) for other in copies] == [True, False]
    assert pipeline._same(seqio.ByteVocabulary(), seqio.ByteVocabulary())
    assert not pipeline._same(vocabulary(), seqio.ByteVocabulary())
