"""`mpt_jax.load` against the model's own functions, called on batches made by hand."""

import contextlib
import dataclasses
import functools
import json
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_prompts

import mpt_jax
from mpt_jax import prompts, vocabulary
from mpt_jax.backbone import store
from mpt_jax.backbone.formats import backbones
from mpt_jax.backbone.network import Transformer
from mpt_jax.errors import UserError
from mpt_jax.methods.adapter import Adapter
from mpt_jax.methods.lora import LoRA
from mpt_jax.models import EncoderDecoderModel
from mpt_jax.product import product_file
from mpt_jax.product.leaves import is_per_task

TEXTS = ["the judge resisted the law .", "yes", "a mayor in madrid on friday", "it was good"]
LONG = "the governor supported the ban in madrid " * 4
LENGTHS = toy_prompts.LENGTHS


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory):
    return toy_prompts.write(tmp_path_factory.mktemp("prompts"))


@pytest.fixture(scope="module", name="t5")
def _t5(folder):
    return mpt_jax.load(folder, folder, batch_size=8)


def tokens(texts, folder):
    """[N, T] by hand, and the vocabulary."""
    vocabulary = backbones.vocabulary_of(folder)
    rows = np.zeros((len(texts), LENGTHS["inputs"]), np.int32)
    for row, text in zip(rows, texts, strict=True):
        ids = [*vocabulary.encode(text), vocabulary.eos_id]
        row[: len(ids)] = ids
    return jnp.asarray(rows), vocabulary


def test_predictions_are_those_of_predict_batch(t5, folder):
    inputs, vocabulary = tokens(TEXTS, folder)
    batch = {
        "encoder_input_tokens": inputs,
        "decoder_input_tokens": jnp.zeros((4, LENGTHS["targets"]), jnp.int32),
        "task_ids": jnp.array([2, 0, 1, 2]),
    }
    model = t5.predictor.model
    ids, aux = jax.jit(model.predict_batch_with_aux)(jax.device_get(t5.predictor.params), batch)
    found = t5.predict_with_scores(TEXTS, tasks=["sst", "nli", "qa", "sst"])
    assert [answer.text for answer in found] == [vocabulary.decode(row) for row in ids.tolist()]
    np.testing.assert_allclose([a.score for a in found], aux["scores"], rtol=1e-4)
    assert len({answer.text for answer in found}) > 1


@contextlib.contextmanager
def counted_compilations():
    events = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, *_, **__: events.append(name) if "backend_compile" in name else None
    )
    try:
        yield events
    finally:
        jax.monitoring.clear_event_listeners()


def test_after_warming_up_nothing_is_compiled(folder):
    with counted_compilations() as compiled:
        t5 = mpt_jax.load(folder, folder, batch_size=4, warm_up=True)
        assert compiled
        compiled.clear()
        t5.predict(["it was good"], t5.tasks[0])
        t5.predict([LONG[:40]], t5.tasks[-1])
        t5.score([LONG[:40]], task="nli")
        t5.score(["it was good"], task="sst")
    assert not compiled
    with pytest.raises(UserError, match="at least 1; got 0"):
        t5.warm_up(0)


@pytest.mark.parametrize("method", [None, LoRA(rank=2)], ids=["mpt", "lora"])
def test_other_prompts_on_the_same_backbone(tmp_path, method):
    def calls(t5, tasks):
        return t5.predict_with_scores(TEXTS, tasks=tasks), t5.score(TEXTS[:2], task="sst")

    def assert_equal(found, expected):
        assert found[0] == expected[0] and found[1].best == expected[1].best
        np.testing.assert_array_equal(found[1][1], expected[1][1])

    folder = toy_prompts.write(tmp_path / "three", method=method)
    bank, info = product_file.load(folder)
    grown = {n: np.concatenate([x, 2 * x[:1]]) if is_per_task(n) else x for n, x in bank.items()}
    names = (*info.tasks, "new")
    other = product_file.save(str(tmp_path), grown, dataclasses.replace(info, tasks=names))
    t5 = mpt_jax.load(folder, folder, batch_size=4, growing=True)
    before = calls(t5, MIXED)
    assert_equal(before, calls(mpt_jax.load(folder, folder, batch_size=4), MIXED))
    with counted_compilations() as compiled:
        larger = t5.with_prompts(other)
        after = calls(larger, ["new", "qa", "sst", "nli"])
        assert not compiled and larger.predictor.has_programs_of(t5.predictor)
    plain = mpt_jax.load(folder, batch_size=4).with_prompts(other)
    assert larger.tasks == plain.tasks == names
    assert not plain.predictor.has_programs_of(t5.predictor)
    assert_equal(after, calls(plain, ["new", "qa", "sst", "nli"]))
    assert_equal(calls(t5, MIXED), before)
    kernel = ("encoder", "layers_0", "mlp", "wo", "kernel")
    shared = [
        functools.reduce(lambda x, key: x[key], kernel, m.predictor.params) for m in (t5, larger)
    ]
    assert shared[0] is shared[1]
    with pytest.raises(UserError, match="'new' is not in the bank"):
        t5.predict(TEXTS, "new")


