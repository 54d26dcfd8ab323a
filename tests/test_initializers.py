"""Each start of a prompt against numpy on an embedding whose rows can be told apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_start

from mpt_jax import initializers
from mpt_jax.errors import UserError
from mpt_jax.tasks.mini import vocabulary as mini_vocabulary

START = toy_start.start()
KEY = jax.random.key(0)
BYTES = 3 + np.arange(256)  # the ids of the ordinary pieces


def _ids(prompt, start=START):
    """Which row of the embedding each prompt position is."""
    equal = (np.asarray(start.embedding)[None] == np.asarray(prompt)[:, None]).all(axis=-1)
    assert (equal.sum(axis=1) == 1).all()
    return equal.argmax(axis=1)


def _embed(text):
    """The rows of a text's pieces: a byte's id is the byte + 3."""
    return START.embedding[np.frombuffer(text.encode(), np.uint8).astype(int) + 3]


def test_sampled_vocabulary_can_draw_every_piece_once_and_nothing_else():
    ids = _ids(initializers.sampled_vocabulary(KEY, len(BYTES), START))
    np.testing.assert_array_equal(np.sort(ids), BYTES)
    assert (ids != BYTES).any()


def test_sampled_vocabulary_takes_the_most_common_only():
    ids = _ids(initializers.sampled_vocabulary(KEY, 7, START, most_common=10))
    np.testing.assert_array_equal(np.sort(ids), [3, 4, 5, 6, 7, 8, 9])
    with pytest.raises(UserError, match="length 8.*7 pieces.*PROMPT_LENGTH"):
        initializers.sampled_vocabulary(KEY, 8, START, most_common=10)


def test_sampled_vocabulary_follows_its_seed():
    draws = [_ids(initializers.sampled_vocabulary(jax.random.key(k), 9, START)) for k in (0, 0, 1)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()


def test_sentinels_of_a_sentencepiece_vocabulary_are_never_drawn():
    vocabulary = mini_vocabulary.vocabulary()
    pieces = vocabulary.tokenizer.get_piece_size() - vocabulary.extra_ids
    embedding = np.arange(1.0 * vocabulary.vocab_size)[:, None]
    start = toy_start.start(embedding=embedding, vocabulary=vocabulary)
    prompt = initializers.sampled_vocabulary(KEY, pieces - 3, start, most_common=10**6)
    np.testing.assert_array_equal(np.sort(prompt[:, 0]), np.arange(3, pieces))


def test_an_embedding_smaller_than_the_vocabulary_is_not_overrun():
    start = toy_start.start(embedding=START.embedding[:20])
    ids = _ids(initializers.sampled_vocabulary(KEY, 17, start), start)
    np.testing.assert_array_equal(np.sort(ids), np.arange(3, 20))


def test_a_bfloat16_backbone_gives_float32_prompts():
    start = toy_start.start(embedding=jnp.asarray(START.embedding, jnp.bfloat16))
    assert initializers.sampled_vocabulary(KEY, 4, start).dtype == jnp.float32


def test_class_labels_are_means_of_their_pieces_then_sampled_rows():
    words = {"nli": ("yes", "no"), "qa": ("no", "a b")}
    prompt = initializers.class_labels(KEY, 8, toy_start.start(label_words=words))
    assert prompt.shape == (8, toy_start.WIDTH)
    for row, word in zip(prompt, ("yes", "no", "a b"), strict=False):  # "no" only once
        np.testing.assert_allclose(row, _embed(word).mean(axis=0), rtol=1e-6)
    rest = _ids(prompt[3:])
    assert len(set(rest)) == 5 and set(rest) <= set(BYTES)


def test_a_label_word_without_pieces_is_refused():
    start = toy_start.start(label_words={"nli": ("yes", "")})
    with pytest.raises(UserError, match="the label word '' has no pieces"):
        initializers.class_labels(KEY, 8, start)


@pytest.mark.parametrize("length", [1, 2])
def test_class_labels_are_cut_to_the_length(length):
    start = toy_start.start(label_words={"nli": ("yes", "no"), "qa": ("maybe",)})
    prompt = initializers.class_labels(KEY, length, start)
    expected = [_embed(word).mean(axis=0) for word in ("yes", "no")[:length]]
    np.testing.assert_allclose(prompt, expected, rtol=1e-6)


def test_class_labels_need_label_words():
    with pytest.raises(UserError, match="nli, qa have no label words.*sampled_vocabulary"):
        initializers.class_labels(KEY, 4, START)


@pytest.mark.parametrize(
    ("length", "expected"), [(3, "abc"), (5, "abcab"), (7, "abcabca"), (2, "ab")]
)
def test_text_is_repeated_or_cut(length, expected):
    prompt = initializers.text(KEY, length, START, text="abc")
    np.testing.assert_array_equal(prompt, _embed(expected))


def test_text_without_pieces():
    with pytest.raises(UserError, match=r"initializers\.text"):
        initializers.text(KEY, 3, START, text="")


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_random_uniform_fills_its_bounds(scale):
    prompt = np.asarray(initializers.random_uniform(KEY, 2000, START, scale=scale))
    assert prompt.shape == (2000, toy_start.WIDTH) and prompt.dtype == np.float32
    assert -scale <= prompt.min() < -0.99 * scale and 0.99 * scale < prompt.max() < scale
    np.testing.assert_allclose(prompt.std(), scale / np.sqrt(3), rtol=0.02)


def test_from_prompt_file_composes_the_mean_task_or_a_named_one(tmp_path):
    bank = toy_start.factors(rank=2)
    path = toy_start.write(tmp_path, bank)
    mean = bank["shared"] * (bank["task_u"].mean(axis=0) @ bank["task_v"].mean(axis=0))
    prompt = initializers.FromPromptFile(path)(KEY, 4, START)
    np.testing.assert_allclose(prompt, mean, rtol=1e-5, atol=1e-6)
    named = bank["shared"] * (bank["task_u"][1] @ bank["task_v"][1])
    prompt = initializers.FromPromptFile(str(tmp_path), task="b")(KEY, 4, START)
    np.testing.assert_allclose(prompt, named, rtol=1e-5, atol=1e-6)


def test_from_prompt_file_of_whole_prompts(tmp_path):
    prompts = np.random.default_rng(2).normal(size=(2, 4, toy_start.WIDTH)).astype(np.float32)
    path = toy_start.write(tmp_path, {"task_prompts": prompts})
    mean = initializers.FromPromptFile(path)(KEY, 4, START)
    np.testing.assert_allclose(mean, prompts.mean(axis=0), rtol=1e-6)
    named = initializers.FromPromptFile(path, task="b")(KEY, 4, START)
    np.testing.assert_array_equal(named, prompts[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 5}, "length 4.*asks for 5.*PROMPT_LENGTH = 4"),
        ({"task": "nli"}, "'nli' is not in the prompt bank, which holds a, b, c"),
        ({"start": toy_start.start(backbone="other")}, "fingerprint abc.*has other"),
        ({"path": "nowhere"}, "no prompt file at 'nowhere'"),
    ],
)
def test_from_prompt_file_refuses(tmp_path, arguments, message):
    path = toy_start.write(tmp_path, toy_start.factors())
    arguments = {"length": 4, "start": START, "path": path, "task": None, **arguments}
    with pytest.raises(UserError, match=message):
        start = initializers.FromPromptFile(arguments["path"], arguments["task"])
        start(KEY, arguments["length"], arguments["start"])


def test_most_similar_takes_the_source_nearest_in_mean(tmp_path):
    sources = np.random.default_rng(2).normal(size=(3, 4, toy_start.WIDTH)).astype(np.float32)
    first = np.random.default_rng(3).normal(size=(2, 4, toy_start.WIDTH)).astype(np.float32)
    first[1] += 5 * sources[2].mean(axis=0)  # of the second task, whatever its positions
    first[0] -= 5 * sources[2].mean(axis=0)
    path = toy_start.write(tmp_path / "sources", {"task_prompts": sources})
    probe = toy_start.write(tmp_path / "probe", {"task_prompts": first}, tasks=("nli", "qa"))
    start = toy_start.start(tasks=("qa",))
    found = initializers.MostSimilar(path, probe)(KEY, 4, start)
    np.testing.assert_array_equal(found, sources[2])

    mean = sources.mean(axis=1)
    own = first[0].mean(axis=0)
    cosine = mean @ own / np.linalg.norm(mean, axis=1) / np.linalg.norm(own)
    found = initializers.MostSimilar(path, probe)(KEY, 4, toy_start.start(tasks=("nli",)))
    np.testing.assert_array_equal(found, sources[cosine.argmax()])


def test_most_similar_needs_prompts_of_the_task(tmp_path):
    path = toy_start.write(tmp_path, toy_start.factors())
    with pytest.raises(UserError, match="'nli' is not in the prompt bank, which holds a, b, c"):
        initializers.MostSimilar(path, path)(KEY, 4, START)
    with pytest.raises(UserError, match="no prompt file at 'nowhere'"):
        initializers.MostSimilar(path, "nowhere")


def test_the_product_of_another_kind_of_method_is_no_start(tmp_path):
    bank = {**toy_start.factors(), "attention_bias": np.zeros(toy_start.WIDTH, np.float32)}
    path = toy_start.write(tmp_path, bank, method="attempt")
    with pytest.raises(UserError, match="product of the method 'attempt', which no other method"):
        initializers.FromPromptFile(path)(KEY, 4, START)
