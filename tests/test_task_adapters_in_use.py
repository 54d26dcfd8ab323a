"""LoRA and (IA)³ of several tasks, served together: the answers of each task's merged backbone."""

import shutil

import jax
import numpy as np
import pytest
import safetensors.numpy
import toy_prompts

import mpt_jax
from mpt_jax import cli
from mpt_jax.methods.ia3 import IA3
from mpt_jax.methods.lora import LoRA
from mpt_jax.product import product_file

TEXTS = ["premise: the judge resisted the law .", "it was good", "a mayor in madrid"]
LABELS = ["entailment", "neutral", "good"]


@pytest.fixture(name="folder", scope="module", params=[LoRA(rank=2), IA3()], ids=["lora", "ia3"])
def _folder(request, tmp_path_factory):
    """A backbone, with the product of a run beside it."""
    return toy_prompts.write(tmp_path_factory.mktemp("run"), method=request.param)


@pytest.fixture(name="expected", scope="module")
def _expected(folder, tmp_path_factory):
    """Task -> its answer to each text, and scores [N, L] of labels, from a merged backbone."""
    found = {}
    for task in toy_prompts.TASKS:
        merged = str(tmp_path_factory.mktemp("merged") / task)
        command = ["convert", folder, merged, "--to=mpt_jax", "--merge", f"--backbone={folder}"]
        assert cli.main([*command, f"--tasks={task}"]) == 0
        shutil.copy(f"{folder}/tokenizer_config.json", merged)
        t5 = mpt_jax.load(merged, lengths=toy_prompts.LENGTHS, num_beams=2)
        scores = t5.score(TEXTS, LABELS).log_likelihoods
        found[task] = (t5.predict(TEXTS), scores)
    return found


def test_a_batch_of_mixed_tasks_by_beams_and_by_labels(folder, expected):
    t5 = mpt_jax.load(folder, folder, num_beams=2)
    texts = [text for text in TEXTS for _ in toy_prompts.TASKS]
    tasks = list(toy_prompts.TASKS) * len(TEXTS)
    wanted = [expected[task][0][i // 3] for i, task in enumerate(tasks)]
    assert t5.predict(texts, tasks=tasks) == wanted and len(set(wanted)) > 3
    scores = t5.score(texts, LABELS, tasks=tasks).log_likelihoods
    wanted = [expected[task][1][i // 3] for i, task in enumerate(tasks)]
    np.testing.assert_allclose(scores, wanted, rtol=1e-4)


def test_the_exported_program_takes_mixed_tasks(folder, tmp_path):
    out = tmp_path / "model"
    assert cli.main(["export", folder, str(out), f"--backbone={folder}", "--platforms=cpu"]) == 0
    program = jax.export.deserialize(bytearray((out / "model.jax_export").read_bytes()))
    weights = safetensors.numpy.load_file(out / "weights.safetensors")
    t5 = mpt_jax.load(folder, folder)
    rows = [t5.reader.row(text, i, "text") for i, text in enumerate(TEXTS)]
    tokens = np.zeros((3, max(len(row.ids) for row in rows)), np.int32)
    for row, at in zip(rows, tokens, strict=True):
        at[: len(row.ids)] = row.ids
    _, scores = jax.jit(program.call)(weights, tokens, np.arange(3, dtype=np.int32))
    wanted = t5.predict_with_scores(TEXTS, tasks=toy_prompts.TASKS)
    np.testing.assert_allclose(scores, [answer.score for answer in wanted], rtol=1e-4)
    assert product_file.load(str(out))[1].tasks == toy_prompts.TASKS
    assert ("adapter's rank | 2" in (out / "README.md").read_text()) == ("lora" in str(t5.info))
