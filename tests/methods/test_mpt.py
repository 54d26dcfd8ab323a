"""How a bank of multitask prompt tuning starts: source runs, target runs, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy
import toy_start

from mpt_jax import prompts
from mpt_jax.engine import initialize, saving
from mpt_jax.errors import UserError
from mpt_jax.methods.mpt import MPT
from mpt_jax.methods.restored import Restored
from mpt_jax.product import product_file

KEY = jax.random.key(3)


def _bank(method, tasks=toy_start.TASKS, **fields):
    return method.start(toy_start.start(tasks, **fields), KEY)["prompt_bank"]


@pytest.mark.parametrize("rank", [1, 3])
def test_a_source_run_starts_every_task_at_the_shared_prompt(rank):
    method = MPT(prompt_length=4, rank=rank)
    bank = _bank(method)
    shapes = {name: leaf.shape for name, leaf in bank.items()}
    assert shapes == method.bank_shapes(2, toy_start.WIDTH)
    np.testing.assert_array_equal(
        prompts.compose(bank, jnp.arange(2)), np.stack([bank["shared"]] * 2)
    )
    embedding = toy_start.start().embedding  # of the default initializer
    for row in np.asarray(bank["shared"]):
        assert (row == embedding).all(axis=1).any()


def test_every_rank_component_has_a_gradient():
    bank = _bank(MPT(prompt_length=4, rank=3))
    grads = jax.grad(lambda b: jnp.sum(prompts.compose(b, jnp.arange(2)) ** 2))(bank)
    assert (np.abs(grads["task_u"]).max(axis=(0, 1)) > 0).all()


def test_the_initializer_is_a_choice():
    def ones(rng, length, start):
        return jnp.ones((length, start.embedding.shape[1]))

    assert (_bank(MPT(prompt_length=2, initializer=ones))["shared"] == 1).all()


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("tasks", [("target",), ("x", "y", "z")])
def test_targets_start_at_the_mean_of_the_source_factors(tmp_path, rank, tasks):
    source = toy_start.factors(rank=rank)
    method = MPT(prompt_length=4, rank=rank, source_prompts=toy_start.write(tmp_path, source))
    bank = _bank(method, tasks)
    np.testing.assert_array_equal(bank["shared"], source["shared"])
    for leaf in ("task_u", "task_v"):
        assert bank[leaf].shape[0] == len(tasks)
        for row in bank[leaf]:
            np.testing.assert_allclose(row, source[leaf].mean(axis=0), rtol=1e-6)


def test_targets_start_at_a_named_source_task(tmp_path):
    source = toy_start.factors(rank=2)
    path = toy_start.write(tmp_path, source)
    bank = _bank(MPT(prompt_length=4, rank=2, source_prompts=path, source_factors="b"))
    expected = source["shared"] * (source["task_u"][1] @ source["task_v"][1])
    for prompt in prompts.compose(bank, jnp.arange(2)):
        np.testing.assert_allclose(prompt, expected, rtol=1e-5, atol=1e-6)


def test_targets_start_at_the_shared_prompt_only(tmp_path):
    source = toy_start.factors(rank=2)  # its rank does not matter then
    path = toy_start.write(tmp_path, source)
    bank = _bank(MPT(prompt_length=4, source_prompts=path, source_factors="shared_only"))
    for prompt in prompts.compose(bank, jnp.arange(2)):
        np.testing.assert_array_equal(prompt, source["shared"])


def test_a_source_without_factors_gives_its_shared_prompt(tmp_path):
    shared = toy_start.factors()["shared"]
    path = toy_start.write(tmp_path, {"shared": shared})
    bank = _bank(MPT(prompt_length=4, source_prompts=path, source_factors="shared_only"))
    np.testing.assert_array_equal(prompts.compose(bank, jnp.arange(2)), np.stack([shared] * 2))
    with pytest.raises(UserError, match="no task factors.*shared_only"):
        _bank(MPT(prompt_length=4, source_prompts=path))


@pytest.mark.parametrize(
    ("options", "start", "message"),
    [
        ({"prompt_length": 5}, {}, "length 4.*shared prompt of length 5.*PROMPT_LENGTH"),
        ({"rank": 2}, {}, "rank 1, this run asks for 2: set MPT.rank = 1"),
        ({"source_factors": "d"}, {}, "'d' is not in the prompt bank, which holds a, b, c"),
        ({}, {"backbone": "abd"}, "fingerprint abc.*has abd"),
        ({}, {"embedding": np.ones((toy_start.SIZE + 8, 7))}, r"width \(D\) 6.*has 7"),
        ({}, {"embedding": np.ones((9, 6))}, f"vocabulary size {toy_start.SIZE + 8}.*has 9"),
    ],
)
def test_source_prompts_that_do_not_fit(tmp_path, options, start, message):
    path = toy_start.write(tmp_path, toy_start.factors())
    method = MPT(**{"prompt_length": 4, "source_prompts": path, **options})
    with pytest.raises(UserError, match=message):
        _bank(method, **start)


def test_source_prompts_of_whole_prompts_have_no_shared_one(tmp_path):
    path = toy_start.write(tmp_path, {"task_prompts": np.ones((2, 4, 6))}, method="prompt_tuning")
    with pytest.raises(UserError, match="hold prompt_tuning prompts.*adapts a shared prompt"):
        _bank(MPT(prompt_length=4, source_prompts=path))


@pytest.mark.parametrize("options", [{"rank": 0}, {"prompt_length": 0}])
def test_sizes_below_one(options):
    with pytest.raises(UserError, match=rf"MPT.{next(iter(options))} must be >= 1, not 0"):
        MPT(**options)


def test_the_product_comes_back_exactly(tmp_path):
    model = toy.model(MPT(prompt_length=4, rank=2), label_words={"nli": ("yes", "no")})
    params = initialize.start(model, toy.backbone(), KEY)
    params["prompt_bank"]["task_u"] += 0.1
    results = {"nli": {"accuracy": 12.5}}
    saving.save(
        model, str(tmp_path), params, step=9, results=results, feature_lengths={"inputs": 6}
    )
    restored = initialize.start(toy.model(Restored(str(tmp_path))), toy.backbone(), KEY)
    jax.tree.map(np.testing.assert_array_equal, restored["prompt_bank"], params["prompt_bank"])
    _, info = product_file.load(str(tmp_path))
    assert (info.method, info.tasks, info.step) == ("mpt", toy.TASKS, 9)
    assert (info.length, info.width, info.rank, info.vocabulary_size) == (4, 16, 2, 384)
    assert (info.metrics, info.label_words) == (results, {"nli": ["yes", "no"]})
    assert info.feature_lengths == {"inputs": 6}


def test_a_target_run_adapts_the_product_of_a_source_run(tmp_path):
    source = toy.model(MPT(prompt_length=4))
    params = initialize.start(source, toy.backbone(), KEY)
    saving.save(source, str(tmp_path), params, step=1, results={}, feature_lengths={})
    target = toy.model(MPT(prompt_length=4, source_prompts=str(tmp_path)), tasks=("boolq",))
    bank = initialize.start(target, toy.backbone(), KEY)["prompt_bank"]
    np.testing.assert_array_equal(bank["shared"], params["prompt_bank"]["shared"])
    with pytest.raises(UserError, match="fingerprint"):
        initialize.start(target, jax.tree.map(lambda leaf: 1.1 * leaf, toy.backbone()), KEY)
