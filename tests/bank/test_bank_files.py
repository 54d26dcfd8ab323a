"""Banks of many tasks: what is added is bit-equal, what does not fit is refused, all or nothing."""

import dataclasses
import pathlib
import re

import numpy as np
import pytest
import toy_start
from etils import epath

from mpt_jax import cli
from mpt_jax.bank import files as bank_files
from mpt_jax.errors import EXIT_BAD_INPUT, UserError
from mpt_jax.product import product_file

SHARED = toy_start.factors(seed=0)["shared"]
WORDS = {"a": ["yes", "no"], "b": ["red"]}


def _write(folder, tasks, *, seed=1, rank=1, shared=SHARED, **fields) -> str:
    """A run folder with factors of `tasks` under the shared prompt."""
    bank = {**toy_start.factors(len(tasks), rank=rank, seed=seed), "shared": shared}
    toy_start.write(folder, bank, tasks=tuple(tasks), **fields)
    return str(folder)


@pytest.fixture(name="bank")
def _bank(tmp_path):
    return _write(
        tmp_path / "bank",
        "ab",
        label_words=WORDS,
        input_forms={"a": "text: {text}"},
        metrics={"a": {"accuracy": 1.0}, "mean": {"key_metric": 1.0}},
        feature_lengths={"inputs": 8, "targets": 4},
    )


def _content(path: str) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in pathlib.Path(path).iterdir()}


def test_added_tasks_keep_every_bit_and_what_is_told_of_them(bank, tmp_path):
    before = product_file.load(bank)[0]
    more = _write(
        tmp_path / "c",
        "c",
        seed=5,
        label_words={"c": ["good"]},
        input_forms={"c": "review: {review}"},
        metrics={"c": {"f1": 2.0}},
        feature_lengths={"inputs": 12},
    )
    last = _write(tmp_path / "de", "de", seed=6)
    line = bank_files.add(bank, [more, f"{last}/prompts.safetensors"])
    joined, info = product_file.load(bank)
    size = 4 * (24 + 5 * 10)  # P·D, and R(P + D) a task
    assert line == f"{bank}/prompts.safetensors: 5 tasks, {size:,} bytes of numbers"
    assert info.tasks == tuple("abcde")
    assert info.label_words == {**WORDS, "c": ["good"]}
    assert info.input_forms == {"a": "text: {text}", "c": "review: {review}"}
    assert info.metrics == {"a": {"accuracy": 1.0}, "c": {"f1": 2.0}}
    assert info.feature_lengths == {"inputs": 12, "targets": 4}
    np.testing.assert_array_equal(joined["shared"], SHARED)
    for leaf in ("task_u", "task_v"):
        parts = [before, product_file.load(more)[0], product_file.load(last)[0]]
        np.testing.assert_array_equal(joined[leaf], np.concatenate([p[leaf] for p in parts]))


@pytest.mark.parametrize("place", ["new", "new/file.safetensors", "empty", "others"])
def test_a_new_bank_is_made_where_there_is_none(bank, tmp_path, place):
    (tmp_path / "empty").mkdir()
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "notes.txt").touch()
    bank_files.add(str(tmp_path / place), [bank, _write(tmp_path / "c", "c")])
    assert product_file.load(str(tmp_path / place))[1].tasks == tuple("abc")


