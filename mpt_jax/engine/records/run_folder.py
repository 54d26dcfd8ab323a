"""The run folder: one run at a time, of one configuration, so that nothing mixes two runs."""

import contextlib
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from etils import epath

from mpt_jax import files, lock, run_layout
from mpt_jax.errors import UserError

_taken: dict[str, contextlib.ExitStack] = {}  # by folder: what this process holds

# Arguments that a resumed run may change: they say how long it runs, how often it reports and
# saves, and on which devices; not what it learns. A macro may change if only these use it.
RESUMABLE_ARGUMENTS = frozenset(
    {
        "model_dir",
        "total_steps",
        "eval_period",
        "eval_steps",
        "stats_period",
        "period",
        "keep",
        "record",
        "num_partitions",
        "model_parallel_submesh",
    }
)


def prepare(model_dir: str, config_text: str, engine: str = "mpt_jax") -> epath.Path:
    """Makes `model_dir` the folder of a run with the configuration `config_text`.

    Creates it, or checks that it holds the same run, and writes `config.gin` atomically. A start
    that failed before its first result is not a run: its configuration is replaced. The folder
    may be remote (gs://). In a multi-host run only the first process calls this.

    Args:
        model_dir: the folder; created with its parents.
        config_text: gin text of the form that `config.operative_config` gives.
        engine: which one of `run_layout.ENGINE_CHECKPOINTS` will run it.

    Raises:
        UserError: another process runs there; the folder holds a run of another engine, or with
          another configuration (the message lists the bindings that differ), or cannot be written.
    """
    folder = files.absolute(model_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _take(folder)
        _check_engine(folder, engine)
        config = folder / run_layout.CONFIG
        if config.exists() and run_layout.holds_results(folder):
            _check_same_run(folder, config.read_text(), config_text)
    except files.storage_errors() as error:
        raise UserError(
            f"cannot write the model directory {model_dir}: {files.reason(error)}. "
            f"Choose another with --gin.MODEL_DIR=FOLDER."
        ) from error
    files.write_whole(config, config_text)
    return folder


def one_run_at_a_time(train: Callable[[Any], str]) -> Callable[[Any], str]:
    """Makes `train(settings)` let go at its end of the folder that `prepare` took."""

    @functools.wraps(train)
    def run(settings: Any) -> str:
        try:
            return train(settings)
        finally:
            let_go(settings.model_dir)

    return run


def let_go(model_dir: str) -> None:
    """Let others have the folder that `prepare` took; without effect where it did not."""
    if taken := _taken.pop(str(files.absolute(model_dir)), None):
        taken.close()


@contextlib.contextmanager
def going(model_dir: str) -> Iterator[None]:
    """In the block, what fails because the run's folder was deleted says so, and nothing else.

    What a run writes brings parts of the folder back, so that its errors tell other stories.

    Raises:
        UserError: as `check_is_there`, in place of another error.
    """
    try:
        yield
    except Exception:
        check_is_there(model_dir)
        raise


def check_is_there(model_dir: str) -> None:
    """Raises UserError if the folder that `prepare` has made for a run was deleted since."""
    if not (files.absolute(model_dir) / run_layout.CONFIG).exists():
        raise UserError(
            f"the run folder {model_dir} was deleted while the run was going, and its checkpoints "
            "with it: delete what is left of it, and start again."
        )


def _take(folder: epath.Path) -> None:
    """Hold the folder's lock until the end of the run, or of the process."""
    if str(folder) not in _taken:
        refusal = (
            f"another run is at work in {folder}: wait for its end, or choose another folder with "
            "--gin.MODEL_DIR=FOLDER."
        )
        taken = contextlib.ExitStack()
        taken.enter_context(lock.held(folder / run_layout.LOCK, refusal))
        _taken[str(folder)] = taken


def bindings(config_text: str) -> dict[str, str]:
    """The bindings of gin text, name -> value as written; comments and imports are left out."""
    joined = re.sub(r"\\\n\s+", "", config_text)
    found: dict[str, str] = {}
    name = None
    for line in joined.splitlines():
        if name is not None and line.startswith(" "):  # a value that goes on
            found[name] += " " + line.strip()
        elif match := re.match(r"([\w./]+) = (.*)", line):
            name = match[1]
            found[name] = match[2].strip()
        else:
            name = None
    return found


def differences(old_text: str, new_text: str) -> dict[str, tuple[str, str]]:
    """Bindings that differ and must not, when a run of `old_text` resumes: name -> (old, new)."""
    old, new = bindings(old_text), bindings(new_text)
    return {
        name: (old.get(name, "(not set)"), new.get(name, "(not set)"))
        for name in sorted({**old, **new})
        if old.get(name) != new.get(name)
        and not (_may_change(name, old) and _may_change(name, new))
    }


def lost_product(model_dir: str) -> UserError:
    """The message about a finished run without the files that it was for."""
    return UserError(
        f"the run in {model_dir} is finished, but its product is gone or damaged, and cannot be "
        "made again from its checkpoints: put the files back from a copy, or train again with "
        "another --gin.MODEL_DIR=FOLDER."
    )


def _check_engine(folder: epath.Path, engine: str) -> None:
    for other, kept in run_layout.ENGINE_CHECKPOINTS.items():
        if other != engine and any(folder.glob(kept)):
            raise UserError(
                f"{folder} holds checkpoints of --engine={other}, which --engine={engine} cannot "
                "resume: choose another folder with --gin.MODEL_DIR=FOLDER, or go on with "
                f"--engine={other}."
            )


def _check_same_run(folder: epath.Path, old_text: str, new_text: str) -> None:
    differing = differences(old_text, new_text)
    if differing:
        lines = (f"  {name}: {old} there, {new} now" for name, (old, new) in differing.items())
        raise UserError(
            f"{folder} holds a run with another configuration:\n"
            + "\n".join(lines)
            + "\nChoose another folder with --gin.MODEL_DIR=FOLDER, or give the configuration "
            f"of {folder / run_layout.CONFIG} to resume that run."
        )


def _may_change(name: str, among: Mapping[str, str]) -> bool:
    """Whether a resumed run may change `name`: an argument of the list, or a macro for them."""
    if "." in name:
        return name.rpartition(".")[2] in RESUMABLE_ARGUMENTS
    users = [user for user, value in among.items() if re.search(rf"%{re.escape(name)}\b", value)]
    return name not in among or (bool(users) and all(_may_change(user, among) for user in users))