def test_prompts_that_do_not_fit_and_a_changed_backbone(folder, tmp_path):
    t5 = mpt_jax.load(folder, folder, batch_size=4)
    bank, info = product_file.load(folder)
    foreign = product_file.save(str(tmp_path), bank, dataclasses.replace(info, backbone="0" * 16))
    with pytest.raises(UserError, match="trained on a backbone with backbone fingerprint 0000"):
        t5.with_prompts(foreign)
    tuned = toy_prompts.write(tmp_path / "tuned", tasks=("nli",), method=Adapter(reduction=8))
    with pytest.raises(UserError, match="'adapter' has changed the backbone"):
        mpt_jax.load(tuned, tuned, batch_size=4).with_prompts(folder)


def test_the_vocabulary_may_lie_elsewhere(folder, tmp_path):
    copy, elsewhere = tmp_path / "copy", tmp_path / "elsewhere"
    for place in (copy, elsewhere):
        shutil.copytree(folder, place)
    (copy / "spiece.model").unlink()
    with pytest.raises(UserError, match="there is no .*spiece.model"):
        mpt_jax.load(str(copy), folder)
    t5 = mpt_jax.load(str(copy), folder, vocabulary=str(elsewhere / "spiece.model"))
    assert t5.reader.vocabulary.encode(TEXTS[0]) == backbones.tokenizer_of(folder).encode(TEXTS[0])


def test_a_batch_may_mix_tasks(t5):
    mixed = t5.predict([TEXTS[0]] * 3, tasks=t5.tasks)
    assert mixed == [t5.predict([TEXTS[0]], task)[0] for task in t5.tasks]
    assert len(set(mixed)) == 3


def programs(step):
    """How many an eval step has compiled."""
    return step.__wrapped__._cache_size()


def test_many_texts_in_few_programs(t5):
    texts = [" ".join(["law"] * (1 + i % 15)) for i in range(19)]
    before = programs(t5.predictor._predict)
    together = t5.predict(texts, "nli")
    assert programs(t5.predictor._predict) <= before + 2  # of 16 and of 20 tokens
    assert together == [t5.predict([text], "nli")[0] for text in texts]
    assert t5.predict([], "nli") == []


def test_scores_are_sums_of_log_probabilities(t5, folder):
    labels = ["entailment", "no"]
    scores = t5.score(TEXTS, labels, tasks=["nli", "qa", "sst", "nli"])
    inputs, vocabulary = tokens(TEXTS, folder)
    apply = jax.jit(t5.predictor.model.module.apply)
    params = jax.device_get(t5.predictor.params)
    composed = prompts.compose(params["prompt_bank"], jnp.array([0, 1, 2, 0]))
    expected = np.zeros((4, 2))
    for column, label in enumerate(labels):
        ids = [*vocabulary.encode(label), 1]
        fed = jnp.array([[0, *ids[:-1]]] * 4)
        logits = apply({"params": params}, inputs, fed, composed)
        log_probs = jax.nn.log_softmax(logits)
        expected[:, column] = sum(log_probs[:, t, token] for t, token in enumerate(ids))
    assert scores.log_likelihoods.dtype == np.float32
    np.testing.assert_allclose(scores.log_likelihoods, expected, rtol=1e-4)
    assert scores.best == [labels[i] for i in expected.argmax(axis=1)]


