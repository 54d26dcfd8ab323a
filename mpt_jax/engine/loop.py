"""The training loop. Pretraining, teachers, distillation and adaptation all run through it; they
differ in the model, its method and the gin file.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import jax

from mpt_jax import hosts
from mpt_jax.engine import group
from mpt_jax.engine.interrupt import InterruptFlag
from mpt_jax.engine.reporting.progress import Progress
from mpt_jax.engine.run import Run
from mpt_jax.engine.settings import Training
from mpt_jax.engine.sharing import Sharing
from mpt_jax.errors import UserError


class RunsFailedError(UserError):
    """Some of the runs that were trained together have failed; the others are finished.

    Attributes:
        failures: what went wrong, by run folder.
    """

    def __init__(self, failures: Mapping[str, Exception]):
        self.failures = failures
        said = "".join(f"\n  {folder}: {error}" for folder, error in failures.items())
        super().__init__(f"{len(failures)} of the runs that were trained together failed:{said}")


def train(settings: Training) -> str:
    """Train what the model's method declares trainable; T5X's `train.train`.

    A run that finds its own checkpoint in `model_dir` continues from it, bit-identically to never
    having stopped on the same mesh; a finished run whose product loads returns at once. It is
    finished once its last step is saved, evaluated and exported; `run.json` then says so.

    Returns:
        `model_dir`, which now holds the product (e.g. `prompts.safetensors`).

    Raises:
        UserError: bad settings, before anything is written; a non-finite loss; a finished run whose
            product is lost and of another step than its checkpoints.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after a checkpoint was saved.
    """
    for error in _train([settings]).values():
        raise error
    return settings.model_dir


def train_together(settings: Iterable[Training]) -> None:
    """Train several runs of one backbone and of one method's shapes in one program.

    Each has its own folder and comes out as `train` would have it, which can also resume it, and
    whose runs this resumes. One that fails ends, and the others go on.

    Args:
        settings: of each run; the next are asked for once a run has started, so that each may be
            made, and start, under gin's configuration of its own.

    Raises:
        UserError: runs that one program cannot serve; says what differs.
        RunsFailedError: at the end, if some have failed.
        KeyboardInterrupt: as `train`, after all were saved.
    """
    if failures := _train(settings):
        raise RunsFailedError(failures)


def _train(settings: Iterable[Training]) -> dict[str, Exception]:
    """Trains all in one program; returns what went wrong, by run folder."""
    failures: dict[str, Exception] = {}
    with contextlib.ExitStack() as stack:
        runs: list[Run] = []
        sharing = None
        for each in settings:
            if any(run.settings.model_dir == each.model_dir for run in runs):
                raise UserError(f"two of the runs have the folder {each.model_dir}.")
            run = stack.enter_context(Run(each))
            with _kept(run, failures):
                if run.open():
                    run.start(*runs[:1])
                    runs.append(run)
                    sharing = sharing or Sharing(run)
            if run in runs[1:]:
                sharing.check(run)
        for run in runs:
            run.meter.share([each.meter for each in runs])
        if runs:
            _go(runs, failures)
    return failures


def _go(runs: Sequence[Run], failures: dict[str, Exception]) -> None:
    """Takes the steps of started runs, and all that is due after them.

    Raises:
        KeyboardInterrupt: a signal came; all are saved.
    """
    with InterruptFlag() as interrupt, _display(runs) as display:
        for run in runs:
            with _kept(run, failures):
                run.begin(display)
        going, stop = _still_going(runs, failures), False
        together = group.Group(runs)
        while going and not stop:
            batches = {}
            for run in going:
                with _kept(run, failures):
                    run.meter.go(run.step)
                    batches[run] = run.fetch()
            together.take_step(batches)
            stop = _is_told_to_stop(interrupt, runs[0])
            due = [run for run in batches if run.is_due(stop)]
            if due:
                together.hand_out_metrics()
                for run in batches:
                    run.meter.pause(run.step)
            for run in due:
                with _kept(run, failures):
                    run.report()
            for run in _unharmed(batches, failures):
                with _kept(run, failures):
                    run.save(stop)
            evaluating = [run for run in _unharmed(batches, failures) if run.evaluates]
            answers = together.answers(evaluating)
            for run in _unharmed(batches, failures):
                with _kept(run, failures):
                    run.conclude(answers.get(run))
            going = _still_going(going, failures)
        for run in going:
            with _kept(run, failures):
                run.end()
    if hosts.agree_on_any(bool(interrupt)):
        first, *others = going or runs
        raise first.settings.stopped(f"step {first.step}", len(others))


def _still_going(runs: Sequence[Run], failures: dict[str, Exception]) -> list[Run]:
    """Those of the runs that have steps left to take; the others end."""
    unharmed = _unharmed(runs, failures)
    for run in unharmed:
        if not run.is_going:
            with _kept(run, failures):
                run.end()
    return [run for run in unharmed if run.is_going]


def _unharmed(runs: Iterable[Run], failures: Mapping[str, Exception]) -> list[Run]:
    return [run for run in runs if run.settings.model_dir not in failures]


@contextlib.contextmanager
def _kept(run: Run, failures: dict[str, Exception]) -> Iterator[None]:
    """What fails in the block is kept among the failures, and ends the run."""
    try:
        yield
    except Exception as error:
        try:
            run.__exit__(type(error), error, error.__traceback__)
        except Exception as told:  # the reason behind it
            error = told
        failures[run.settings.model_dir] = error


@contextlib.contextmanager
def _display(runs: Sequence[Run]) -> Iterator[Progress | None]:
    """The progress of several runs; one has its own."""
    if len(runs) == 1 or not hosts.is_first():
        yield None
        return
    total = max(run.settings.total_steps for run in runs)
    with Progress(total, f"{len(runs)} runs", min(run.step for run in runs)) as display:
        yield display


def _is_told_to_stop(interrupt: InterruptFlag, run: Run) -> bool:
    """Whether to stop after this step: all processes or none, so several ask every few steps."""
    if jax.process_count() > 1 and run.step % run.settings.stats_period:
        return False
    return hosts.agree_on_any(bool(interrupt))
