"""systemd's side of a service: the socket that it listens to."""

from __future__ import annotations

import socket
from pathlib import Path


class Systemd:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self.env = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "300000"}
        self.heard: list[str] = []

    def hears(self, what: str, times: int = 1) -> bool:
        while True:
            try:
                self.heard += self._socket.recv(65536).decode().splitlines()
            except BlockingIOError:
                return sum(line.startswith(what) for line in self.heard) >= times

    def close(self) -> None:
        self._socket.close()
