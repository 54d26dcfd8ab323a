"""What a run read when it was first started, so that it does not go on with other rows.

Part of `run.json`: for each task and split the number of rows and, where they lie in files, each
file's size and digest. Of a split of more than a gigabyte only the sizes are noted; of a source
without files (a function) the number of rows.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from mpt_jax.engine.data.pipeline import DatasetConfig, load_mixture
from mpt_jax.engine.records import recorded_rows
from mpt_jax.errors import UserError

_READ_AT_MOST = 2**30  # bytes of a split; reading more would hold a run up for minutes
_CHUNK = 2**22

Splits = dict[str, dict[str, Any]]  # by `recorded_rows.key`: {"rows": count, "files": {path: fact}}


def checked(
    cfgs: Sequence[DatasetConfig | None], before: Mapping[str, Any] | None, model_dir: str
) -> Splits:
    """What the run is about to read, compared with what it read at its first start.

    Args:
        cfgs: of training and, unless None, of evaluation.
        before: the record of a run that goes on from a checkpoint; None: of a first start.
        model_dir: the run folder, for the message.

    Raises:
        UserError: names the first file or split that is another one now.
    """
    found = {
        recorded_rows.key(task.name, cfg.split): _facts(task, cfg)
        for cfg in cfgs
        if cfg is not None
        for task in load_mixture(cfg, tell=False).tasks
    }
    _compare((before or {}).get("data") or {}, found, model_dir)
    return found


def _facts(task: Any, cfg: DatasetConfig) -> dict[str, Any]:
    paths = task.files(cfg.split, cfg.use_cached)
    sizes = {path: epath.Path(path).stat().length for path in paths}
    digest = _digest if sum(sizes.values()) <= _READ_AT_MOST else lambda _: ""
    return {
        "rows": task.num_input_examples(cfg.split, cfg.use_cached),
        "files": {path: f"{size} bytes {digest(path)}".strip() for path, size in sizes.items()},
    }


def _digest(path: str) -> str:
    found = hashlib.blake2b(digest_size=16)
    with epath.Path(path).open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()


def _compare(before: Mapping[str, Any], now: Splits, model_dir: str) -> None:
    for name in before.keys() & now.keys():
        old, new = before[name], now[name]
        for path in sorted({**old["files"], **new["files"]}):
            if old["files"].get(path) != new["files"].get(path):
                raise _changed(f"{path} (task {name}) is another file", model_dir)
        if old["rows"] != new["rows"]:
            was = f"has {new['rows']} rows, and had {old['rows']},"
            raise _changed(f"Task {name}, {was} which is another one", model_dir)


def _changed(what: str, model_dir: str) -> UserError:
    return UserError(
        f"{what} than when the run in {model_dir} was started, which would go on with other rows. "
        "Put back what was there, or start again with another --gin.MODEL_DIR."
    )
