"""The kinds of files that are read, each written small, and what its reader gives."""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import golden_folders
import jax
import jax.numpy as jnp
import numpy as np
import toy_prompts
from etils import epath
from report.conftest import make_run

from mpt_jax import files, vocabulary
from mpt_jax.backbone import store
from mpt_jax.backbone.formats import backbones, vocabularies
from mpt_jax.convert import convert_prompts
from mpt_jax.engine.checkpoints import Checkpointer, SaveCheckpointConfig
from mpt_jax.engine.records import run_record
from mpt_jax.errors import UserError
from mpt_jax.methods.adapter import Adapter
from mpt_jax.product import product_file
from mpt_jax.report import runs
from mpt_jax.tasks import local

TEXT = "premise: the judge saw the red house . hypothesis: the house is red ."
GOLDEN = golden_folders.HUGGINGFACE


@dataclasses.dataclass(frozen=True)
class Reader:
    """One kind of files.

    Attributes:
        name: in the table.
        write: fills an empty folder.
        read: what a user gets of such a folder, comparable.
        checked: whether other values than those written are never given.
        damages: which files of the folder are damaged; default all.
        identity: what prompts and runs keep of a backbone, and compare with later.
    """

    name: str
    write: Callable[[pathlib.Path], Any]
    read: Callable[[pathlib.Path], Any]
    checked: bool = True
    damages: Callable[[pathlib.Path], bool] = lambda path: True
    identity: Callable[[pathlib.Path], Any] = lambda folder: None


