"""What a run leaves that must not depend on how often it was stopped."""

import hashlib
import json
import pathlib

import numpy as np


def of(folder: pathlib.Path, *, lines: bool) -> dict[str, str]:
    """Name -> digest of what a finished run has learnt, predicted and reported.

    The products and predictions, byte by byte; every array of the last checkpoints, bit by bit;
    and metrics.jsonl.

    Args:
        folder: of the run; the runs within it (teachers) count too.
        lines: whether the training lines of metrics.jsonl count. A run that was asked to stop
            reports at that step too, so that the next line averages fewer steps.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".safetensors" or path.match("eval/*.jsonl"):
            found[name] = _digest(path.read_bytes())
        elif path.name == "metrics.jsonl":
            kept = (line for line in path.read_text().splitlines() if lines or _evaluates(line))
            found[name] = _digest("\n".join(kept).encode())
        elif path.name == "checkpoints":
            last = max(path.glob("checkpoint_*"), key=lambda p: int(p.name.split("_")[1]))
            found[f"{name}/{last.name}"] = last.name
            for leaf, digest in _arrays(last / "state").items():
                found[f"{name}/{leaf}"] = digest
    return found


def differences(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    """The names that differ, or that only one has."""
    names = {**found, **expected}
    return sorted(name for name in names if found.get(name) != expected.get(name))


def _evaluates(line: str) -> bool:
    return json.loads(line)["kind"] == "eval"


def _arrays(state: pathlib.Path) -> dict[str, str]:
    import jax
    import orbax.checkpoint as ocp

    with ocp.PyTreeCheckpointer() as reader:
        # As numpy: the devices of several hosts are not here.
        as_numpy = jax.tree.map(
            lambda _: ocp.RestoreArgs(restore_type=np.ndarray),
            reader.metadata(state).item_metadata.tree,
        )
        tree = reader.restore(state, restore_args=as_numpy)
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {
        jax.tree_util.keystr(path): _digest(np.asarray(leaf).tobytes()) for path, leaf in leaves
    }


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
