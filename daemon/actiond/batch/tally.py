"""What a daemon has counted since it started: plain numbers, written by the loops, read by whoever shows them.

Counting goes on whether anybody looks or not, so it must cost next to nothing: a few additions a batch, and for a
row no more than its kind. Numbers only grow; a reader in another thread may see one of them a moment before
another, and nothing worse.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from actiond.batch.run import BUCKETS, bucket
from actiond.words.claimed import ClaimedRow, Settlement

_kind, _waited_s = attrgetter("kind"), attrgetter("waited_s")


@dataclass(slots=True)
class Histogram:
    """Counts by log2 of milliseconds, see run.bucket; and the sum in seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    sum_s: float = 0.0

    def add(self, amount_s: float) -> None:
        """One more."""
        self.counts[bucket(amount_s)] += 1
        self.sum_s += amount_s

    def add_all(self, counts: Sequence[int], sum_s: float) -> None:
        """Many that are counted already."""
        for place, count in enumerate(counts):
            if count:
                self.counts[place] += count
        self.sum_s += sum_s


@dataclass(slots=True)
class Tally:
    """Of one processor."""

    claims: int = 0
    claimed: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    fenced: int = 0
    timeouts: int = 0
    runaways: int = 0
    worker_deaths: int = 0
    waits: Histogram = field(default_factory=Histogram)
    calls: Histogram = field(default_factory=Histogram)

    def brought(self, rows: Sequence[ClaimedRow], waits: Sequence[int]) -> None:
        """A claim brought these; `waits` are their buckets."""
        self.claims += 1
        self.claimed += len(rows)
        self.waits.add_all(waits, sum(map(_waited_s, rows)))

    def landed(self, settlements: Iterable[Settlement]) -> None:
        """The database has confirmed these."""
        self.outcomes.update(map(_kind, settlements))


@dataclass(slots=True)
class Counts:
    """Of the whole daemon."""

    troubles: Counter[str] = field(default_factory=Counter)  # by connection: claim, poll, rescue, presence
    rescued: int = 0
    quarantined: int = 0
    leases_lost: int = 0
    loop_blocked: int = 0
