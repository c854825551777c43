"""A daemon as a real process: started by its real command, read by its log lines, ended by pid."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from support.database import PATIENCE_S, eventually

#: So long that no look by the clock stands in for a notification, a timer or a bell that was lost.
NO_POLL = {"ACTIOND_POLL_INTERVAL_S": "600"}
COMMAND = [sys.executable, "-c", "from actiond.cli.main import main; raise SystemExit(main())"]


class Daemon:
    """One `actiond run`. Lines of its log are kept as dicts; what is no JSON is kept as {"text": ...}."""

    def __init__(
        self,
        dsn: str | None,
        *processors: Path | str,
        env: Mapping[str, str] | None = None,
        options: tuple[str, ...] = (),
        command: list[str] | None = None,
    ) -> None:
        sources = [argument for each in processors for argument in ("--processors", str(each))]
        self.lines: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [*(command or COMMAND), "run", "--log-format", "json", "--log-level", "debug", *sources, *options],
            env={**os.environ, **NO_POLL, **({} if dsn is None else {"ACTIOND_DSN": dsn}), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.lines.append({"event": None, "text": line.decode(errors="replace").rstrip()})

    def heard(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """The lines of this name with these fields so far."""
        return [
            line
            for line in list(self.lines)
            if line.get("event") == event and all(line.get(name) == value for name, value in fields.items())
        ]

    async def says(self, event: str, times: int = 1, within_s: float = PATIENCE_S, **fields: Any) -> dict[str, Any]:
        """Wait for a line; gives the last of them."""
        try:
            await eventually(lambda: len(self.heard(event, **fields)) >= times, within_s=within_s)
        except AssertionError:
            tail = "\n".join(str(line) for line in self.lines[-15:])
            raise AssertionError(
                f"no line {event} {fields} (exit code {self.process.poll()}); last lines:\n{tail}"
            ) from None
        return self.heard(event, **fields)[-1]

    async def ready(self) -> Daemon:
        """Wait until it claims."""
        await self.says("daemon_ready")
        return self

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def ends(self, within_s: float = PATIENCE_S) -> int:
        """Wait for its exit code."""
        await eventually(lambda: self.process.poll() is not None, within_s=within_s)
        return int(self.process.returncode)

    def kill(self) -> None:
        """SIGKILL, if it still lives."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self._reader.join(10)
        if self.process.stderr is not None:
            self.process.stderr.close()


@asynccontextmanager
async def outlived(daemon: Daemon) -> AsyncIterator[None]:
    """Around a test: a daemon that all tests of a file share is there before it, and after it."""
    assert daemon.process.poll() is None, "the daemon of this file has died in a test before"
    yield
    assert daemon.process.poll() is None, "\n".join(str(line) for line in daemon.lines[-30:])


@contextmanager
def daemons() -> Iterator[Any]:
    """A function that starts daemons; whatever still lives at the end is killed."""
    started: list[Daemon] = []

    def start(*arguments: Any, **options: Any) -> Daemon:
        started.append(Daemon(*arguments, **options))
        return started[-1]

    try:
        yield start
    finally:
        for daemon in started:
            daemon.kill()
