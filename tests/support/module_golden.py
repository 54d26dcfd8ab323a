"""Loads tests/golden/peft_modules/: LoRA and (IA)³ as PEFT saved them, and what they compute."""

import functools
import pathlib

import numpy as np
import t5_golden

from mpt_jax.backbone import store

FOLDER = pathlib.Path(t5_golden.__file__).parents[1] / "golden" / "peft_modules"
VERSIONS = {  # kind -> of its T5
    "lora": "v1_0",
    "lora_everywhere": "v1_1",
    "ia3": "v1_0",
    "ia3_gated": "v1_1",
    "ia3_branch": "v1_1",
}


def backbone(folder: pathlib.Path, kind: str) -> str:
    """The T5 of an adapter, as a backbone in `folder`."""
    t5 = t5_golden.load(VERSIONS[kind])
    path = folder / VERSIONS[kind]
    if not path.exists():
        store.save(str(path), t5.params, t5.module.config)
    return str(path)


@functools.cache
def outputs() -> dict[str, np.ndarray]:
    """The batch, and KIND/logits and KIND/greedy."""
    with np.load(FOLDER / "outputs.npz", allow_pickle=False) as stored:
        return dict(stored)


def check_logits(kind: str, logits: np.ndarray) -> None:
    """Logits [B, S, V] are those of PEFT, to 1e-5 of the largest."""
    expected = outputs()[f"{kind}/logits"]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
