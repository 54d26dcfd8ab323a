"""From the arguments of `t5x serve` to a server that listens, and its end."""

import argparse
import contextlib
import signal
import socket
from collections.abc import Iterator

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
    hosts.note(f"compiling {len(served.programs)} programs")
    served.programs.compile()
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
    server = uvicorn.Server(config)
    with _ended_by_signals(server):
        _listen(listener, config.backlog)
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        hosts.note(f"http://{shown}:{port} answers for {served.size}; Ctrl-C ends it.")
        server.run(sockets=[listener])


@contextlib.contextmanager
def _ended_by_signals(server: uvicorn.Server) -> Iterator[None]:
    """Within it a signal ends the server.

    The server sees to that while it runs, and then raises the signal once more for its caller. That
    would be a failure, and a signal just before it runs too.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, server.handle_exit) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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


def _listen(listener: socket.socket, backlog: int) -> None:
    """From now on clients that come are kept until they are answered."""
    try:
        listener.listen(backlog)
    except OSError as error:  # another server has come first, meanwhile
        raise _taken(listener.getsockname(), error) from error


def _taken(address: tuple, error: OSError) -> UserError:
    return UserError(
        f"cannot listen on {address[0]}:{address[1]}: {error.strerror or error}. Choose another "
        "--port or --host, or stop what listens there."
    )
