"""Notices that another process of a run is gone, and ends this one with a line that says which.

jax by itself would wait for it for a minute and a half, or abort with a native stack trace. Here
each process holds a connection to the first one, which the kernel closes when its process dies for
any reason. What the first one notices it tells the others.
"""

import contextlib
import os
import secrets
import socket
import sys
import threading
import time
from typing import NoReturn, TextIO

EXIT_LOST = 1
_DONE, _FAILED, _LOST = "done", "failed", "lost"
_GRACE = 5.0  # seconds in which a process ends by itself after another has failed
_PATIENCE = 60.0  # seconds for connecting
KEY = "mpt_jax/watch"  # of what `listen` returns, in jax's store


class Watch:
    """The connections of this process.

    Args:
        index: which process this is.
        count: how many there are.
        resume: the command to type in each of them, for the line.
    """

    def __init__(self, index: int, count: int, resume: str):
        self._index, self._count, self._resume = index, count, resume
        self._peers: dict[int, socket.socket] = {}
        self._failing = self._left = False
        self._lock = threading.Lock()

    def listen(self) -> str:
        """In the first process: waits for the others in the background; returns where, as text."""
        token = secrets.token_hex(8)
        if socket.has_dualstack_ipv6():
            server = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        else:
            server = socket.create_server(("", 0))
        _in_background(self._accept, server, token)
        return f"{server.getsockname()[1]} {token}"

    def connect(self, host: str, where: str) -> None:
        """In the others; without a connection only jax itself notices what happens.

        Args:
            host: that of the first process.
            where: what its `listen` has returned.
        """
        port, token = where.split()
        with contextlib.suppress(OSError):  # e.g. ports that are closed between the hosts
            connection = socket.create_connection((host, int(port)), timeout=_PATIENCE)
            connection.sendall(f"{token} {self._index}\n".encode())
            self._follow(0, connection, connection.makefile())

    def leave(self) -> None:
        """This process ends, as all do."""
        self._left = True
        self._tell(_DONE)

    def fail(self, wait: float) -> None:
        """This process ends with an error: the others must not wait for it.

        Args:
            wait: seconds in which to hear that another is lost, where the error may come of that.
        """
        self._failing = True
        time.sleep(wait)
        self._left = True
        self._tell(_FAILED)

    def _accept(self, server: socket.socket, token: str) -> None:
        for _ in range(self._count - 1):
            connection, _ = server.accept()
            _in_background(self._greet, connection, token)

    def _greet(self, connection: socket.socket, token: str) -> None:
        connection.settimeout(_PATIENCE)
        with contextlib.suppress(OSError, ValueError):
            lines = connection.makefile()
            given, index = lines.readline().split()
            if secrets.compare_digest(given, token):
                self._follow(int(index), connection, lines)

    def _follow(self, other: int, connection: socket.socket, lines: TextIO) -> None:
        connection.settimeout(None)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, seconds in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 6)):
            if hasattr(socket, name):  # a host that is gone closes nothing
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)
        self._peers[other] = connection
        _in_background(self._read, other, lines)

    def _read(self, other: int, lines: TextIO) -> None:
        try:
            word, *which = lines.readline().split() or [_LOST]
        except OSError:
            word, which = _LOST, []
        if word == _DONE or self._left:
            return
        if word == _FAILED:
            time.sleep(_GRACE)
            if self._failing:  # with its own error to tell
                return
            self._end(f"process {other} of {self._count} ended with an error: see its messages.")
        lost = int(which[0]) if which else other
        self._tell(f"{_LOST} {lost}")
        self._end(f"process {lost} of {self._count} was lost: it was killed, or its host is gone.")

    def _tell(self, word: str) -> None:
        for connection in list(self._peers.values()):
            with contextlib.suppress(OSError):
                connection.sendall(f"{word}\n".encode())

    def _end(self, what: str) -> NoReturn:
        with self._lock:  # one line, whatever else happens
            how = f"To resume from the last checkpoint, start all again: {self._resume}"
            sys.stdout.flush()
            os.write(2, f"t5x: {what} {how}\n".encode())
            os._exit(EXIT_LOST)


def relay(host: str, port: int) -> str:
    """An address on this machine that leads to another, and stays open when that one is gone.

    jax's client aborts the process, with a stack trace, as soon as the first process closes its
    connection; a connection that is only silent leaves the time to end in order.
    """
    server = socket.create_server(("127.0.0.1", 0))
    _in_background(_relay_all, server, (host, port))
    return f"127.0.0.1:{server.getsockname()[1]}"


def _relay_all(server: socket.socket, target: tuple[str, int]) -> None:
    while True:
        near, _ = server.accept()
        try:
            far = socket.create_connection(target, timeout=_PATIENCE)
        except OSError:  # not there yet: jax asks again
            near.close()
            continue
        far.settimeout(None)
        _in_background(_pump, near, far, True)
        _in_background(_pump, far, near, False)


def _pump(source: socket.socket, target: socket.socket, closes: bool) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(2**16):
            target.sendall(data)
    if closes:
        target.close()


def _in_background(function, *args) -> None:
    threading.Thread(target=function, args=args, daemon=True).start()
