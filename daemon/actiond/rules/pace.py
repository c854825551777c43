"""How many rows to ask for, from where, and how long outcomes may wait for company.

Quick handlers are fed ahead, so that claiming and running overlap; slow ones get only what starts at once, so
that no daemon hoards rows that another could run, and few calls are in doubt when a daemon dies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from actiond.words.claimed import ClaimedRow

LEVELS = (0, 1, 2, 3)
BEGINNING = (datetime(2000, 1, 1, tzinfo=UTC), 0)  # the constraint on next_eligible_at allows nothing earlier
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
AHEAD_S = 0.1  # rows that will have started within this time may be claimed ahead
COALESCE_S = 0.02  # while calls go on, outcomes wait this long for others
RESCAN_AT_MOST_EVERY_S = 1.0
RESCAN_SHARE = 10  # a rescan that took t is repeated after 10 t at the earliest


class Watermark:
    """The last (next_eligible_at, id) claimed on each priority level: where the next claim starts to look.

    It skips the dead index entries of rows already done. Only a hint: rows that committed late, were rescued
    or released lie behind it, so the loop starts again from the beginning when a claim comes back short, when
    it was told of such rows, and on a timer that costs at most a tenth of the time.
    """

    def __init__(self) -> None:
        self._marks = [BEGINNING] * len(LEVELS)
        self._next_rescan_s = 0.0
        self._rescan_began_s: float | None = None

    def begin(self, now_s: float) -> tuple[list[datetime], list[int], bool]:
        """Times and ids to claim from, and whether that is the beginning."""
        if now_s >= self._next_rescan_s:
            self.forget()
        whole = all(mark is BEGINNING for mark in self._marks)
        self._rescan_began_s = now_s if whole else None
        return [at for at, _ in self._marks], [row_id for _, row_id in self._marks], whole

    def claimed(self, rows: Sequence[ClaimedRow], now_s: float) -> None:
        """Move on past these rows (they come in claim order)."""
        if self._rescan_began_s is not None:
            took_s = now_s - self._rescan_began_s
            self._next_rescan_s = now_s + max(RESCAN_AT_MOST_EVERY_S, RESCAN_SHARE * took_s)
            self._rescan_began_s = None
        level = -1
        for row in reversed(rows):
            if row.priority != level:
                level = row.priority
                self._marks[level] = max(self._marks[level], (_EPOCH + timedelta(seconds=row.due_s), row.id))

    def forget(self) -> None:
        """Look from the beginning next time."""
        self._marks = [BEGINNING] * len(LEVELS)


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
