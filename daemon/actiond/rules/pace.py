"""How many rows to ask for, and how long outcomes may wait for company.

Quick handlers are fed ahead, so that claiming and running overlap; slow ones get only what starts at once, so
that no daemon hoards rows that another could run, and few calls are in doubt when a daemon dies.
"""

from __future__ import annotations

from dataclasses import dataclass

LEVELS = (0, 1, 2, 3)
AHEAD_S = 0.1  # rows that will have started within this time may be claimed ahead
COALESCE_S = 0.02  # while calls go on, outcomes wait this long for others


@dataclass(slots=True)
class Speed:
    """How long calls take, as a moving average; None until one has ended."""

    call_s: float | None = None

    def ended(self, took_s: float) -> None:
        """One call took this long."""
        self.call_s = took_s if self.call_s is None else 0.8 * self.call_s + 0.2 * took_s


def wanted_batches(concurrency: int, in_hand: int, speed: Speed, ahead: bool = True) -> int:
    """Batches to claim now: what can start, and one more when batches are quick."""
    spare = 1 if ahead and speed.call_s is not None and speed.call_s < AHEAD_S else 0
    return max(0, concurrency + spare - in_hand)


def wanted_rows(concurrency: int, batch_size: int, in_hand: int, speed: Speed, ahead: bool = True) -> int:
    """Rows to claim now for one-at-a-time handlers; 0 while it is not worth a round trip."""
    spare = 0
    if ahead and speed.call_s is not None:
        spare = min(2 * batch_size, int(concurrency * AHEAD_S / max(speed.call_s, 1e-6)))
    missing = concurrency + spare - in_hand
    if missing <= 0 or (in_hand > concurrency and missing < min(batch_size, spare) / 2):
        return 0
    return min(missing, batch_size)


def flush_in_s(outcomes: int, oldest_s: float, running: int, batch_size: int) -> float | None:
    """How long the outcomes may still wait; None = there are none, 0 = write them now."""
    if not outcomes:
        return None
    if not running or outcomes >= batch_size:
        return 0.0
    return max(0.0, COALESCE_S - oldest_s)
