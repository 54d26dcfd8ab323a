"""From the arguments of `t5x serve` to a server that listens, and its end."""

import argparse
import errno
import signal
import socket
import time

import uvicorn

from mpt_jax import api, hosts
from mpt_jax.errors import UserError
from mpt_jax.serve import bank
from mpt_jax.serve.app import Pages
from mpt_jax.serve.batching import Batcher
from mpt_jax.serve.metrics import Metrics


def serve(arguments: argparse.Namespace) -> None:
    """Load, compile, and answer until SIGTERM or Ctrl-C; what is asked by then is answered.

    Raises:
        UserError: bad files, as `api.load`; an address that cannot be listened on.
    """
    listener = _bound(arguments.host, arguments.port)
    file, signature = bank.find(arguments.prompts)
    t5 = api.load(
        arguments.backbone,
        file,
        vocabulary=arguments.vocabulary,
        dtype=arguments.dtype,
        batch_size=arguments.batch_size,
        num_partitions=arguments.num_partitions,
        method_module=arguments.method_module,
        growing=True,
    )
    metrics = Metrics()
    served = bank.Bank(file, signature, t5, metrics)
    began = time.perf_counter()
    count = served.programs.compile()
    seconds = time.perf_counter() - began
    batcher = Batcher(
        metrics,
        size=t5.predictor.batch_size,
        wait=arguments.batch_wait / 1000,
        most=arguments.queue,
    )
    pages = Pages(served, batcher, metrics, timeout=arguments.timeout, max_body=arguments.max_body)
    config = uvicorn.Config(
        pages.app(), log_level="warning", access_log=False, server_header=False, ws="none"
    )
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    hosts.note(f"{count} programs were compiled in {seconds:.1f} s.")
    hosts.note(f"http://{shown}:{port} answers for {len(t5.tasks):,} tasks; Ctrl-C ends it.")
    _run(uvicorn.Server(config), listener, (arguments.host, arguments.port))


def _run(server: uvicorn.Server, listener: socket.socket, address: tuple[str, int]) -> None:
    # The server raises the signal that has ended it once more; that is no failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    try:
        server.run(sockets=[listener])
    except OSError as error:  # another server that began at the same time
        if error.errno != errno.EADDRINUSE:
            raise
        raise _taken(address, error) from error


def _bound(host: str, port: int) -> socket.socket:
    """A socket with the address, which is refused now, not after a minute of compilation."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise _taken((host, port), error) from error
    return listener


def _taken(address: tuple[str, int], error: OSError) -> UserError:
    return UserError(
        f"cannot listen on {address[0]}:{address[1]}: {error.strerror or error}. Choose another "
        "--port or --host, or stop what listens there."
    )
