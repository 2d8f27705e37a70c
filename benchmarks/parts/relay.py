"""A line that can be cut: passes bytes on to a hub until it is told to swallow them, as a cable does that somebody pulled."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Relay:
    """Pass connections on.

    Args:
        host: of the hub.
        port: of the hub.
    """

    def __init__(self, host: str, port: int) -> None:
        """Listen on a free port of loopback."""
        self._to = (host, port)
        self._open = threading.Event()
        self._open.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._lines: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def swallow(self) -> None:
        """Pass nothing on from now, and close nothing."""
        self._open.clear()

    def close(self) -> None:
        """Close everything."""
        for one in (self._listener, *self._lines):
            with suppress(OSError):
                one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._to)
                self._lines += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                self._open.wait()
                other.sendall(data)
