"""What bounds a claim over all daemons: calls at once, a rate, a breaker. A processor without any claims freely."""

from __future__ import annotations

from dataclasses import dataclass

from actiond.rules.breaker import BreakerPolicy
from actiond.rules.rate import Rate


@dataclass(frozen=True, slots=True)
class Bounds:
    """Those of one processor."""

    calls: int | None = None  # at once; None = no limit
    rate: Rate | None = None
    breaker: BreakerPolicy | None = None

    @property
    def at_each_claim(self) -> bool:
        """Does every claim have to ask? A breaker is asked only while it is known to be open."""
        return self.calls is not None or self.rate is not None


def rows_for(calls: int, wanted: int, batch: bool) -> int:
    """How many rows so many calls may hold: a batch each, or one."""
    return wanted if batch and calls > 0 else max(0, min(wanted, calls))
