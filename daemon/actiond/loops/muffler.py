"""Rings that come from outside, and how many of them are worth a look.

Any role of the database may ring as fast as it can, and a look costs the server something. So looks that a ring asked
for and that found nothing are at most so many a second, after a burst; a ring that comes too early is kept, and rings
when its time has come. Looks that found rows are free.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from actiond.rules.rate import Rate, whole

VAIN = Rate(per_s=20.0, burst=20)  # looks that found nothing


def _never() -> int:
    return 0


class Muffler:
    """Of one bell. `found` counts the looks that found something."""

    def __init__(self, ring: Callable[[], None], found: Callable[[], int] = _never) -> None:
        self._ring = ring
        self._found = found
        self._tokens = float(VAIN.burst)
        self._rung_s = time.monotonic()
        self._found_before = found()
        self._later: asyncio.TimerHandle | None = None

    def ring(self) -> bool:
        """At once, or later: then False."""
        if self._later is not None:
            return False
        now_s, found = time.monotonic(), self._found()
        refunded = self._tokens + max(0, found - self._found_before)
        self._tokens, self._rung_s, self._found_before = VAIN.filled(refunded, now_s - self._rung_s), now_s, found
        if not whole(self._tokens):
            self._later = asyncio.get_running_loop().call_later(VAIN.wait_s(self._tokens), self._ring_now)
            return False
        self._tokens -= 1
        self._ring()
        return True

    def _ring_now(self) -> None:
        self._later = None
        self.ring()
