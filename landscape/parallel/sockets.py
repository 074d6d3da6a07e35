"""Unix sockets with JSON lines, between a process and the processes that it started."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

_ADDRESS_BYTES = 100  # the addresses of Unix sockets are short: 104 bytes on macOS, 108 on Linux


class Connection:
    """A connection to one process, with JSON lines in both directions.

    Attributes:
        socket: the accepted socket.
        rank: rank of the other process.
        ended: True once the other side has closed the connection.
    """

    def __init__(self, accepted: socket.socket) -> None:
        self.socket = accepted
        self.rank = 0
        self.ended = False
        self._buffer = b""

    def send(self, message: Any) -> None:
        """Send a message; a process that is gone is noticed when it is read from."""
        with suppress(OSError):
            self.socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> list[tuple[str, Any]]:
        """Return the messages that have arrived in full."""
        try:
            data = self.socket.recv(2**16)
        except OSError:
            data = b""
        self.ended = not data
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return [tuple(json.loads(line)) for line in lines]


def socket_folder() -> Path:
    """Return a new private directory whose path is short enough for a socket in it."""
    folder = Path(tempfile.mkdtemp(prefix="landscape-"))
    if len(os.fsencode(folder)) < _ADDRESS_BYTES - 10:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix="landscape-", dir="/tmp"))