def test_whole_prompts_are_added_as_they_are(tmp_path):
    prompts = np.random.default_rng(0).normal(size=(3, 4, 6)).astype(np.float32)
    for name, rows in (("one", slice(0, 1)), ("two", slice(1, 3))):
        tasks = tuple(f"{name}_{i}" for i in range(len(prompts[rows])))
        bank = {"task_prompts": prompts[rows]}
        toy_start.write(tmp_path / name, bank, method="prompt_tuning", tasks=tasks)
    bank_files.add(str(tmp_path / "one"), [str(tmp_path / "two")])
    bank, info = product_file.load(str(tmp_path / "one"))
    assert info.tasks == ("one_0", "two_0", "two_1")
    assert bank["task_prompts"].tobytes() == prompts.tobytes()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shared": SHARED + 1e-7}, r"another shared prompt.*SHARED_LEARNING_RATE=0"),
        ({"rank": 2}, r"rank \(R\) 2, the bank .* 1: set --gin.mpt.MPT.rank=1"),
        ({"method": "spot"}, "method spot.* mpt: choose the method"),
        ({"backbone": "other"}, "fingerprint other.* abc: train on the backbone"),
        ({"vocabulary_size": 5}, "vocabulary size 5"),
        ({"tasks": ("a",)}, "'a' is in .*bank.* and in .*bank remove"),
    ],
)
def test_what_does_not_fit_is_refused_and_the_bank_is_as_it_was(bank, tmp_path, fields, message):
    fits = _write(tmp_path / "fits", "d")
    other = _write(tmp_path / "other", fields.pop("tasks", "c"), **fields)
    before = _content(bank)
    with pytest.raises(UserError, match=message):
        bank_files.add(bank, [fits, other])
    assert _content(bank) == before


def test_prompts_of_another_length_or_shared_by_all_are_refused(bank, tmp_path):
    longer = toy_start.factors(1, length=5)
    toy_start.write(tmp_path / "longer", longer, tasks=("c",))
    with pytest.raises(UserError, match="PROMPT_LENGTH=4"):
        bank_files.add(bank, [str(tmp_path / "longer")])
    for name, seed in (("one", 1), ("two", 2)):
        shared = {"shared": toy_start.factors(seed=seed)["shared"]}
        toy_start.write(tmp_path / name, shared, method="prompt_tuning", tasks=(name,))
    with pytest.raises(UserError, match="train them in one run"):
        bank_files.add(str(tmp_path / "one"), [str(tmp_path / "two")])


def test_what_is_no_bank_is_refused(bank, tmp_path):
    np.save(tmp_path / "p.npy", SHARED)
    info = product_file.load(bank)[1]
    weights = {"adapter/encoder/down/bias": SHARED[0]}
    info = dataclasses.replace(info, method="adapter")
    product_file.save(str(tmp_path / "adapter"), weights, info, product_file.ADAPTER)
    for path, message in (
        (tmp_path / "p.npy", "another program.*t5x convert .*--to=mpt_jax"),
        (tmp_path / "adapter", "'adapter', which tunes no prompts, nor anything of single tasks"),
        (tmp_path / "nowhere", "no prompt file"),
    ):
        with pytest.raises(UserError, match=message):
            bank_files.add(bank, [str(path)])


def test_tasks_are_removed_but_not_the_last(bank):
    kept = product_file.load(bank)[0]
    bank_files.remove(bank, ["a"])
    left, info = product_file.load(bank)
    assert (info.tasks, info.label_words, info.input_forms) == (("b",), {"b": ["red"]}, {})
    np.testing.assert_array_equal(left["task_v"], kept["task_v"][1:])
    with pytest.raises(UserError, match="at least one task"):
        bank_files.remove(bank, ["b"])
    with pytest.raises(UserError, match="'a' is not in the prompt bank, which holds b"):
        bank_files.remove(bank, ["a"])


def test_a_failed_write_leaves_the_bank_whole(bank, monkeypatch):
    before = _content(bank)

    def full(*unused_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(epath.Path(bank)), "write_bytes", full)
    with pytest.raises(UserError, match="No space left"):
        bank_files.remove(bank, ["a"])
    assert _content(bank) == before


def test_the_list_says_what_a_task_costs(bank, capsys):
    assert cli.main(["bank", "list", bank]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "shared    24 numbers, 96 bytes" in lines
    assert lines[-3:] == [
        "task  numbers  bytes  label words",
        "a          10     40  yes, no",
        "b          10     40  red",
    ]


def test_ten_thousand_tasks(tmp_path, capsys, monkeypatch):
    names = [f"task_{i}" for i in range(10_000)]
    bank = _write(tmp_path / "bank", names)
    bank_files.add(bank, [_write(tmp_path / str(i), [f"new_{i}"], seed=i) for i in range(100)])
    bank_files.remove(bank, names[:5000])
    assert len(product_file.load(bank)[1].tasks) == 5100
    with pytest.raises(UserError, match="'task_0' is not in.*task_5019 and 5,080 more.") as caught:
        bank_files.remove(bank, ["task_0"])
    assert len(str(caught.value)) < 500
    bank_files.show(bank)
    assert len(capsys.readouterr().out.splitlines()) == 5100 + 8
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    bank_files.show(bank)
    out = capsys.readouterr().out
    assert "and 5,050 more: t5x bank list" in out and len(out.splitlines()) < 70


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "ACTION"),
        (["ad", "x"], "'add', 'list', 'remove'"),
        (["add", "x"], "FROM"),
        (["list", "nowhere"], "no prompt file at 'nowhere'"),
    ],
)
def test_mistakes_are_one_message(arguments, message, capsys):
    assert cli.main(["bank", *arguments]) == EXIT_BAD_INPUT
    assert message in capsys.readouterr().err


