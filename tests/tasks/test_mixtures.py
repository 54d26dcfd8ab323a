import collections
import functools
import itertools

import pytest
import seqio
import tensorflow as tf

from mpt_jax.errors import UserError
from mpt_jax.tasks.mixtures import bind_tasks, chosen, equal_batch_size, task_names

LENGTHS = {"inputs": 8, "targets": 4}
SIZES = {"toy_b": 30, "toy_a": 10, "toy_c": 20}
BYTES = {name: seqio.Feature(seqio.ByteVocabulary()) for name in ("inputs", "targets")}


def register(name, rows, features=BYTES):
    def dataset_fn(split, shuffle_files=False, seed=None):
        texts = [f"{name[-1]}{i}" for i in range(rows)]
        return tf.data.Dataset.from_tensor_slices({"inputs": texts, "targets": texts})

    seqio.TaskRegistry.add(
        name,
        source=seqio.FunctionDataSource(
            dataset_fn, ["train", "validation"], {"train": rows, "validation": rows}
        ),
        preprocessors=[
            functools.partial(seqio.preprocessors.tokenize, copy_pretokenized=True),
            seqio.preprocessors.append_eos_after_trim,
        ],
        output_features=features,
    )


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Toy tasks in their own registries; a mixture counts toy_a five times as often."""
    monkeypatch.setattr(seqio.TaskRegistry, "_REGISTRY", {})
    monkeypatch.setattr(seqio.MixtureRegistry, "_REGISTRY", {})
    for name, rows in SIZES.items():
        register(name, rows)
    seqio.MixtureRegistry.add("toy_mix", [("toy_b", 1.0), ("toy_a", 5.0)])


def rates(mixture):
    return {task.name: mixture.get_rate(task) for task in mixture.tasks}


def train(mixture, **kwargs):
    return mixture.get_dataset(
        LENGTHS, split="train", seed=0, try_in_mem_cache=False, **kwargs
    ).as_numpy_iterator()


def text(row):
    return BYTES["inputs"].vocabulary.decode(row["inputs"].tolist())


@pytest.mark.parametrize(
    "name, expected",
    [
        ("toy_b", ("toy_b",)),
        ("toy_mix", ("toy_a", "toy_b")),
        (["toy_c", "toy_a"], ("toy_c", "toy_a")),
        (["toy_c", "toy_mix", "toy_c"], ("toy_c", "toy_a", "toy_b")),
    ],
)
def test_names_of_a_list_keep_its_order(name, expected):
    assert task_names(name) == expected


def test_ids_are_positions_among_the_runs_tasks():
    mixture = bind_tasks(["toy_b", "toy_a"], tasks=["toy_c", "toy_b", "toy_a"])
    rows = itertools.islice(train(mixture), 40)
    seen = {text(row)[0]: row["task_ids"].tolist() for row in rows}
    assert seen == {"b": [1], "a": [2]}


def test_registered_tasks_stay_as_they_were():
    task = seqio.TaskRegistry.get("toy_a")
    bind_tasks("toy_a", few_shot=3)
    assert seqio.TaskRegistry.get("toy_a") is task
    assert set(task.output_features) == {"inputs", "targets"}
    assert task.num_input_examples("train") == 10


def test_a_list_is_mixed_by_rows_up_to_the_cap():
    assert rates(bind_tasks(list(SIZES), maximum=20)) == {"toy_a": 10, "toy_b": 20, "toy_c": 20}


def test_a_registered_mixture_keeps_its_rates():
    assert rates(bind_tasks("toy_mix")) == {"toy_a": 5, "toy_b": 1}


def test_few_shot_tasks_count_as_many_as_they_keep():
    by_rows = functools.partial(seqio.mixing_rate_num_examples, maximum=2**19)
    seqio.MixtureRegistry.add("toy_rows", ["toy_a", "toy_b"], default_rate=by_rows)
    assert rates(bind_tasks("toy_rows")) == {"toy_a": 10, "toy_b": 30}
    assert rates(bind_tasks("toy_rows", few_shot=4)) == {"toy_a": 4, "toy_b": 4}


def test_few_shot_training_sees_each_row_equally_often():
    mixture = bind_tasks("toy_b", few_shot=4, few_shot_seed=1)
    seen = [text(row) for row in itertools.islice(train(mixture), 4 * 25)]
    assert sorted(collections.Counter(seen).values()) == [25, 25, 25, 25]
    other = bind_tasks("toy_b", few_shot=4, few_shot_seed=2)
    assert {text(row) for row in itertools.islice(train(other), 4)} != set(seen)


def test_few_shot_leaves_validation_whole():
    task = bind_tasks("toy_b", few_shot=4).tasks[0]
    assert len(list(task.get_dataset(LENGTHS, split="validation", shuffle=False))) == 30


def test_unknown_names_come_with_the_nearest():
    with pytest.raises(UserError, match=r"'toy_bb'. Did you mean 'toy_b'.*MIXTURE_OR_TASK_MODULE"):
        bind_tasks("toy_bb")
    with pytest.raises(UserError, match="No task given"):
        task_names([])


def test_a_task_without_id_is_refused():
    with pytest.raises(UserError, match="'toy_b' is not one of this run's tasks: toy_a, toy_c"):
        bind_tasks("toy_b", tasks=["toy_a", "toy_c"])


def test_too_few_rows_name_the_task():
    with pytest.raises(UserError, match="Task 'toy_a': few_shot = 11 .* 10 rows"):
        bind_tasks(["toy_b", "toy_a"], few_shot=11)


def test_tasks_of_other_features_are_not_mixed():
    numbers = seqio.Feature(seqio.PassThroughVocabulary(5))
    register("toy_numbers", 3, {"inputs": BYTES["inputs"], "targets": numbers})
    with pytest.raises(UserError, match="'toy_a' and 'toy_numbers' cannot be mixed.*'targets'"):
        bind_tasks(["toy_a", "toy_numbers"])
    register("toy_extra", 3, {**BYTES, "extra": numbers})
    with pytest.raises(UserError, match="'toy_extra' must have.*inputs and targets"):
        bind_tasks(["toy_a", "toy_extra"])


@pytest.mark.parametrize(
    "filling",
    [{"min_tasks_per_batch": 2}, {"equal_mixing": True}, {"groups": [(1.0, list(SIZES))]}],
)
def test_filling_batches_needs_their_size(filling):
    with pytest.raises(UserError, match="bind_tasks.batch_size must be a whole number.*None"):
        bind_tasks(list(SIZES), **filling)


def test_batches_are_filled_in_one_way():
    with pytest.raises(UserError, match="min_tasks_per_batch and equal_mixing, but"):
        bind_tasks(list(SIZES), min_tasks_per_batch=2, equal_mixing=True, batch_size=4)


def test_an_equal_batch_has_the_rows_of_each_task():
    assert equal_batch_size(list(SIZES), 5) == 5 * len(SIZES)
    with pytest.raises(UserError, match="at least 1; got 0 .TEACHER_BATCH_SIZE"):
        equal_batch_size(list(SIZES), 0)


def test_a_product_is_evaluated_on_registered_tasks():
    with pytest.raises(UserError, match="'nowhere' that is not registered here: add the gin file"):
        chosen(("nowhere",))
