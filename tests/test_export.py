"""`t5x export`: what it writes runs in an interpreter that has none of this package."""

import dataclasses
import json
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
import safetensors.numpy
import toy_prompts
import yaml
from flax import traverse_util

import mpt_jax
from mpt_jax import cli, errors
from mpt_jax.export import build, card
from mpt_jax.methods.dept import DePT
from mpt_jax.methods.ulpt import ULPT
from mpt_jax.product import product_file

TEXTS = ["premise: the judge resisted the law .", "it was good", "a mayor in madrid"]
ALONE = """
import json, sys
sys.modules["mpt_jax"] = None  # importing it fails
{code}
shapes = [str(shape.shape) for shape in program.in_avals]
print(json.dumps({{"ids": ids.tolist(), "scores": scores.tolist(), "shapes": shapes}}))
"""


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory):
    return toy_prompts.write(tmp_path_factory.mktemp("prompts"))


@pytest.fixture(scope="module", name="exported")
def _exported(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "model"
    out.mkdir()
    assert cli.main(["export", folder, str(out), f"--backbone={folder}"]) == 0
    return out


def code_of_card(folder):
    return re.search(r"```python\n(.+?)```", (folder / "README.md").read_text(), re.S)[1]


def test_it_runs_without_this_package_and_answers_as_predict_does(exported, folder):
    tasks = ["nli", "sst", "qa"]
    code = code_of_card(exported)
    code = re.sub(r"texts, task = .*", f"texts, task = {TEXTS!r}, 'nli'", code)
    code = re.sub(r"np.full\(.*int32\)", "np.array([0, 2, 1], np.int32)", code)
    result = subprocess.run(
        [sys.executable, "-c", ALONE.format(code=code)],
        cwd=exported,
        capture_output=True,
        text=True,
        check=True,
        env={"JAX_PLATFORMS": "cpu"},
    )
    shown, data = result.stdout.splitlines()
    found = json.loads(data)
    t5 = mpt_jax.load(folder, folder, batch_size=4)
    expected = t5.predict_with_scores(TEXTS, tasks=tasks)
    decode = t5.predictor.model.output_vocabulary.decode
    assert [decode(ids) for ids in found["ids"]] == [answer.text for answer in expected]
    np.testing.assert_allclose(found["scores"], [a.score for a in expected], rtol=1e-5)
    assert {"(b, t)", "(b,)"} < set(found["shapes"])
    assert shown.startswith(f"[{expected[0].text!r}")


@pytest.mark.parametrize("method", [DePT(3, 2, 8), ULPT(3, 2)], ids=lambda method: method.name)
def test_a_method_with_parts_of_its_own_answers_as_predict_does(method, tmp_path):
    folder = toy_prompts.write(tmp_path, method=method)
    t5 = mpt_jax.load(folder, folder, batch_size=4)
    weights = traverse_util.flatten_dict(jax.device_get(t5.predictor.params), sep="/")
    program = jax.export.deserialize(bytearray(build.greedy_program(t5, weights, ["cpu"])))
    rows = [t5.reader.row(text, task, "") for text, task in zip(TEXTS, (0, 2, 1), strict=True)]
    tokens = np.zeros((3, 19), np.int32)
    for row, filled in zip(rows, tokens, strict=True):
        filled[: len(row.ids)] = row.ids
    ids, scores = jax.jit(program.call)(weights, tokens, np.array([0, 2, 1], np.int32))
    expected = t5.predict_with_scores(TEXTS, tasks=["nli", "sst", "qa"])
    decode = t5.predictor.model.output_vocabulary.decode
    assert [decode(row) for row in ids.tolist()] == [answer.text for answer in expected]
    np.testing.assert_allclose(scores, [answer.score for answer in expected], rtol=1e-5)
    assert t5.embed_prompt("qa").shape == (3, 16)  # needs no text


def test_a_task_id_that_is_none_gives_no_answer(exported):
    program = jax.export.deserialize(bytearray((exported / "model.jax_export").read_bytes()))
    weights = safetensors.numpy.load_file(exported / "weights.safetensors")
    tokens, tasks = np.full((4, 3), 7, np.int32), np.array([3, 2, -1, 1 << 30], np.int32)
    ids, scores = map(np.asarray, jax.jit(program.call)(weights, tokens, tasks))
    assert np.isnan(scores).tolist() == [True, False, True, True]
    assert (ids == -1).all(axis=1).tolist() == [True, False, True, True]


def test_the_folder_describes_itself(exported, folder):
    about = json.loads((exported / "export.json").read_text())
    assert about["tasks"] == list(toy_prompts.TASKS)
    assert about["feature_lengths"] == toy_prompts.LENGTHS
    assert about["platforms"] == ["cpu", "cuda", "tpu"]
    weights = safetensors.numpy.load_file(exported / "weights.safetensors")
    shapes = {name: list(leaf.shape) for name, leaf in weights.items()}
    assert {name: x["shape"] for name, x in about["inputs"]["weights"].items()} == shapes
    assert "prompt_bank/task_u" in shapes and "encoder/layers_0/mlp/wo/kernel" in shapes
    bank, info = product_file.load(str(exported))
    assert info == product_file.load(folder)[1] and bank["task_u"].shape[0] == 3


def test_the_card(exported, folder):
    text = (exported / "README.md").read_text()
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["library_name"] == "mpt_jax" and "mpt" in head["tags"]
    (entry,) = head["model-index"]
    assert entry["results"][0]["dataset"]["name"] == "nli"
    assert entry["results"][0]["metrics"] == [{"type": "accuracy", "value": 50.0}]
    info = product_file.load(folder)[1]
    for fact in (
        info.backbone,
        "| `sst` | `good`, `very bad` |  | accuracy 50.00 |",
        "rank 1: 19 numbers, 76 bytes",
        "in 7 steps",
        "20 tokens, 4 tokens",
        f"{(exported / 'weights.safetensors').stat().st_size:,}",
    ):
        assert fact in text, fact


def test_all_files_may_be_read_by_whom_a_new_file_may(exported, tmp_path):
    (tmp_path / "new").touch()
    assert {file.stat().st_mode for file in exported.iterdir()} == {
        (tmp_path / "new").stat().st_mode
    }


def test_a_card_of_many_tasks_and_odd_names(folder):
    info = product_file.load(folder)[1]
    names = tuple(f"a|b: '{i}'" for i in range(60))
    info = dataclasses.replace(info, tasks=names, metrics={}, rank=0, length=0)
    text = card.write(info, {"platforms": ["cpu"], "jax": "1", "files": {"vocabulary": None}}, {})
    assert yaml.safe_load(text.split("---\n")[1])["tags"][-1] == "mpt"
    assert "and 10 more" in text and "mpt_jax.load" not in text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["{folder}", "{folder}"], "exists: remove it, or name a folder that is new"),
        (["{folder}", "new", "--platforms=gpu"], "--platforms has 'gpu'."),
        (["nowhere", "new"], "no prompt file at 'nowhere'"),
        (["{folder}", "new", "--backbone=nowhere"], "'nowhere' is not a backbone"),
        (["{folder}", "{folder}/config.json/new"], "cannot"),
        (["{folder}", "new", "--platform=cpu"], "Did you mean '--platforms'"),
    ],
)
def test_bad_input_leaves_nothing(arguments, expected, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = [argument.format(folder=folder) for argument in arguments]
    assert cli.main(["export", *arguments]) == errors.EXIT_BAD_INPUT
    assert expected in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
