"""Notifications on their way from the thread of presence to the main loop: each thing once, and not more than so many.

Any role of the database may notify, as fast as it can. What comes while the main loop has not yet taken what came
before is kept as a set; beyond a few, or too long to be read at each turn, it becomes a blank one, which says the same
of everything: look again.
"""

from __future__ import annotations

import threading

KINDS_MAX = 16  # of one channel, until the main loop takes them
LENGTH_MAX = 1_000  # characters

BLANK = ""


class Inbox:
    """Filled in one thread, emptied in another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, set[str]] = {}  # channel -> payloads

    def put(self, channel: str, payload: str) -> bool:
        """True: there was nothing in it, so somebody should be told to empty it."""
        with self._lock:
            first = not self._kept
            payloads = self._kept.setdefault(channel, set())
            if BLANK not in payloads:
                payloads.add(payload if len(payload) <= LENGTH_MAX else BLANK)
                if BLANK in payloads or len(payloads) > KINDS_MAX:
                    self._kept[channel] = {BLANK}
        return first

    def take(self) -> list[tuple[str, str]]:
        """(channel, payload) of everything in it."""
        with self._lock:
            kept, self._kept = self._kept, {}
        return [(channel, payload) for channel, payloads in kept.items() for payload in sorted(payloads)]
