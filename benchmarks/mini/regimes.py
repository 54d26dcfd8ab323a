"""Two backbones, all else equal: one has seen the target tasks in its pretraining, one has not."""

import dataclasses
import pathlib

from mpt_jax.sweep import cells
from mpt_jax.sweep.plan import Plan

UNSEEN, SEEN = REGIMES = ("unseen", "seen")
_MIXTURE = "mini_pretrain_seen"


def pretraining(folder: pathlib.Path) -> cells.Run:
    """The run that makes the backbone of SEEN, in its folder; that of UNSEEN ships."""
    overrides = (f"MIXTURE_OR_TASK_NAME={_MIXTURE}", f"MODEL_DIR={folder}")
    step = cells.Step("train", ("gin/runs/pretrain_mini.gin",), overrides)
    return cells.Run("pretrained", folder, (step,))


def of(plan: Plan, regime: str, pretrained: pathlib.Path) -> Plan:
    """The plan on the backbone of a regime.

    Args:
      plan: for UNSEEN.
      regime: one of REGIMES.
      pretrained: the folder of `pretraining`.
    """
    if regime == UNSEEN:
        return plan
    start = f"INITIAL_CHECKPOINT_PATH={pretrained / 'backbone'}"
    return dataclasses.replace(plan, settings=(*plan.settings, start))
