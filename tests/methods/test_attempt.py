"""ATTEMPT: attention against numpy, what moves, files, and which source prompts are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy
import toy_run
import toy_start

from mpt_jax import prompts
from mpt_jax.engine import initialize, saving
from mpt_jax.errors import UserError
from mpt_jax.methods import attempt
from mpt_jax.methods.mpt import MPT
from mpt_jax.methods.restored import Restored
from mpt_jax.product import product_file

KEY = jax.random.key(0)
SOURCES, TASKS, LENGTH, WIDTH, INNER = 3, 2, 4, 6, 5


def _bank(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {
        "source_prompts": (SOURCES, LENGTH, WIDTH),
        "task_prompts": (TASKS, LENGTH, WIDTH),
        "attention_down": (WIDTH, INNER),
        "attention_up": (INNER, WIDTH),
        "attention_scale": (WIDTH,),
        "attention_bias": (WIDTH,),
    }
    return {name: 3 * rng.normal(size=shape) for name, shape in shapes.items()}


def _by_hand(bank, task, embedded):
    """The prompt of one example, position by position, in float64."""
    pooled = np.array([max(row[d] for row in embedded) for d in range(WIDTH)])
    inner = pooled @ bank["attention_down"]
    hidden = (inner / (1 + np.exp(-inner))) @ bank["attention_up"]
    normed = (hidden - hidden.mean()) / np.sqrt(hidden.var() + 1e-5)
    query = normed * bank["attention_scale"] + bank["attention_bias"]
    candidates = [*bank["source_prompts"], bank["task_prompts"][task]]
    scores = np.array([c.max(axis=0) @ query for c in candidates]) / (np.e * WIDTH)
    weights = np.exp(scores) / np.exp(scores).sum()
    mixed = sum(w * c for w, c in zip(weights, candidates, strict=True))
    return bank["task_prompts"][task] + mixed


def test_the_prompt_is_the_papers():
    bank, rng = _bank(), np.random.default_rng(1)
    embedded = rng.normal(size=(3, 7, WIDTH))
    lengths, tasks = (7, 2, 5), (0, 1, 1)
    valid = np.arange(7) < np.array(lengths)[:, None]
    text = prompts.Text(jnp.asarray(embedded, jnp.float32), jnp.asarray(valid))
    found = attempt.compose(jax.tree.map(jnp.float32, bank), jnp.asarray(tasks), text)
    for row, task, states, length in zip(found, tasks, embedded, lengths, strict=True):
        np.testing.assert_allclose(row, _by_hand(bank, task, states[:length]), rtol=2e-5, atol=2e-5)


def test_an_empty_text_gives_a_finite_prompt():
    text = prompts.Text(jnp.ones((1, 3, WIDTH)), jnp.zeros((1, 3), bool))
    found = attempt.compose(jax.tree.map(jnp.float32, _bank()), jnp.asarray([0]), text)
    assert np.isfinite(found).all()


@pytest.fixture(name="source", scope="module")
def _source(tmp_path_factory):
    """A source run's prompts on the toy backbone."""
    folder = str(tmp_path_factory.mktemp("source"))
    model = toy.model(MPT(prompt_length=4))
    params = initialize.start(model, toy.backbone(), KEY)
    params["prompt_bank"]["task_u"] += jax.random.normal(KEY, params["prompt_bank"]["task_u"].shape)
    saving.save(model, folder, params, step=1, results={}, feature_lengths={})
    return folder


def test_sources_stay_and_the_rest_moves(source):
    model = toy.model(attempt.Attempt(source, prompt_length=4, bottleneck=3), tasks=("new", "old"))
    params = initialize.start(model, toy.backbone(), KEY)
    bank = product_file.load(source)[0]
    for prompt, u, v in zip(
        params["prompt_bank"]["source_prompts"], bank["task_u"], bank["task_v"], strict=True
    ):
        np.testing.assert_allclose(prompt, bank["shared"] * (u @ v), rtol=1e-5)
    before = jax.tree.map(np.array, params["prompt_bank"])
    run = toy_run.Run(model, params)
    run.step(toy.batch([0, 1, 1, 0]))
    assert run.trainable.keys() == {"prompt_bank"}
    moved = run.trainable["prompt_bank"]
    assert moved.keys() == before.keys() - {"source_prompts"}
    for name, leaf in moved.items():
        assert not np.array_equal(leaf, before[name]), name


def test_the_product_predicts_as_the_run_did(source, tmp_path):
    tasks = ("new", "old")
    model = toy.model(attempt.Attempt(source, prompt_length=4, bottleneck=3), tasks=tasks)
    params = initialize.start(model, toy.backbone(), KEY)
    saving.save(model, str(tmp_path), params, step=1, results={}, feature_lengths={})
    restored = toy.model(Restored(str(tmp_path)), tasks=tasks)
    again = initialize.start(restored, toy.backbone(), KEY)
    batch = toy.batch([0, 1, 1, 0])
    np.testing.assert_array_equal(
        jax.jit(restored.score_batch)(again, batch), jax.jit(model.score_batch)(params, batch)
    )


def test_other_lengths_and_missing_files_are_refused(source):
    with pytest.raises(UserError, match="length 4, this run asks for 5: set PROMPT_LENGTH = 4"):
        attempt.Attempt(source, prompt_length=5)
    with pytest.raises(UserError, match=r"no prompt file at 'nowhere'.*gin/mpt_source\.gin"):
        attempt.Attempt("nowhere")
    with pytest.raises(UserError, match="bottleneck must be >= 1, not 0"):
        attempt.Attempt(source, prompt_length=4, bottleneck=0)


def test_prompts_of_attempt_are_no_source(tmp_path):
    bank = {name: leaf.astype(np.float32) for name, leaf in _bank().items()}
    path = toy_start.write(tmp_path, bank, method="attempt", tasks=("a", "b"), length=LENGTH)
    with pytest.raises(UserError, match="product of the method 'attempt'"):
        attempt.Attempt(path, prompt_length=LENGTH).start(toy_start.start(), KEY)
