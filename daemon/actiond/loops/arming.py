"""How long until the next try to take the bell, while inserts are under way that it has to wait for."""

from __future__ import annotations

import time

FIRST_S, LONGEST_S = 0.001, 0.02
LONG_S, AFTER_S = 0.25, 1.0  # somebody's long transaction: so long between tries, after so long


class Arming:
    """The tries of one loop, from the first that failed on."""

    def __init__(self) -> None:
        self._since_s: float | None = None

    def again_s(self) -> float:
        """After a try that failed."""
        now_s = time.monotonic()
        if self._since_s is None:
            self._since_s = now_s
        trying_s = now_s - self._since_s
        return LONG_S if trying_s > AFTER_S else min(LONGEST_S, max(FIRST_S, trying_s))

    def over(self) -> None:
        """It was taken, or there is something else to do."""
        self._since_s = None
