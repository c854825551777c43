"""Shells that live on between commands, as a person's terminals do."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path

_LINES, _COLUMNS = 50, 200  # wide enough for every table
_CODES = re.compile(r"\x1b(\[[0-9;?]*[a-zA-Z]|\([0-9A-Z])")


class Shell:
    """One bash at a pseudo-terminal, in a folder. What it exports and activates stays."""

    def __init__(self, folder: Path, environment: Mapping[str, str], scratch: Path) -> None:
        self._scratch = scratch
        self._numbers = count(1)
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, _COLUMNS, 0, 0))
        asked, self._orders = os.pipe()
        self.said = ""
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-c", f'trap : INT; while read -r file <&{asked}; do . "$file"; done'],
            cwd=folder, env=environment, pass_fds=[asked], start_new_session=True,
            stdin=theirs, stdout=theirs, stderr=theirs,
        )  # fmt: skip
        os.close(theirs)
        os.close(asked)

    def start(self, commands: str) -> None:
        """Run them; they may go on for ever."""
        number = next(self._numbers)
        script = self._scratch / f"{self._process.pid}-{number}.sh"
        self._ended = Path(f"{script}.ended")
        around = ("failed=0", "trap 'failed=$?' ERR", commands, "trap - ERR", f'echo "ended $failed" > {self._ended}')
        script.write_text("\n".join(around) + "\n")
        os.write(self._orders, f"{script}\n".encode())

    def run(self, commands: str, within_s: float) -> tuple[str, int]:
        """Run them to their end: what they said, and the exit code of the last one that failed, else 0."""
        before = len(self.said)
        self.start(commands)
        self.wait(self.ended, within_s)
        self._read(0.0)
        return self.said[before:], int(self._ended.read_text().split()[1])

    def ended(self) -> bool:
        """Has what was started last come to its end?"""
        return self._ended.exists() and self._ended.read_text().endswith("\n")

    def wait(self, state: Callable[[], bool], within_s: float) -> None:
        """Read on until it is so. TimeoutError; also if the shell has ended."""
        until = time.monotonic() + within_s
        while not state():
            if time.monotonic() > until or self._process.poll() is not None:
                raise TimeoutError(f"not within {within_s:g} s; last said:\n{self.said[-3000:]}")
            self._read(0.1)

    def interrupt(self) -> None:
        """Ctrl-C, which the shell itself has learned to bear; then wait until what ran has ended."""
        os.killpg(self._process.pid, signal.SIGINT)
        self.wait(self.ended, 60)

    def close(self) -> None:
        """The end of its input ends it; what has not ended then is killed, with what it started."""
        os.close(self._orders)
        until = time.monotonic() + 20
        while self._process.poll() is None and time.monotonic() < until:
            self._read(0.1)
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        os.close(self._ours)

    def _read(self, patience_s: float) -> None:
        while select.select([self._ours], [], [], patience_s)[0]:
            try:
                more = os.read(self._ours, 65536)
            except OSError:  # nobody is at the other end any more
                return
            self.said += _CODES.sub("", more.decode(errors="replace").replace("\r\n", "\n"))
            patience_s = 0.0
