"""What the daemon tells systemd, and what systemd keeps for it.

Talking is one datagram to the socket that systemd named in the environment. Without that socket every method does
nothing, so callers never ask where they run. Nothing here raises: a daemon that works must not stop because the
listener of its news is away. Methods say whether the datagram left.

News systemd acts on (ready, stopping, reloading, more time) waits up to a second for a full socket; the rest (status,
watchdog) is sent now or not at all, because more of it follows and the event loop must not wait.

After `reloading()` systemd waits for the next `ready()`. Feeding the watchdog belongs behind a proof that work moves:
a timer that feeds it proves only that timers work.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

#: How long news that systemd acts on may wait for room in its socket.
PATIENCE_S = 1.0


class Notifier:
    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._watchdog_interval_s = _watchdog_interval_s(environ)

    @property
    def watchdog_interval_s(self) -> float | None:
        """How often to feed the watchdog: a third of its patience. None: nobody watches this process."""
        return self._watchdog_interval_s

    def ready(self, status: str) -> bool:
        return self._send("READY=1", _status(status), patience_s=PATIENCE_S)

    def status(self, text: str) -> bool:
        return self._send(_status(text))

    def watchdog(self) -> bool:
        return self._send("WATCHDOG=1")

    def reloading(self) -> bool:
        # The time lets systemd tell this reload from the one before.
        now_usec = time.monotonic_ns() // 1000
        return self._send("RELOADING=1", f"MONOTONIC_USEC={now_usec}", patience_s=PATIENCE_S)

    def stopping(self, status: str) -> bool:
        return self._send("STOPPING=1", _status(status), patience_s=PATIENCE_S)

    def extend_timeout(self, seconds: float) -> bool:
        """Ask for this much time from now on, to finish starting or stopping."""
        return self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}", patience_s=PATIENCE_S)

    def _send(self, *assignments: str, patience_s: float = 0.0) -> bool:
        if self._address is None:
            return False
        news = "\n".join(assignments).encode("utf-8", "replace")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(patience_s)
                sock.sendto(news, self._address)
        except OSError:
            return False
        return True


def credential(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """The secret that systemd's `LoadCredential=` put aside under this name; None: there is none.

    A secret that is there but cannot be read is an error of the installation and raises.
    """
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return None
    try:
        return Path(folder, name).read_text("utf-8").strip() or None
    except FileNotFoundError:
        return None


def _address(name: str) -> str | None:
    if name.startswith("@"):  # Linux' abstract namespace: no file, the name begins with a zero byte
        return "\0" + name[1:]
    return name or None


def _status(text: str) -> str:
    # A line break would begin another assignment.
    return "STATUS=" + " ".join(text.splitlines())


def _watchdog_interval_s(environ: Mapping[str, str]) -> float | None:
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    patience_usec = environ.get("WATCHDOG_USEC", "")
    if not patience_usec.isdecimal() or int(patience_usec) == 0:
        return None
    return int(patience_usec) / 1_000_000 / 3
