"""What this daemon knows of the breaker and the rate of one processor, so that it does not ask until it is worth it.

Only knowledge: at a claim the database decides. A breaker that opened is heard of by a notification, and by the safety
poll; until then a claim may slip through, which the breaker was never meant to forbid.
"""

from __future__ import annotations

import time

from actiond.postgres.action_store import Answer

PROBING_S = 1.0  # until the next look while a probe is under way: its end is told, this is for when nobody does
SUSPECT_S = 5.0  # until the next look when outcomes that may open the breaker are not reported sooner


class Brakes:
    """Of one processor on this daemon."""

    def __init__(self) -> None:
        self.open = False
        self.suspected = False  # to be open, by what this daemon alone has seen
        self._probe_at_s = 0.0  # while it is open
        self._told_s = 0.0  # when it was told last
        self._token_at_s = 0.0

    def told(self, left_s: float | None) -> bool:
        """How the breaker stands: what is left of its pause, None = closed. True if it opened or closed."""
        was_open, self.open, self.suspected = self.open, left_s is not None, False
        self._told_s = time.monotonic()
        self._probe_at_s = self._told_s + (left_s or 0.0)
        return self.open != was_open

    def overtaken(self, asked_s: float, left_s: float | None) -> bool:
        """Is an answer to what was asked then (on the monotonic clock) older than what is known by now?"""
        return self._told_s > asked_s or (self.suspected and left_s is None)

    def suspect(self) -> None:
        """It may be open as soon as the database knows what this daemon knows."""
        self.told(SUSPECT_S)
        self.suspected = True

    def claimed(self, answer: Answer, asked_s: float) -> None:
        """What a claim that was sent then found out about both."""
        self._token_at_s = time.monotonic() + answer.token_in_s if answer.token_in_s else 0.0
        if answer.breaker is not None and self._told_s <= asked_s:
            self.told(PROBING_S if answer.breaker.probing else answer.breaker.left_s)

    def new_policy(self) -> None:
        """Another rate may allow more."""
        self._token_at_s = 0.0

    @property
    def breaker_left_s(self) -> float:
        """Until a probe may be asked for; 0 = now, or the breaker is closed."""
        return max(0.0, self._probe_at_s - time.monotonic()) if self.open else 0.0

    @property
    def rate_left_s(self) -> float:
        """Until the rate allows a row."""
        return max(0.0, self._token_at_s - time.monotonic())

    @property
    def left_s(self) -> float | None:
        """Until both allow a claim; None = they do."""
        return max(self.breaker_left_s, self.rate_left_s) or None
