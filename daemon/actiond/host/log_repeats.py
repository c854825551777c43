"""A flood is one line a minute: the same fault again is counted, not printed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog
from structlog.typing import EventDict

from actiond.words.log_lines import LogLine

#: A line that can flood is printed once in this time for each of its keys; keys above the bound share one.
REPEAT_S, REPEAT_KEYS_MAX = 60.0, 1_000


class RepeatLimiter:
    """Lets a line that can flood through once a minute for each of its keys, and counts the others."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.RLock()  # reentrant, because a garbage collection inside may log, too
        self._printed: dict[tuple[str, ...], tuple[float, int]] = {}  # key -> when last, held back since

    def __call__(self, _logger: object, _method: str, event_dict: EventDict) -> EventDict:
        line = event_dict["event"]
        if isinstance(line, LogLine) and line.once_per is not None:
            key = (line, *(str(event_dict.get(field)) for field in line.once_per))
            with self._lock:
                held_back = self._held_back(key)
            if held_back:
                event_dict["repeated"] = held_back
        return event_dict

    def _held_back(self, key: tuple[str, ...]) -> int:
        now = self._clock()
        if key not in self._printed and len(self._printed) >= REPEAT_KEYS_MAX:
            self._printed = {k: v for k, v in self._printed.items() if now - v[0] < REPEAT_S}
            key = key if len(self._printed) < REPEAT_KEYS_MAX else key[:1]
        printed_at, held_back = self._printed.get(key, (now - REPEAT_S, 0))
        if now - printed_at < REPEAT_S:
            self._printed[key] = (printed_at, held_back + 1)
            raise structlog.DropEvent
        self._printed[key] = (now, 0)
        return held_back