MIXED = ["nli", "qa", "sst", "nli"]
TARGETS = ["no", "yes", "", "very bad"]


def by_hand(folder, texts, tasks):
    """Encoder states [N, P+T, D] by the backbone alone, of prompts composed here; its lengths."""
    bank, info = product_file.load(folder)
    ids = [info.tasks.index(task) for task in tasks]
    composed = jnp.stack([bank["shared"] * (bank["task_u"][k] @ bank["task_v"][k]) for k in ids])
    inputs, _ = tokens(texts, folder)
    params = {"params": toy_prompts.backbone()}
    encode = jax.jit(functools.partial(Transformer(toy_prompts.CONFIG).apply, method="encode"))
    lengths = composed.shape[1] + np.asarray((inputs != 0).sum(axis=1))
    return np.asarray(encode(params, inputs, composed)), lengths


def test_states_are_those_of_the_encoder_on_prompt_and_text(t5, folder):
    found = t5.encode(TEXTS, tasks=MIXED)
    states, lengths = by_hand(folder, TEXTS, MIXED)
    assert found.prompt_length == t5.info.length == 3 and found.states.dtype == np.float32
    assert found.states.shape == (4, max(lengths), toy_prompts.CONFIG.emb_dim)
    np.testing.assert_array_equal(found.mask, np.arange(max(lengths)) < lengths[:, None])
    np.testing.assert_allclose(
        found.states[found.mask], states[:, : max(lengths)][found.mask], rtol=1e-4, atol=1e-5
    )
    assert not found.states[~found.mask].any() and len(set(lengths)) > 1
    none = t5.encode([], "nli")
    assert none.states.shape == (0, 3, toy_prompts.CONFIG.emb_dim) and none.mask.shape == (0, 3)


def test_log_softmax_of_the_logits_adds_up_to_the_score(t5, folder):
    found = t5.logits(TEXTS, TARGETS, tasks=MIXED)
    vocabulary = backbones.tokenizer_of(folder)
    ids = [[*vocabulary.encode(target), 1] for target in TARGETS]
    longest = max(map(len, ids))
    assert found.logits.shape == (4, longest, 1024) and found.logits.dtype == np.float32
    assert found.targets.tolist() == [[*row, *[0] * (longest - len(row))] for row in ids]
    assert found.mask.tolist() == [[t < len(row) for t in range(longest)] for row in ids]
    assert not found.logits[~found.mask].any() and len(set(map(len, ids))) > 1
    shifted = found.logits - found.logits.max(axis=-1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    picked = np.take_along_axis(log_probs, found.targets[..., None], axis=-1)[..., 0]
    expected = np.diag(t5.score(TEXTS, TARGETS, tasks=MIXED).log_likelihoods)
    np.testing.assert_allclose((picked * found.mask).sum(axis=1), expected, rtol=1e-4)
    none = t5.logits([], [], task="nli")
    assert none.logits.shape == (0, 0, 1024) and none.mask.shape == (0, 0)


def test_states_and_logits_of_many_texts_take_few_programs(t5):
    texts = [" ".join(["law"] * (1 + i % 15)) for i in range(19)]
    counts = [programs(t5.predictor._encode), programs(t5.predictor._logits)]
    t5.encode(texts, "nli")
    t5.logits(texts, ["yes"] * 19, task="nli")
    assert programs(t5.predictor._encode) <= counts[0] + 2  # of 16 and of 20 tokens
    assert programs(t5.predictor._logits) <= counts[1] + 2


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["yes"], "targets must be 4 texts, one for each text"),
        ("yes!", "targets must be 4 texts"),
        (["yes", None, "no", "no"], "target 1 is None, which is not a text"),
        (["yes", "no", LONG, "no"], r"target 2 has at least \d+ tokens, more than the limit of 4"),
    ],
)
def test_targets_that_are_none(t5, targets, message):
    with pytest.raises(UserError, match=message):
        t5.logits(TEXTS, targets, task="nli")


