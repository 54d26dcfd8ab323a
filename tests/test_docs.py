"""Every command in the README and in docs/ runs, with tiny sizes; every path they name exists."""

import dataclasses
import io
import pathlib
import re
import runpy
import shlex
import shutil

import first_layers
import jax
import jax.numpy as jnp
import pytest
import toy

from mpt_jax import assets, cli, demo
from mpt_jax.backbone import store
from mpt_jax.backbone.network import Transformer
from mpt_jax.convert import convert_backbones
from mpt_jax.plan import topology
from mpt_jax.serve import programs, server

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RECORDS = [ROOT / "CHANGELOG.md", *sorted((ROOT / "benchmarks").glob("*.md"))]  # show no commands

TINY_RUN = (
    "TRAIN_STEPS=2",
    "WARMUP_STEPS=1",
    "EVAL_PERIOD=2",
    "BATCH_SIZE=8",
    "EVAL_BATCH_SIZE=100",
    "LENGTH_BUCKETS=None",
)
SOURCES = "MIXTURE_OR_TASK_NAME=['mini_nli', 'mini_sentiment']"  # of six
UNEVALUATED = "train.train.infer_eval_dataset_cfg=None"  # half of a tiny run's time
# What these do needs several processes: tests/test_several_hosts.py.
PROCESS_FLAGS = ("--multiprocess", "--coordinator_address", "--process_count", "--process_index")
T5_BASE = dataclasses.replace(toy.ONE_LAYER, vocab_size=1152)  # stands in for the real one
TINY_MODEL = [f"config.T5Config.{n}={v!r}" for n, v in vars(T5_BASE).items()]


def _blocks(text: str) -> str:
    """Indented and ```sh blocks, with continued lines joined and comments dropped."""
    indented = re.findall(r"(?m)^    (.+)$", text)
    joined = "\n".join(indented).replace("\\\n", " ")
    return "\n".join(line for line in joined.splitlines() if not line.startswith("#"))


def _commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for line in re.findall(
            r"(?m)((?:XLA_FLAGS=\S+ )?t5x .+|make \w+|python .+)", _blocks(page.read_text())
        ):
            found.append((page.name, line.split("    #")[0].strip()))
    return found


COMMANDS = _commands()
# With --engine=t5x in tests_t5x/test_gin_files.py, where T5X is installed.
T5X = [c for c in COMMANDS if "t5x " in c[1] and "--engine=t5x" not in c[1]]


def test_the_readme_shows_the_two_commands_and_three_more():
    lines = [line for page, line in COMMANDS if page == "README.md"]
    assert lines[:2] == ["make demo", "make test"]
    assert [line.split()[:2] for line in lines[2:]] == [
        ["t5x", "train"],
        ["t5x", "train"],
        ["t5x", "eval"],
    ]


def test_the_readme_quotes_scores_of_the_results_pages():
    quoted = re.findall(r"\d+\.\d ± \d+\.\d", (ROOT / "README.md").read_text())
    results = [ROOT / f"docs/{name}_results.md" for name in ("mini", "real")]
    means = re.findall(r"\*\*(.+?)\*\* \|", "".join(page.read_text() for page in results))
    assert len(quoted) >= 5 and set(quoted) <= set(means)


@pytest.fixture(name="workplace", scope="module")
def _workplace(tmp_path_factory):
    """A folder with what the documented commands expect of a user: backbone, tasks, lines."""
    folder = tmp_path_factory.mktemp("docs")
    tokens = jnp.ones((1, 1), jnp.int32)
    params = jax.jit(Transformer(T5_BASE).init)(jax.random.key(0), tokens, tokens)["params"]
    store.save(str(folder / "t5_base"), params, T5_BASE)
    shutil.copy(assets.path("mini/spiece.model"), folder / "spiece.model")
    convert_backbones.convert(str(folder / "t5_base"), str(folder / "flan-t5-base"), "huggingface")
    shutil.copy(assets.path("mini/spiece.model"), folder / "flan-t5-base")
    (folder / "lines.txt").write_text("\n".join(demo.LINES) + "\n")
    code = re.search(r"```python\n(.+?)```", (ROOT / "docs/tasks.md").read_text(), re.S)[1]
    (folder / "my_tasks.py").write_text(code)
    for page in PAGES:  # a block that begins ```json rows.jsonl is that file
        for name, content in re.findall(r"```\w+ (\S+)\n(.+?)```", page.read_text(), re.S):
            (folder / name).write_text(content)
    own = 'seqio.SentencePieceVocabulary("spiece.model")'
    of_t5 = code.replace("vocabulary.vocabulary()", own).replace('"my_task"', '"my_t5_task"')
    (folder / "my_t5_tasks.py").write_text(of_t5)
    for name, rows in (("train", 8), ("validation", 4), ("test", 4)):
        text = "".join(
            f"it was {'good' if i % 2 else 'bad'}\t{'positive' if i % 2 else 'negative'}\n"
            for i in range(rows)
        )
        (folder / f"{name}.tsv").write_text(text)
    first_layers.copy(assets.path("mini"), folder / "assets/mini")
    return folder


