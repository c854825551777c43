"""batch_size="auto": how many rows a batch processor gets at once.

Additive increase, multiplicative decrease, as TCP does with its window: while full batches are quick and succeed a
batch may have a few rows more; when they take too long, or most of their rows fail, it gets a third fewer. A decision
takes several calls of the present size, so one odd call decides nothing.

Fewer rows do not always help: a call may have a price of its own, or everything fails whatever the size. When a
decrease has brought nothing the size goes back to where it was, and only what is clearly worse counts from then on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import mean, median

FIRST, MOST = 50, 2_000  # rows
CALLS = 4  # that decide together
MORE = 25  # rows at an increase
LESS = 2 / 3
SLOW_SHARE, SLOW_AT_MOST_S = 0.1, 5.0  # of the timeout: batches under way are what a stop waits for
FAILING = 0.5  # a share of rows that is no longer about single rows
HELPED = 0.9  # a decrease to two thirds must bring what was too much below this, or it was in vain
WORSE = 1.5  # than what a decrease did not help against


@dataclass(slots=True)
class _Limit:
    """One thing that must not grow: seconds of a call, or the share of failed rows."""

    bound: float
    before: float | None = None  # what it was when the last decrease was made because of it
    useless: float | None = None  # what a decrease did not help against

    def exceeded(self, value: float) -> bool:
        if value <= self.bound:
            self.useless = None
            return False
        return self.useless is None or value > WORSE * self.useless

    def in_vain(self, value: float) -> bool:
        """Asked once, after a decrease."""
        before, self.before = self.before, None
        if before is None or value <= max(self.bound, HELPED * before):
            return False
        self.useless = value
        return True


@dataclass(slots=True)
class Sizing:
    """Of one processor on one daemon."""

    rows: int = FIRST
    _was: int = FIRST  # before the last decrease
    _took: list[float] = field(default_factory=list)  # seconds, of calls of the present size
    _failed: list[float] = field(default_factory=list)  # shares
    _slow: _Limit = field(default_factory=lambda: _Limit(0.0))
    _failing: _Limit = field(default_factory=lambda: _Limit(FAILING))

    def of(self, batch_size: int | str) -> int:
        """The knob in rows: its number, or what "auto" has come to."""
        return self.rows if isinstance(batch_size, str) else batch_size

    def ended(self, rows: int, took_s: float, failed: int, timeout_s: float) -> str | None:
        """A call has ended, `failed` of its rows without success. `slow`, `failing`, `in vain`: the size has changed
        because of that; None: it has not, or has grown a little."""
        if not self.rows / 2 < rows <= self.rows:  # of an earlier size, or there was nothing more to do
            return None
        self._took.append(took_s)
        self._failed.append(failed / rows)
        if len(self._took) < CALLS:
            return None
        self._slow.bound = min(SLOW_AT_MOST_S, SLOW_SHARE * timeout_s)
        took, share = median(self._took), mean(self._failed)
        self._took.clear()
        self._failed.clear()
        return self._decide(took, share, full=rows == self.rows)

    def _decide(self, took_s: float, share: float, *, full: bool) -> str | None:
        seen = {"slow": (self._slow, took_s), "failing": (self._failing, share)}
        in_vain = [limit.in_vain(value) for limit, value in seen.values()]
        if any(in_vain):
            self.rows = self._was
            return "in vain"
        for reason in _exceeded(seen):
            if self.rows == 1:
                return None
            limit, value = seen[reason]
            limit.before, self._was = value, self.rows
            self.rows = max(1, int(self.rows * LESS))
            return reason
        if full:
            self.rows = min(MOST, self.rows + MORE)
        return None


def _exceeded(seen: dict[str, tuple[_Limit, float]]) -> Iterator[str]:
    return (reason for reason, (limit, value) in seen.items() if limit.exceeded(value))