def test_labels_are_the_label_words_of_the_task(t5):
    scores = t5.score(TEXTS[:1], task="sst")
    assert scores.labels == ("good", "very bad") and scores.log_likelihoods.shape == (1, 2)
    assert (scores.log_likelihoods == t5.score(TEXTS[:1], scores.labels, task="sst")[1]).all()
    with pytest.raises(UserError, match="nli, sst have different label words: give labels"):
        t5.score(TEXTS[:2], tasks=["nli", "sst"])
    with pytest.raises(UserError, match="no labels: the prompt file states no label words"):
        t5.score(TEXTS, task="qa")


def test_no_texts_have_the_labels_of_the_task_too(t5):
    scores = t5.score([], task="sst")
    assert scores.labels == ("good", "very bad") and scores.best == []
    assert scores.log_likelihoods.shape == (0, 2)
    with pytest.raises(UserError, match="no task was given; it holds nli, qa, sst"):
        t5.score([], tasks=[])


def test_a_task_id_that_is_none_is_refused(t5):
    row = t5.reader.row("a law", 0, "the text")
    for task_id in (3, -1):
        wrong = row._replace(task_id=task_id)
        for use in (
            lambda rows: t5.predictor.predict(rows, 2),
            lambda rows: t5.predictor.rank(rows, [["good"]] * 2, 2),
            lambda rows: t5.predictor.embed_prompt(rows[1].task_id),
        ):
            with pytest.raises(UserError, match=f"task id {task_id} is not one of the 3 tasks"):
                use([row, wrong])


@pytest.mark.parametrize("lengths", [{"targets": 0}, {"targets": 10**9}, {"inputs": 2.5}])
def test_lengths_have_bounds(lengths, folder):
    with pytest.raises(UserError, match="limit of .* is a number of tokens from 1 to 65,536"):
        mpt_jax.load(folder, folder, lengths=lengths)


@pytest.mark.parametrize("label", ["label" * 20_000, 7])
def test_a_label_has_a_bound(label, t5):
    with pytest.raises(UserError, match=r"the label '.*not a text of at most 1,000 characters"):
        t5.score(TEXTS[:1], [label], task="sst")


def test_embedded_prompts_are_the_composed_ones(t5, folder):
    bank, info = product_file.load(folder)
    for k, task in enumerate(info.tasks):
        expected = bank["shared"] * (bank["task_u"][k] @ bank["task_v"][k])
        np.testing.assert_allclose(t5.embed_prompt(task), expected, rtol=1e-5)


def test_bad_input(t5):
    with pytest.raises(UserError, match="'nlx' is not in the bank; it holds nli, qa, sst. Did"):
        t5.predict(TEXTS, "nlx")
    with pytest.raises(UserError, match="no task was given; it holds nli, qa, sst"):
        t5.predict(TEXTS)
    with pytest.raises(UserError, match="text 1 is empty"):
        t5.predict(["one", " "], "nli")
    with pytest.raises(UserError, match="text 1 is 7, which is not a text"):
        t5.predict(["one", 7], "nli")
    with pytest.raises(UserError, match="text 0 holds half a character"):
        t5.predict(["\ud800"], "nli")
    with pytest.raises(UserError, match=r"the label '.ud800' holds half a character"):
        t5.score(TEXTS, ["\ud800"], task="nli")
    with pytest.raises(UserError, match="tasks must be 4 names"):
        t5.predict(TEXTS, tasks=["nli"])
    with pytest.raises(UserError, match="exclude each other"):
        t5.predict(TEXTS, "nli", tasks=["nli"] * 4)
    with pytest.raises(UserError, match="give a list"):
        t5.predict("one text", "nli")


def test_long_texts_are_truncated_with_a_warning_or_refused(t5, folder):
    with pytest.warns(UserWarning, match="2 of 3 texts were longer than 20 tokens"):
        cut, _, _ = t5.predict([LONG, "short", LONG], "nli")
    ids = backbones.vocabulary_of(folder).encode(LONG)[:19]
    assert cut == t5.predict([backbones.vocabulary_of(folder).decode(ids)], "nli")[0]
    strict = mpt_jax.load(folder, folder, batch_size=8, too_long="refuse")
    with pytest.raises(
        UserError, match=r"text 1 has at least \d+ tokens, more than the limit of 20"
    ):
        strict.predict(["short", LONG], "nli")
    with pytest.raises(UserError, match="too_long must be 'truncate' or 'refuse', got 'cut'"):
        mpt_jax.load(folder, folder, batch_size=8, too_long="cut")


