"""Runs that are trained in one program come out as each would alone."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import toy
from toy_loop import dataset, interrupt, is_finished, settings, steps_saved

from mpt_jax import lock
from mpt_jax.engine import group_size, kept, loop, optimizers, run_axis
from mpt_jax.engine import run as run_lib
from mpt_jax.engine.evaluation import evaluate
from mpt_jax.engine.evaluation import together as evaluations_together
from mpt_jax.engine.initialize import RestoreCheckpointConfig
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.engine.schedules import create_learning_rate_scheduler
from mpt_jax.engine.settings import Evaluation, Trainer
from mpt_jax.errors import UserError
from mpt_jax.methods.adapter import Adapter
from mpt_jax.methods.bitfit import BitFit
from mpt_jax.methods.full import FullTraining
from mpt_jax.methods.lora import LoRA
from mpt_jax.methods.mpt import MPT
from mpt_jax.methods.prompt_tuning import PromptTuning
from mpt_jax.methods.restored import Restored
from mpt_jax.product import product_file

# Of each run: its task, its seed, its rate.
CASES = (("toy_a", 0, 0.1), ("toy_b", 1, 0.05), ("toy_a", 2, 0.02))
METHODS = {
    "mpt": MPT(prompt_length=4),
    "prompt tuning": PromptTuning(prompt_length=4),
    "lora": LoRA(rank=2),
    "bitfit": BitFit(),
}


def of(folder, backbone, case, method=METHODS["mpt"], rate=None, **changes):
    """The arguments of `toy_loop.run` for one of the cases."""
    task, seed, own_rate = CASES[case]
    model = toy.model(method, (task,), toy.ONE_LAYER)
    # With less, Adam makes steps of the rounding of gradients that are zero (of biases of keys).
    rule = optimizers.adamw(rate or own_rate, clip_norm=1.0, eps=1e-3)
    buckets = {"length_buckets": {"inputs": (9, 10, 11)}}
    arguments = {
        "model": dataclasses.replace(model, optimizer_def=rule),
        "train_dataset_cfg": dataset("train", tasks=(task,), seed=None, few_shot=6, **buckets),
        "infer_eval_dataset_cfg": dataset("validation", tasks=(task,)),
        "random_seed": seed,
        **changes,
    }
    return settings(folder / str(case), backbone, **arguments)


def together(folder, backbone, cases=range(3), **changes):
    loop.train_together(of(folder, backbone, case, **changes) for case in cases)


def product(folder):
    path = folder if (folder / "prompts.safetensors").exists() else folder / "adapter.safetensors"
    return product_file.load(str(path))


def metrics(folder):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{name: x for name, x in line.items() if name != "checksum"} for line in lines]


def assert_same(folder, other):
    """Product, history and record, within float tolerance."""
    (leaves, info), (others, other_info) = product(folder), product(other)
    assert leaves.keys() == others.keys() and info.step == other_info.step
    for name, leaf in leaves.items():
        np.testing.assert_allclose(leaf, others[name], atol=1e-4, err_msg=name)
    for line, expected in zip(metrics(folder), metrics(other), strict=True):
        assert line.pop("kind") == expected.pop("kind")
        assert line == pytest.approx(expected, rel=1e-3, abs=1e-3)
    texts = [{p.name: p.read_text() for p in (f / "eval").glob("*")} for f in (folder, other)]
    assert texts[0] == texts[1]
    record, expected = (json.loads((f / "run.json").read_text()) for f in (folder, other))
    peak = {"peak_memory_bytes", "peak_memory_of"}  # not of a run after a larger one
    assert record["finished"] and record["cost"].keys() - peak == expected["cost"].keys() - peak
    for name in record.keys() - {"cost", "checksum"}:
        assert record[name] == expected[name], name
    assert steps_saved(folder) == steps_saved(other)


@pytest.fixture(name="alone", scope="session")
def _alone(tmp_path_factory, backbone):
    """The folder of MPT's runs by themselves."""
    folder = tmp_path_factory.mktemp("alone")
    for case in range(3):
        loop.train(of(folder, backbone, case))
    return folder