def _digest(tree: Any) -> str:
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        digest.update(f"{jax.tree_util.keystr(path)}{np.shape(leaf)}".encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def _read_prompts(folder: pathlib.Path) -> Any:
    bank, info = product_file.load(str(folder))
    return _digest(bank), json.dumps(dataclasses.asdict(info), sort_keys=True)


def _read_backbone(folder: pathlib.Path) -> Any:
    config = backbones.config_of(str(folder))
    tensors = backbones.open_weights(str(folder)).tensors
    return config.to_json(), _digest({name: tensor.whole() for name, tensor in tensors.items()})


def _read_vocabulary(folder: pathlib.Path) -> Any:
    pieces = backbones.tokenizer_of(str(folder))
    return pieces.encode(TEXT), pieces.decode(list(range(50, 400)))


def _vocabulary(folder: pathlib.Path) -> Any:
    return vocabulary.digest(backbones.tokenizer_of(str(folder)))


def _is_prompt_file(path: pathlib.Path) -> bool:
    return path.stem in ("prompts", "adapter")


def _is_backbone(path: pathlib.Path) -> bool:
    return path.name in (store.WEIGHTS, store.CONFIG)


def _is_vocabulary(path: pathlib.Path) -> bool:
    return path.name == vocabularies.FILE


def _write_checkpoint(folder: pathlib.Path) -> None:
    state = {"bank": {"shared": jnp.arange(40.0).reshape(8, 5)}, "step": jnp.array(3)}
    iterator = _iterator()
    next(iterator)
    with contextlib.closing(_checkpointer(folder)) as checkpointer:
        checkpointer.save(3, state, iterator)


def _read_checkpoint(folder: pathlib.Path) -> Any:
    like = {"bank": {"shared": jnp.zeros((8, 5))}, "step": jnp.array(0)}
    iterator = _iterator()
    with contextlib.closing(_checkpointer(folder)) as checkpointer:
        state = checkpointer.restore(like, 3)
        checkpointer.restore_iterator(iterator, 3)
    rows = [int(next(iterator)) for _ in range(30)]
    return _digest(state), rows


def _checkpointer(folder: pathlib.Path) -> Checkpointer:
    return Checkpointer(folder, SaveCheckpointConfig(period=1))


def _iterator() -> Any:
    import tensorflow as tf

    rows = tf.data.Dataset.range(9).shuffle(9, seed=0, reshuffle_each_iteration=True)
    return iter(rows.repeat())


def _write_layout(save: Callable[[pathlib.Path, dict], None]) -> Callable[[pathlib.Path], None]:
    """A checkpoint of T5X's, in the layout that `save` writes."""
    return lambda folder: save(folder / "checkpoint_0", golden_folders.tree_of("t5_v1_0"))


def _save_orbax(folder: pathlib.Path, tree: dict) -> None:
    golden_folders.save_orbax(folder, {"target": tree})


def _write_golden(name: str) -> Callable[[pathlib.Path], None]:
    return lambda folder: shutil.copytree(GOLDEN.parent / name, folder, dirs_exist_ok=True)


def _read_converted(source: str) -> Callable[[pathlib.Path], Any]:
    """What `t5x convert` makes of another program's prompts, for the backbone that is there."""

    def read(folder: pathlib.Path) -> Any:
        backbone = str(folder.parent / "whole" / "backbone")
        convert_prompts.convert(
            str(folder / source), str(folder / "ours"), "mpt_jax", backbone=backbone
        )
        return _read_prompts(folder / "ours")

    return read


def _write_run(folder: pathlib.Path) -> None:
    evals = ((50, {"a": 40.0, "b": 60.5}), (100, {"a": 50.0, "b": 61.0}))
    make_run(folder / "run", tasks=("a", "b"), test={"a": 48.0, "b": 59.0}, evals=evals)
    for file in (folder / "run").rglob("*.json*"):  # as a run writes them
        whole = [file.read_text()] if file.suffix == ".json" else file.read_text().splitlines()
        sealed = [files.to_sealed_json(json.loads(text)) for text in whole]
        file.write_text("".join(f"{text}\n" for text in sealed))
    run_record.amend(str(folder / "run"), evaluations=len(evals))


def _read_run(folder: pathlib.Path) -> Any:
    found, problems = runs.read([epath.Path(folder / "run")])
    if problems:  # what a report says of a run that it leaves out
        raise UserError("; ".join(problem.reason for problem in problems))
    if found[0].split != runs.TEST:  # the report names the split: nobody takes it for the other
        raise UserError("not evaluated on the test split")
    return repr(found).replace(str(folder), "")


def _write_rows(folder: pathlib.Path) -> None:
    rows = [{"text": f"row {i} of them", "label": ["bad", "good"][i % 2]} for i in range(20)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = "".join(f'"{row["text"]}, again",{row["label"]}\n' for row in rows)
    (folder / "rows.csv").write_text(f"text,label\n{table}")


def _read_rows(folder: pathlib.Path) -> Any:
    task = local.Task(
        name="rows",
        splits={"train": "rows.jsonl", "test": "rows.csv"},
        folder=str(folder),
        inputs="text: {text}",
        targets="{label}",
        metrics=["accuracy"],
        validation_share=0.3,
    )
    return repr([task.read(split) for split in ("train", "test")])


def _identity(folder: pathlib.Path) -> Any:
    """What prompts that were trained on a backbone know of it (`belonging.check_backbone`)."""
    path = str(folder)
    return backbones.identify(path), str(backbones.config_of(path).arithmetic)


def _write_other_prompts(folder: pathlib.Path, to: str, name: str) -> None:
    """Prompts as `t5x convert` writes them for other programs, and their backbone."""
    ours = toy_prompts.write(folder / "backbone")
    convert_prompts.convert(ours, str(folder / name), to, ["nli"])


def _foreign(name: str, write: Callable[[pathlib.Path], Any], place: str = "") -> Reader:
    """Somebody else's backbone."""
    return Reader(
        name,
        write,
        lambda folder: _read_backbone(folder / place),
        checked=False,
        identity=lambda folder: _identity(folder / place),
    )


READERS = (
    Reader("prompt file", toy_prompts.write, _read_prompts, damages=_is_prompt_file),
    Reader(
        "adapter file",
        lambda folder: toy_prompts.write(folder, method=Adapter(reduction=4)),
        _read_prompts,
        damages=_is_prompt_file,
    ),
    Reader("backbone", toy_prompts.write, _read_backbone, damages=_is_backbone),
    Reader("checkpoint", _write_checkpoint, _read_checkpoint),
    Reader(
        "PEFT's, written by us",
        lambda folder: _write_other_prompts(folder, "peft", "adapter"),
        _read_converted("adapter"),
        damages=lambda path: path.name == "adapter_model.safetensors",
    ),
    Reader(
        "NumPy's, written by us",
        lambda folder: _write_other_prompts(folder, "npy", "nli.npy"),
        _read_converted("nli.npy"),
        damages=lambda path: path.name == "nli.npy",
    ),
    _foreign("Hugging Face", _write_golden("huggingface/t5_v1_1")),
    _foreign("Hugging Face, in shards", _write_golden("huggingface/mt5")),
    _foreign("T5X, orbax", _write_layout(_save_orbax), "checkpoint_0"),
    _foreign("T5X, legacy", _write_layout(golden_folders.save_legacy), "checkpoint_0"),
    Reader("vocabulary", toy_prompts.write, _read_vocabulary, False, _is_vocabulary, _vocabulary),
    Reader("run.json and metrics.jsonl, by a report", _write_run, _read_run),
    Reader("rows, JSONL and CSV", _write_rows, _read_rows, checked=False),
)