def test_what_the_bank_holds_already_is_passed_over(bank, tmp_path):
    more = _write(tmp_path / "c", "c", seed=5, label_words={"c": ["good"]})
    line, before = bank_files.add(bank, [more]), _content(bank)
    assert bank_files.add(bank, [more]) == line and _content(bank) == before
    assert "4 tasks" in bank_files.add(bank, [more, _write(tmp_path / "d", "d", seed=6)])
    other = _write(tmp_path / "other", "c", seed=5, label_words={"c": ["bad"]})
    with pytest.raises(UserError, match="'c' is in"):
        bank_files.add(bank, [other])


def _adapters(folder, tasks, rank=2, seed=0):
    """The product of LoRA for some tasks, of one module."""
    rng = np.random.default_rng(seed)
    at, count = "per_task/encoder/layers_0/attention/query", len(tasks)
    shapes = {"lora_a": (count, 6, rank), "lora_b": (count, rank, 6), "lora_scale": (count,)}
    leaves = {f"{at}/{n}": rng.normal(size=s).astype(np.float32) for n, s in shapes.items()}
    info = product_file.load(toy_start.write(folder / "any", toy_start.factors(1)))[1]
    info = dataclasses.replace(info, method="lora", tasks=tasks, length=0, rank=rank)
    product_file.save(str(folder), leaves, info, product_file.ADAPTER)
    return leaves


def test_adapters_of_tasks_are_joined_listed_and_removed(tmp_path, capsys):
    one = _adapters(tmp_path / "one", ("a", "b"))
    two = _adapters(tmp_path / "two", ("c",), seed=1)
    both = [str(tmp_path / name) for name in ("one", "two")]
    assert "3 tasks, 300 bytes" in bank_files.add(str(tmp_path / "bank"), both)
    assert "3 tasks" in bank_files.add(str(tmp_path / "bank"), both)  # held already
    joined, info = product_file.load(str(tmp_path / "bank/adapter.safetensors"))
    assert (info.tasks, info.rank) == (("a", "b", "c"), 2)
    for name, leaf in joined.items():
        np.testing.assert_array_equal(leaf, np.concatenate([one[name], two[name]]))
    bank_files.show(str(tmp_path / "bank"))
    listed = capsys.readouterr().out
    assert re.search(r"adapter +width 6, rank 2", listed) and re.search(r"a +25 +100", listed)
    assert "2 tasks" in bank_files.remove(str(tmp_path / "bank"), ["a"])
    left = product_file.load(str(tmp_path / "bank"))[0]
    for name, leaf in left.items():
        np.testing.assert_array_equal(leaf, joined[name][1:])


def test_adapters_of_another_shape_are_refused(tmp_path):
    _adapters(tmp_path / "one", ("a",))
    other = _adapters(tmp_path / "two", ("b",), rank=3)
    with pytest.raises(UserError, match=r"rank \(R\) 3, .* 2: set --gin.lora.LoRA.rank=2"):
        bank_files.add(str(tmp_path / "one"), [str(tmp_path / "two")])
    info = dataclasses.replace(product_file.load(str(tmp_path / "two"))[1], rank=2)
    product_file.save(str(tmp_path / "two"), other, info, product_file.ADAPTER)
    with pytest.raises(UserError, match="lora_a' of shape"):
        bank_files.add(str(tmp_path / "one"), [str(tmp_path / "two")])
