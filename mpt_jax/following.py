"""The command that comes after a training run, for its user to type."""

import shlex
from collections.abc import Sequence

from etils import epath

from mpt_jax import files, run_layout
from mpt_jax.configuration import gin_source
from mpt_jax.errors import UserError

# Settings of a training run that the next command needs too; the others are only for training.
_KEPT = (
    "INITIAL_CHECKPOINT_PATH",
    "MIXTURE_OR_TASK_MODULE",
    "SPIECE_MODEL",
    "TASK_FEATURE_LENGTHS",
    "config.T5Config.",
)


def command(
    model_dir: str, gin_files: Sequence[str], overrides: Sequence[str], search_paths: Sequence[str]
) -> str | None:
    """Adaptation after a source run, evaluation after a target run; None after any other.

    Args:
        model_dir: the folder of the finished run.
        gin_files, overrides, search_paths: what it was started with; the files of its backbone
            and tasks stay.
    """
    try:
        stage = files.read_json(epath.Path(model_dir) / run_layout.RECORD).get("stage")
    except UserError:
        return None
    if stage not in ("source", "target"):
        return None
    adapts = stage == "source"
    # The next command has its own method, and after a source run other tasks.
    own = {"method", "MIXTURE_OR_TASK_NAME"} if adapts else {"method"}
    kept = [name for name in gin_files if not own & _set_by(name, search_paths)]
    line = ["t5x", *(["train"] if adapts else ["eval"])]
    line += [f"--gin_file=gin/{'mpt_target' if adapts else 'mpt_eval'}.gin"]
    line += [f"--gin_file={name}" for name in kept]
    line += [f"--gin_search_paths={','.join(search_paths)}"] if search_paths else []
    line += [f"--gin.{each}" for each in overrides if each.startswith(_KEPT)]
    line += [f"--gin.{'SOURCE_PROMPTS' if adapts else 'PROMPTS'}={model_dir}"]
    return shlex.join(line)


def _set_by(name: str, search_paths: Sequence[str]) -> set[str]:
    """The macros, and the arguments of the model, that a file sets."""
    bindings = gin_source.read([name], [], search_paths).bindings
    return {b.macro or b.argument for b in bindings if b.macro or "Model" in b.selector}
