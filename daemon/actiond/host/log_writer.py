"""The end of a line's way: a thread that writes, so that printing never blocks and never raises.

When stderr does not take lines as fast as they come, lines are dropped and counted.
"""

from __future__ import annotations

import atexit
import os
import queue
import select
import threading

from structlog.typing import EventDict

#: Lines that may wait for a slow stderr; lines per system call, lest a busy event loop starve the thread.
WAITING_MAX, WRITTEN_AT_ONCE_MAX = 5_000, 500
#: How long a normal exit waits for a stderr that takes nothing.
FLUSH_S = 1.0


class LineWriter:
    """Writes lines from a thread of its own; what structlog calls a logger, and its factory."""

    def __init__(self, fd: int) -> None:
        self._fd: int | None
        try:  # a copy of its own: when stderr is closed, its number may become a connection's
            self._fd = os.dup(fd)
        except OSError:
            self._fd = None
        # SimpleQueue, because a garbage collection in the middle of put() may log, too.
        self._waiting: queue.SimpleQueue[bytes | threading.Event | None] = queue.SimpleQueue()
        self.dropped = self._told = 0
        self.on_terminal = self._fd is not None and os.isatty(self._fd)
        if self._fd is not None:
            threading.Thread(target=self._run, args=(self._fd,), name="actiond-log", daemon=True).start()
            atexit.register(self.close)

    def __call__(self, *_: object) -> LineWriter:
        return self

    def write(self, line: str) -> None:
        if self._fd is None or self._waiting.qsize() >= WAITING_MAX:
            self.dropped += 1
        else:
            self._waiting.put(line.encode("utf-8", "backslashreplace") + b"\n")

    debug = info = warning = error = critical = write

    def tell_lost(self, _logger: object, _method: str, event_dict: EventDict) -> EventDict:
        if self.dropped > self._told:
            self._told = event_dict["lines_lost"] = self.dropped
        return event_dict

    def flush(self, timeout_s: float = FLUSH_S) -> bool:
        """Wait until the lines made so far are out; False: they were not in time."""
        self._waiting.put(written := threading.Event())
        return self._fd is None or written.wait(timeout_s)

    def close(self) -> None:
        if self._fd is not None:
            atexit.unregister(self.close)
            self.flush()
            self._fd = None
            self._waiting.put(None)

    def _run(self, fd: int) -> None:
        taken: list[bytes | threading.Event | None] = []
        while None not in taken:
            count = min(self._waiting.qsize(), WRITTEN_AT_ONCE_MAX)
            taken = [self._waiting.get() for _ in range(max(1, count))]
            lines = [line for line in taken if isinstance(line, bytes)]
            try:
                _write_all(fd, b"".join(lines))
            except OSError:
                self.dropped += len(lines)
            for written in taken:
                if isinstance(written, threading.Event):
                    written.set()
        os.close(fd)


def _write_all(fd: int, text: bytes) -> None:
    rest = memoryview(text)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:  # whoever started us left it in non-blocking mode
            select.select([], [fd], [])