@pytest.fixture(name="at_once")
def _at_once(monkeypatch):
    """Sets how many runs take their step at once, instead of what is best on a CPU."""

    def set_to(number):
        monkeypatch.setattr(group_size, "best", lambda runs: min(number, len(runs)))

    return set_to


@pytest.mark.parametrize("number", [1, 3])
def test_runs_of_mpt_equal_those_alone_in_all_that_they_leave(
    number, alone, backbone, at_once, tmp_path
):
    at_once(number)
    together(tmp_path, backbone)
    for case in "012":
        assert_same(tmp_path / case, alone / case)
    seconds = [
        json.loads((tmp_path / case / "run.json").read_text())["cost"]["seconds"] for case in "012"
    ]
    assert max(seconds) < 1.5 * min(seconds)  # an equal share, except for the time of their ends


@pytest.mark.parametrize("name", ["prompt tuning", "lora", "bitfit"])
def test_runs_of_other_methods_equal_those_alone(name, backbone, at_once, tmp_path):
    at_once(2)
    changes = {"method": METHODS[name], "infer_eval_dataset_cfg": None}
    together(tmp_path / "together", backbone, **changes)
    for case in (0, 1):
        loop.train(of(tmp_path / "alone", backbone, case, **changes))
        assert_same(tmp_path / "together" / str(case), tmp_path / "alone" / str(case))


def test_their_products_are_evaluated_at_once_as_each_alone(alone, backbone, tmp_path):
    evaluations = {}
    with kept.keeping():  # so that they share the backbone
        for case, (task, *_) in enumerate(CASES):
            product = Restored(str(alone / str(case)))
            settings = Evaluation(
                model=toy.model(product, (task,), toy.ONE_LAYER),
                dataset_cfg=dataset("test", tasks=(task,), batch_size=4),
                restore_checkpoint_cfg=RestoreCheckpointConfig(backbone),
                partitioner=PjitPartitioner(devices=jax.devices()[:1]),
                output_dir=str(tmp_path / str(case)),
            )
            evaluations[case] = evaluate.Prepared(settings)
    found = evaluations_together.answers(evaluations)
    for case, each in evaluations.items():
        (answers,), (expected,) = found[case].values(), each.answers().values()
        assert len(answers) == 2  # batches, of 6 rows
        np.testing.assert_array_equal(answers, expected)
        assert each.conclude(found[case], "")["mean"]["key_metric"] > 0


def test_runs_over_data_partitions_and_in_microbatches_equal_those_alone(
    alone, backbone, at_once, tmp_path
):
    at_once(2)  # on two devices: one has the first run, the other the second
    schedule = {"base_learning_rate": 0.3, "warmup_steps": 2, "total_steps": 6}
    together(
        tmp_path,
        backbone,
        range(3),
        partitioner=PjitPartitioner(devices=jax.devices()[:2]),
        trainer_cls=lambda: Trainer(2, create_learning_rate_scheduler(**schedule)),
    )
    for case in "012":
        assert_same(tmp_path / case, alone / case)


@pytest.mark.parametrize(
    ("count", "free", "size"),
    [(8, None, 8), (8, 80, 8), (8, 79, 4), (9, 40, 3), (8, 15, 1), (1, None, 1)],
)
def test_as_many_runs_as_fit_take_their_step_at_once(count, free, size):
    assert group_size.largest(count, 1, free, lambda size: 10 * size) == size


@pytest.mark.parametrize(("count", "free", "size"), [(9, None, 12), (9, 80, 8), (3, None, 3)])
def test_runs_on_several_devices_are_filled_up_to_a_multiple(count, free, size):
    assert group_size.largest(count, 4, free, lambda size: 10 * size) == size


