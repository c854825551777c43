"""When the window of one processor is open, by the clock of the database, without asking it.

Each poll brings what time it is there; from then on this host's clock that never jumps goes on. What is asked at each
look is how long until the window turns, which is computed when it does.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from actiond.rules.window import Window

SET_S = 1.0  # clocks that drift differ by less, between two polls


class DatabaseClock:
    """One for all processors of a daemon."""

    def __init__(self) -> None:
        self._at: datetime | None = None
        self._heard_s = 0.0
        self.edition = 0

    def told(self, now: datetime) -> bool:
        """It is this time there; True if that clock was set. Never ahead of it: what travelled is not counted."""
        thought = self.now()
        self._at, self._heard_s = now, time.monotonic()
        self.edition += 1
        return thought is not None and abs((now - thought).total_seconds()) > SET_S

    def now(self) -> datetime | None:
        """None before it was told."""
        if self._at is None:
            return None
        return self._at + timedelta(seconds=time.monotonic() - self._heard_s)


class Opening:
    """Of one processor. May be asked from any thread."""

    def __init__(self, clock: DatabaseClock) -> None:
        self._clock = clock
        self._known = _Known(None, 0, True, math.inf)

    def opens_in_s(self, window: Window | None) -> float:
        """How long until it opens; 0 = it is open."""
        known = self._look(window)
        return 0.0 if known.open else known.left_s

    def closes_in_s(self, window: Window | None) -> float | None:
        """How long until it closes; None = it is closed, or never does."""
        known = self._look(window)
        return known.left_s if known.open and known.turns_at_s < math.inf else None

    def _look(self, window: Window | None) -> _Known:
        known, edition = self._known, self._clock.edition
        if (known.window, known.edition) != (window, edition) or known.left_s <= 0:
            self._known = known = self._computed(window, edition)
        return known

    def _computed(self, window: Window | None, edition: int) -> _Known:
        now = self._clock.now()
        turns_at = None if window is None or now is None else window.turns_at(now)
        if window is None or now is None or turns_at is None:
            return _Known(window, edition, open=window is None or now is None or window.open(now), turns_at_s=math.inf)
        return _Known(window, edition, window.open(now), time.monotonic() + (turns_at - now).total_seconds())


@dataclass(frozen=True, slots=True)
class _Known:
    window: Window | None
    edition: int  # of the clock that it was computed by
    open: bool
    turns_at_s: float  # monotonic

    @property
    def left_s(self) -> float:
        return self.turns_at_s - time.monotonic()