@pytest.fixture(name="mini", autouse=True)
def _mini(workplace, monkeypatch):
    """One layer of the shipped backbone stands in for its four: programs compile in a third."""
    monkeypatch.setattr(assets, "path", lambda name: str(workplace / "assets" / name))


@pytest.mark.parametrize("command", list(dict.fromkeys(line for _, line in T5X)))
def test_command_runs(workplace, monkeypatch, command):
    monkeypatch.chdir(workplace)
    words = shlex.split(command)
    words = words[words.index("t5x") + 1 :]
    if "--gin.INPUTS=-" in words:
        questions = (workplace / "questions.jsonl").open("rb")
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(questions))
    if any(word.startswith(PROCESS_FLAGS) for word in words):  # else as a command before
        words = [word for word in words if not word.startswith(PROCESS_FLAGS)] + ["--dry_run"]
    if words[0] == "plan":  # compiling takes minutes
        monkeypatch.setattr(topology, "has_compiler", lambda: False)
        words = [word for word in words if word != "--suggest"]
    if words[0] == "serve":  # it would not end: tests/serve/test_server.py
        monkeypatch.setattr(server.uvicorn.Server, "run", lambda *_, **__: None)
        monkeypatch.setattr(programs.Programs, "compile", lambda _: None)
        words.append("--port=0")
    if "pretrain_mini" in command:  # half a million rows and all weights: a minute for a step
        words.append("--dry_run")
    assert cli.main([*words, *_tiny(words)]) == 0


def test_the_python_of_the_readme_runs(workplace, monkeypatch, capsys):
    """On what `make demo` leaves behind, of two steps."""
    monkeypatch.chdir(workplace)
    run = ["train", "--gin_file=gin/mpt_target.gin", "--gin_file=gin/methods/prompt_tuning.gin"]
    sizes = [f"--gin.{size}" for size in (*TINY_RUN, UNEVALUATED, *first_layers.SETTINGS)]
    names = {"MIXTURE_OR_TASK_NAME": demo.TASK, "MODEL_DIR": demo.FOLDER / "mpt"}
    assert cli.main([*run, *sizes, *(f"--gin.{k}={v}" for k, v in names.items())]) == 0
    capsys.readouterr()
    runpy.run_path("quickstart.py")
    answer, scores = capsys.readouterr().out.splitlines()[-2:]
    assert answer.startswith("['") and "('entailment', 'neutral', 'contradiction')" in scores


def test_the_python_of_using_runs(workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    runpy.run_path("using.py")
    *_, scores, prompt, states, logits = capsys.readouterr().out.splitlines()
    assert scores.endswith("(2, 2)") and prompt == "(20, 128)"
    assert re.fullmatch(r"\(2, \d+, 128\) 20", states)
    assert re.fullmatch(r"\(2, (\d+), 1024\) \(2, \1\) \(2, \1\)", logits)


def _tiny(words: list[str]) -> list[str]:
    """Flags that shrink a documented command without changing what it does.

    A sweep is planned alone: one is carried out in tests/sweep/test_sweep.py.
    """
    if words[0] == "sweep":
        return [] if {"--dry_run", "--emit"} & set(words) else ["--dry_run"]
    sizes = []
    if words[0] == "train":
        sizes += [s for s in TINY_RUN if s.split("=")[0] not in " ".join(words)]
        sizes += [] if "--gin.FEW_SHOT=32" in words else [UNEVALUATED]
        if "--gin_file=gin/mpt_source.gin" in words and "MIXTURE_OR_TASK" not in " ".join(words):
            sizes.append(SOURCES)
    if any("t5_base.gin" in word for word in words):
        sizes += TINY_MODEL
    elif words[0] in ("train", "eval", "infer"):
        sizes += first_layers.SETTINGS
    return [f"--gin.{size}" for size in dict.fromkeys(sizes)]


def test_documented_paths_exist():
    for page in [*PAGES, *RECORDS]:
        text = page.read_text()
        for path in re.findall(r"`((?:mpt_jax|gin|tasks|tests|benchmarks|docs)/[\w./]+)`", text):
            assert (ROOT / path).exists(), f"{page.name}: {path}"
        for path in re.findall(r"\]\((?!http)([\w./]+)\)", text):
            assert (page.parent / path).exists(), f"{page.name}: {path}"


def test_make_targets_exist():
    targets = (ROOT / "Makefile").read_text()
    for _, line in COMMANDS:
        if line.startswith("make "):
            assert f"\n{line.split()[1]}:" in targets
