"""A command in a terminal of its own: a pseudo-terminal whose other end the test holds."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support.daemon import COMMAND
from support.database import eventually

_LINES, _COLUMNS = 30, 120
_CODES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """What was shown so far, in `raw`; keys go in with `type`."""

    def __init__(self, dsn: str, *arguments: str) -> None:
        self._ours, self._theirs = pty.openpty()
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, _COLUMNS, 0, 0))
        os.set_blocking(self._ours, False)
        self.before = self.modes()
        self.raw = ""
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            env={**os.environ, "ACTIOND_DSN": dsn, "TERM": "xterm"},
            stdin=self._theirs, stdout=self._theirs, stderr=self._theirs,
        )  # fmt: skip

    def modes(self) -> list[Any]:
        """How the terminal treats what is typed."""
        return termios.tcgetattr(self._theirs)

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def read(self) -> str:
        """All that was shown, without colors and cursors."""
        try:
            while more := os.read(self._ours, 65536):
                self.raw += more.decode(errors="replace")
        except (BlockingIOError, OSError):
            pass
        return _CODES.sub("", self.raw)

    async def shows(self, text: str, *, after: int = 0, within_s: float = 20) -> int:
        """Wait for it, after that place; gives the place where everything so far ends."""
        try:
            await eventually(lambda: text in self.read()[after:], within_s=within_s)
        except AssertionError:
            raise AssertionError(f"no {text!r} in:\n{self.read()[after:][-3000:]}") from None
        return len(self.read())

    async def ends(self) -> int:
        """Its exit code."""
        await eventually(lambda: self.read() is not None and self.process.poll() is not None, within_s=20)
        self.read()
        assert self.process.returncode is not None
        return self.process.returncode

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)
        os.close(self._ours)
        os.close(self._theirs)


@contextmanager
def terminal(dsn: str, *arguments: str) -> Iterator[Terminal]:
    """`actiond` with these arguments in a terminal; killed at the end."""
    running = Terminal(dsn, *arguments)
    try:
        yield running
    finally:
        running.close()