def test_memory_is_counted_for_each_run_and_not_for_the_backbone(backbone, tmp_path):
    with run_lib.Run(of(tmp_path, backbone, 0, infer_eval_dataset_cfg=None)) as run:
        assert run.open()
        run.start()
        two, four = (group_size.bytes_of_step(run, size) for size in (2, 4))
    own = sum(leaf.nbytes for leaf in jax.tree.leaves(run.state()))
    assert 2 * own < two and 1.5 * two < four < 2.2 * two


def test_a_run_that_fails_ends_and_the_others_go_on(alone, backbone, at_once, tmp_path):
    at_once(2)  # so that the third is in a part that is filled up
    cases = [(0, {}), (1, {"rate": 1e30, "period": 1}), (2, {})]
    with pytest.raises(
        loop.RunsFailedError, match="(?s)1 of the runs.*not finite at step"
    ) as failed:
        loop.train_together(of(tmp_path, backbone, case, **changes) for case, changes in cases)
    assert list(failed.value.failures) == [str(tmp_path / "1")]
    for case in "02":
        assert_same(tmp_path / case, alone / case)
    assert not is_finished(tmp_path / "1")


def test_stopped_runs_go_on_together_or_alone_from_where_each_is(
    alone, backbone, fetched, tmp_path
):
    fetched.at = {2: interrupt}
    with pytest.raises(KeyboardInterrupt, match="saved step 2 of 6"):
        loop.train(of(tmp_path, backbone, 0))
    fetched.at = {2 + 3 * 3: interrupt}
    with pytest.raises(KeyboardInterrupt, match="saved step 5 of 6 .*/0 and in 2 other runs"):
        together(tmp_path, backbone)
    assert [steps_saved(tmp_path / case)[-1] for case in "012"] == [5, 3, 3]
    fetched.at = {}
    loop.train(of(tmp_path, backbone, 2))
    together(tmp_path, backbone)  # the last is finished
    for case in "012":
        (leaves, _), (others, _) = product(tmp_path / case), product(alone / case)
        for name, leaf in leaves.items():
            np.testing.assert_allclose(leaf, others[name], atol=1e-4, err_msg=name)
        assert is_finished(tmp_path / case)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": MPT(prompt_length=3)}, "they differ in what is trained"),
        ({"trainer_cls": Trainer}, "they differ in what the optimizer computes"),
        ({"train_dataset_cfg": dataset("train", tasks=("toy_b",), batch_size=4)}, "BATCH_SIZE"),
    ],
)
def test_runs_of_other_programs_are_refused(changes, message, backbone, tmp_path):
    both = {"infer_eval_dataset_cfg": None}
    arguments = [of(tmp_path, backbone, 0, **both), of(tmp_path, backbone, 1, **both, **changes)]
    with pytest.raises(UserError, match=message):
        loop.train_together(arguments)
    with lock.held(tmp_path / "0" / "run.lock", "let go of."):
        pass


def test_runs_that_tune_arrays_of_the_backbone_that_they_share_keep_their_own(backbone, tmp_path):
    changes = {"method": Adapter(reduction=4), "infer_eval_dataset_cfg": None}
    together(tmp_path / "together", backbone, (0, 1), **changes)
    loop.train(of(tmp_path / "alone", backbone, 1, **changes))
    assert_same(tmp_path / "together" / "1", tmp_path / "alone" / "1")


def test_runs_that_train_the_backbone_are_refused(backbone, tmp_path):
    with pytest.raises(UserError, match="the method 'full' .* trains the backbone itself"):
        together(tmp_path, backbone, (0, 1), method=FullTraining(), infer_eval_dataset_cfg=None)


def test_batches_are_padded_to_the_longest_of_them():
    batches = [toy.batch([0, 0], seed, inputs=4 + seed, targets=3) for seed in (0, 1)]
    stacked = run_axis.stacked_batch(batches)
    assert stacked["encoder_input_tokens"].shape == (2, 2, 5)
    assert not stacked["encoder_input_tokens"][0, :, 4].any()
    for index, batch in enumerate(batches):
        for name, rows in batch.items():
            found = stacked[name][index]
            np.testing.assert_array_equal(
                found[:, : rows.shape[1]] if rows.ndim > 1 else found, rows
            )
