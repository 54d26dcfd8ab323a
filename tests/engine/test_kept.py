"""What runs of one process share: made once where all that decides it is equal, else again."""

import dataclasses
import os

import jax
import pytest
import toy
import toy_prompts
from toy_loop import dataset, settings

from mpt_jax.engine import initialize, kept, loop, optimizers, run, sharing
from mpt_jax.engine import step as step_lib
from mpt_jax.engine.evaluation import evaluator
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.engine.schedules import create_learning_rate_scheduler
from mpt_jax.engine.settings import Trainer
from mpt_jax.methods.adapter import Adapter
from mpt_jax.methods.lora import LoRA
from mpt_jax.methods.mpt import MPT
from mpt_jax.methods.prompt_tuning import PromptTuning
from mpt_jax.methods.restored import Restored

MESH = PjitPartitioner(devices=jax.devices()[:1])


@pytest.fixture(name="keeping", autouse=True)
def _keeping():
    with kept.keeping():
        yield


@pytest.fixture(name="backbone")
def _backbone(tmp_path):
    toy.save(tmp_path / "backbone")
    return str(tmp_path / "backbone")


def test_an_equal_key_gives_the_same_until_others_have_pushed_it_out():
    def get(key, most=2):
        return kept.once("kind", lambda: key, object, most=most)

    first = get(1)
    assert get(1) is first and get(2) is not first and get(1) is first
    third = get(3)  # in place of 2, which was not asked for the longest
    assert get(1) is first and get(3) is third
    get(4)
    assert get(1) is not first
    assert get(None) is not get(None)


def test_without_keeping_nothing_is_asked_or_kept():
    before, kept._kept = kept._kept, None
    try:
        made = [kept.once("kind", lambda: pytest.fail("asked"), object) for _ in range(2)]
        assert made[0] is not made[1]
    finally:
        kept._kept = before


def of(backbone, model):
    restore = initialize.RestoreCheckpointConfig(backbone)
    shapes = initialize.batch_shapes(8, {"inputs": 12, "targets": 6})
    found = initialize.backbone(model, MESH, restore, shapes, jax.random.key(0))
    return found["token_embedder"]["embedding"]


def test_a_frozen_backbone_is_loaded_once_until_its_file_changes(backbone):
    models = [toy.model(method, ("toy_a",), toy.ONE_LAYER) for method in (MPT(4), PromptTuning(4))]
    first = of(backbone, models[0])
    assert of(backbone, models[1]) is first
    os.utime(f"{backbone}/model.safetensors", (1, 1))
    assert of(backbone, models[0]) is not first


def test_a_backbone_of_which_something_trains_is_each_run_s_own(backbone):
    model = toy.model(Adapter(reduction=4), ("toy_a",), toy.ONE_LAYER)
    assert of(backbone, model) is not of(backbone, model)


@pytest.mark.parametrize("method", [MPT(prompt_length=3), LoRA(rank=2)])
def test_the_product_of_a_run_shares_the_programs_of_its_evaluations(method, tmp_path):
    path = toy_prompts.write(tmp_path, ("toy_a",), method)
    trained = toy.model(method, ("toy_a",), toy.ONE_LAYER)
    restored = dataclasses.replace(trained, method=Restored(path))
    assert restored.inference == trained.inference
    # gin runs an instance of a subclass of its own making.
    configured = type(type(method).__name__, (type(method),), {})(**dataclasses.asdict(method))
    assert dataclasses.replace(trained, method=configured).inference == trained.inference


def test_models_that_compute_the_same_share_the_programs_of_evaluation():
    def step(method, name="predict_batch", **changes):
        model = toy.model(method, ("toy_a",), toy.ONE_LAYER)
        return step_lib.kept_eval_step(dataclasses.replace(model, **changes), name, MESH)

    first = step(MPT(prompt_length=4))
    assert step(MPT(prompt_length=3), label_words={"toy_a": ("yes",)}) is first
    others = [
        step(MPT(prompt_length=4), "score_batch"),
        step(Adapter(reduction=4)),
        step(MPT(prompt_length=4), tasks=("toy_a", "toy_b")),
        step(MPT(prompt_length=4), config=toy.CONFIG),
        step(MPT(prompt_length=4), decode_fn=lambda *_: None),
    ]
    assert first not in others and len(set(map(id, others))) == len(others)


def test_rows_are_read_once_for_evaluations_that_read_the_same():
    def rows(split="validation", **changes):
        cfg = dataset(split, tasks=("toy_a",), **changes)
        return evaluator.kept_for(cfg, toy.model().FEATURE_CONVERTER_CLS)

    first = rows()
    assert rows() is first
    for changes in (
        {"split": "train"},
        {"batch_size": 4},
        {"seed": 1},
        {"task_feature_lengths": {"inputs": 11, "targets": 6}},
        {"length_buckets": None},
    ):
        assert rows(**changes) is not first


def test_a_run_after_another_takes_its_step_and_gives_what_it_gives_by_itself(
    backbone, tmp_path, monkeypatch
):
    compiled = []
    jitted = step_lib.jitted_train_step

    def count(*arguments, **options):
        compiled.append(arguments)
        return jitted(*arguments, **options)

    monkeypatch.setattr(step_lib, "jitted_train_step", count)

    def product(name, seed, rate=0.1):
        model = toy.model(MPT(prompt_length=4), ("toy_a", "toy_b"), toy.ONE_LAYER)
        model = dataclasses.replace(model, optimizer_def=optimizers.adamw(rate))
        changes = {"model": model, "random_seed": seed, "total_steps": 1}
        loop.train(settings(tmp_path / name, backbone, **changes))
        return (tmp_path / name / "prompts.safetensors").read_bytes()

    product("before", 0)
    after = product("after", 1, rate=0.2)
    assert len(compiled) == 1
    before, kept._kept = kept._kept, None
    try:
        assert product("alone", 1, rate=0.2) == after
    finally:
        kept._kept = before


def test_steps_that_differ_are_not_shared(backbone, tmp_path):
    def decides(name, **changes):
        given = settings(tmp_path / name, backbone, infer_eval_dataset_cfg=None, **changes)
        with run.Run(given) as one:
            assert one.open()
            one.start()
            return sharing.program(one)

    def schedule(steps):
        return lambda: Trainer(1, create_learning_rate_scheduler(warmup_steps=steps))

    first = decides("first", trainer_cls=schedule(2))
    assert first == decides("same", trainer_cls=schedule(2), random_seed=7) and hash(first)
    tuned = toy.model(PromptTuning(4), ("toy_a", "toy_b"), toy.ONE_LAYER)
    others = [
        decides("schedule", trainer_cls=schedule(3)),
        decides("parts", trainer_cls=lambda: Trainer(2, schedule(2)().learning_rate_fn)),
        decides("method", trainer_cls=schedule(2), model=tuned),
    ]
    assert first not in others