def test_a_backbone_alone(folder):
    plain = mpt_jax.load(folder, batch_size=4, lengths=LENGTHS)
    assert plain.tasks == () and plain.info is None
    inputs, _ = tokens(TEXTS[:1], folder)
    model = plain.predictor.model
    assert isinstance(model, EncoderDecoderModel) and not model.method.prompt_length
    fed = jnp.zeros((1, 1), jnp.int32)
    logits = jax.jit(model.module.apply)({"params": toy_prompts.backbone()}, inputs, fed)[0, 0]
    found = plain.score(TEXTS[:1], [""]).log_likelihoods  # of the end token alone
    np.testing.assert_allclose(found, jax.nn.log_softmax(logits)[None, 1:2], rtol=1e-4)
    logits = plain.logits(TEXTS[:1], [""]).logits
    np.testing.assert_allclose(jax.nn.log_softmax(logits)[:, 0, 1:2], found, rtol=1e-4)
    encoded = plain.encode(TEXTS[:1])
    assert encoded.prompt_length == 0 and encoded.states.shape[1] == (inputs != 0).sum()
    with pytest.raises(UserError, match="no prompt to embed"):
        plain.embed_prompt()


def test_other_methods_and_settings(tmp_path):
    folder = toy_prompts.write(tmp_path, tasks=("nli",), method=Adapter(reduction=8))
    t5 = mpt_jax.load(folder, folder, batch_size=4, dtype="bfloat16", temperature=1.0)
    sampled = t5.predict(TEXTS)
    assert sampled == t5.predict(TEXTS) and len(sampled) == 4
    kernel = t5.predictor.params["decoder"]["layers_0"]["mlp"]["wo"]["kernel"]
    assert kernel.dtype == jnp.bfloat16
    with pytest.raises(UserError, match="no option 'num_beam'. Did you mean 'num_beams'"):
        mpt_jax.load(folder, folder, num_beam=4)


def test_files_that_do_not_belong_together(folder, tmp_path):
    narrow = dataclasses.replace(toy_prompts.CONFIG, vocab_size=512)
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / store.CONFIG).write_text(narrow.to_json())
    with pytest.raises(UserError, match="config.json states vocab_size = 512"):
        mpt_jax.load(str(copy), folder)
    with pytest.raises(UserError, match="fingerprint|width"):
        mpt_jax.load("mini", folder)
    shutil.copytree(folder, copy, dirs_exist_ok=True)
    (copy / "spiece.model").write_bytes(b"no model")
    with pytest.raises(UserError, match="cannot be read as a SentencePiece model"):
        mpt_jax.load(str(copy), folder)
    with pytest.raises(UserError, match="no prompt file at 'nowhere'"):
        mpt_jax.load(folder, "nowhere")


def test_another_vocabulary_than_the_prompts_is_refused(folder, tmp_path):
    bank, info = product_file.load(folder)
    own = vocabulary.digest(backbones.tokenizer_of(folder))
    product_file.save(str(tmp_path), bank, dataclasses.replace(info, vocabulary=own))
    mpt_jax.load(folder, str(tmp_path))
    copy = shutil.copytree(folder, tmp_path / "copy")
    content = bytearray((copy / "spiece.model").read_bytes())
    content[150_000] ^= 1  # in the table by which characters are normalised
    (copy / "spiece.model").write_bytes(content)
    with pytest.raises(UserError, match="was trained with another vocabulary than this run's"):
        mpt_jax.load(str(copy), str(tmp_path))


def test_what_is_imported():
    """`import mpt_jax` imports next to nothing, and prediction neither TensorFlow nor Orbax."""
    code = (
        "import json, sys, mpt_jax; light = set(sys.modules); import mpt_jax.api;"
        "print(json.dumps([sorted(light), sorted(sys.modules)]))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    light, loaded = map(set, json.loads(out.stdout))
    assert not light & {"jax", "numpy", "flax"}
    assert "jax" in loaded and not loaded & {"tensorflow", "seqio", "orbax", "tensorstore"}
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        mpt_jax.laod  # noqa: B018
