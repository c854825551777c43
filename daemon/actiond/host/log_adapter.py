"""A copy of every event for who wants it elsewhere: the setting `log_adapter`.

The adapter is foreign code, and it may be slow: it runs in a thread of its own, and events it does not take in
time are dropped for it alone. What it raises is told once a minute. stderr gets every line all the same.
"""

from __future__ import annotations

import atexit
import queue
import threading
from collections.abc import Callable

from structlog.processors import TimeStamper
from structlog.typing import EventDict

#: Gets each event as a dict: printable, short, redacted; "event" is the name of the line, beside "level",
#: "timestamp" and its fields. What it returns is ignored.
Adapter = Callable[[dict[str, object]], object]

#: Events that may wait for a slow adapter; how long a normal exit waits for one that takes nothing.
WAITING_MAX, FLUSH_S = 5_000, 1.0

_stamped = TimeStamper("iso", utc=True)


class Copies:
    """A processor of structlog that changes nothing."""

    def __init__(self, adapter: Adapter, failed: Callable[[Exception], object]) -> None:
        self._adapter = adapter
        self._failed = failed
        self._waiting: queue.SimpleQueue[EventDict | threading.Event] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="actiond-log-adapter", daemon=True).start()
        atexit.register(self.flush)

    def __call__(self, _logger: object, _method: str, event_dict: EventDict) -> EventDict:
        if self._waiting.qsize() < WAITING_MAX:
            self._waiting.put(_stamped(None, "", dict(event_dict)))
        return event_dict

    def flush(self, timeout_s: float = FLUSH_S) -> bool:
        """Wait until the adapter has had every event so far; False: it had not in time."""
        self._waiting.put(taken := threading.Event())
        return taken.wait(timeout_s)

    def _run(self) -> None:
        while True:
            event = self._waiting.get()
            if isinstance(event, threading.Event):
                event.set()
                continue
            try:
                self._adapter(dict(event))
            except Exception as error:  # user code
                self._failed(error)
