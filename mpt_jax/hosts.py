"""Several processes in one run, one per host: joining, reading arrays that span them, agreeing.

Every process runs the same program on its own part of the data; only the first one writes files
and prints. With one process everything here is immediate.
"""

import atexit
import contextlib
import itertools
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax._src import distributed
from jax.experimental import multihost_utils

from mpt_jax import watch
from mpt_jax.errors import EXIT_BAD_INPUT, UserError

_WAIT = 5.0  # seconds in which a lost process is noticed, where it shows as an error first
_PATIENCE = 3_600_000  # milliseconds; a process that is lost ends the others long before
_agreements = itertools.count()


@contextlib.contextmanager
def joined(
    coordinator_address: str | None,
    process_count: int | None,
    process_index: int | None,
    resume: str,
) -> Iterator[None]:
    """`join`, and in the block a process that is lost, or fails, ends all the others.

    Args:
        coordinator_address, process_count, process_index: as in `join`.
        resume: the command to type again, for the line that they end with.

    Raises:
        UserError: as in `join`.
    """
    join(coordinator_address, process_count, process_index)
    state = distributed.global_state
    watched, client = watch.Watch(state.process_id, state.num_processes, resume), state.client
    if state.process_id == 0:
        client.key_value_set(watch.KEY, watched.listen())
    else:
        address = coordinator_address or state.coordinator_address
        where = client.blocking_key_value_get(watch.KEY, 60_000)
        watched.connect(_host_and_port(address)[0], where)
    try:
        yield
    except KeyboardInterrupt:  # all have agreed to stop
        watched.leave()
        raise
    except BaseException as error:
        is_told = isinstance(error, UserError)
        watched.fail(0.0 if is_told else _WAIT)
        # jax's own end would wait for the others; this comes before it.
        atexit.register(_exit, EXIT_BAD_INPUT if is_told else 1)
        raise
    watched.leave()


def _exit(status: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def join(coordinator_address: str | None, process_count: int | None, process_index: int | None):
    """Makes this process one of a run's; before anything else of jax is used.

    Args:
        coordinator_address: "host:port" of the first process.
        process_count: how many there are.
        process_index: which this is, from 0. All three None: detected (TPU pod, Slurm, Open MPI).

    Raises:
        UserError: only some are given, they do not fit, or nothing was detected.
    """
    given = (coordinator_address, process_count, process_index)
    if given != (None, None, None):
        if None in given:
            raise UserError(
                "--coordinator_address, --process_count and --process_index belong together: give "
                "all three, or none where the cluster is detected (TPU pod, Slurm, Open MPI)."
            )
        if not 0 <= process_index < process_count:
            raise UserError(
                f"--process_index={process_index} must lie between 0 and --process_count - 1 = "
                f"{process_count - 1}."
            )
    try:
        if process_index:
            relayed = watch.relay(*_host_and_port(coordinator_address))
            jax.distributed.initialize(relayed, process_count, process_index)
        else:
            jax.distributed.initialize(*given)
        if threading.current_thread() is threading.main_thread():
            # jax has taken SIGTERM for itself; `interrupt` answers it.
            signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"cannot join the processes of a run: {error}. Give --coordinator_address=HOST:PORT, "
            "--process_count and --process_index to each of them."
        ) from error


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()):
        raise UserError(f"--coordinator_address={address!r} is not HOST:PORT.")
    return host.strip("[]"), int(port)


def is_first() -> bool:
    """Whether this is the process that writes and prints."""
    return jax.process_index() == 0


def tell(*lines: str) -> None:
    """Tells the user something, on standard error, once."""
    if is_first():
        print(*lines, sep="\n", file=sys.stderr, flush=True)


def note(text: str) -> None:
    """Tells the user something that does not stop the run."""
    tell(f"t5x: note: {text}")


def warn(text: str) -> None:
    """As `note`, of what may give other answers than the user expects."""
    tell(f"t5x: warning: {text}")


def on_first(work: Callable[[], Any]) -> None:
    """Does `work` in the first process while the others wait; all fail if it does.

    Raises:
        Exception: of `work`, in the first process.
        UserError: that the first one failed, in the others.
    """
    failure = None
    if is_first():
        try:
            work()
        except BaseException as error:  # whatever it is, the others must not wait
            failure = error
    if agree_on_any(failure is not None):
        raise failure or UserError("the first process stopped with an error: see its messages.")


def agree_on_any(value: bool) -> bool:
    """Whether `value` is true in any process; every process must ask."""
    if jax.process_count() == 1:
        return value
    return bool(multihost_utils.process_allgather(np.array(value)).any())


def agree_on_longest(lengths: np.ndarray) -> np.ndarray:
    """The elementwise maximum of all processes' `lengths`; every process must ask.

    The processes speak through their coordinator. A collective would wait on the devices for the
    step that these are at, and the next batch could not be made ready meanwhile.
    """
    if jax.process_count() == 1:
        return lengths
    client, number = distributed.global_state.client, next(_agreements)
    if client is None:
        return multihost_utils.process_allgather(lengths).max(axis=0)
    said, agreed = f"mpt_jax/longest/{number}/said", f"mpt_jax/longest/{number}/agreed"

    def get(key: str) -> np.ndarray:
        return np.array(json.loads(client.blocking_key_value_get(key, _PATIENCE)), lengths.dtype)

    if not is_first():
        client.key_value_set(f"{said}/{jax.process_index()}", json.dumps(lengths.tolist()))
        return get(agreed)
    others = [get(f"{said}/{process}") for process in range(1, jax.process_count())]
    longest = np.max([lengths, *others], axis=0)
    client.key_value_set(agreed, json.dumps(longest.tolist()))
    client.key_value_delete(f"{said}/")
    if number:  # whoever has spoken now has read what was agreed before
        client.key_value_delete(f"mpt_jax/longest/{number - 1}/agreed")
    return longest


def total(values: np.ndarray) -> np.ndarray:
    """The sum of all processes' `values`, in their dtype; every process must ask."""
    if jax.process_count() == 1:
        return values
    return multihost_utils.process_allgather(values).sum(axis=0, dtype=values.dtype)


def fetch(tree: Any) -> Any:
    """The tree with numpy arrays for its jax arrays, also those that lie on several hosts.

    Every process must ask, and gets them whole.
    """

    def one(leaf: Any) -> np.ndarray:
        if isinstance(leaf, jax.Array) and not (
            leaf.is_fully_addressable or leaf.is_fully_replicated
        ):
            return multihost_utils.process_allgather(leaf, tiled=True)
        return np.asarray(leaf)

    return jax.tree.map(one, tree)
