"""One run in memory: the rows of one claim, how many are still open, and what was measured."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from actiond.contract.action import Scope
from actiond.postgres.action_store import EndedRun
from actiond.rules.settlement import Rules
from actiond.words.claimed import ClaimedRow, Settlement

BUCKETS = 32  # log2 of milliseconds: up to 2**31 ms, 24 days
_LAST_MS = 1 << (BUCKETS - 1)


def bucket(amount_s: float) -> int:
    """0 for under a millisecond, then 1 for 1 ms, 2 for 2 to 3 ms, 3 for 4 to 7 ms, ..."""
    amount_ms = int(amount_s * 1000)
    return amount_ms.bit_length() if 0 <= amount_ms < _LAST_MS else 0 if amount_ms < 0 else BUCKETS - 1


@dataclass(slots=True)
class Run:
    """Its id is the fence of its rows."""

    id: int
    processor: str
    open: int  # rows without an outcome
    probe: bool = False  # of an open breaker
    began_s: float = field(default_factory=lambda: time.monotonic())
    withdrawn: set[int] = field(default_factory=set)  # canceled, held or taken away meanwhile
    waits: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    times: list[int] = field(default_factory=lambda: [0] * BUCKETS)

    @classmethod
    def of(cls, run_id: int, processor: str, rows: Sequence[ClaimedRow], probe: bool = False) -> Run:
        """From the answer of a claim."""
        run = cls(run_id, processor, len(rows), probe)
        waits = run.waits
        for row in rows:
            waits[bucket(row.waited_s)] += 1
        return run

    def scope(self) -> Scope:
        """For one call on rows of this run."""
        return Scope(self.id, self.processor, withdrawn=self.withdrawn)

    def rules(self, usual: Rules) -> Rules:
        """Those its outcomes are settled by. A probe is asked for all that wait: its failure costs its row nothing."""
        return replace(usual, charged=False) if self.probe else usual

    def ended(self, rows: int, took_s: float) -> None:
        """A call on so many rows is over."""
        self.open -= rows
        self.times[bucket(took_s)] += rows

    def closed(self) -> EndedRun:
        """For the run row, once nothing is open."""
        return EndedRun(self.id, _array(self.waits), _array(self.times))


class Spans(Protocol):
    """What becomes of the actions of a call, told to who traces it; see batch/spans.py."""

    def __enter__(self) -> None: ...
    def __exit__(self, *how: object) -> None: ...
    def settled(self, settlements: Iterable[Settlement]) -> None: ...
    def ended(self, error: str | None) -> None: ...


@dataclass(slots=True, eq=False)
class Work:
    """What one call gets."""

    run: Run
    rows: list[ClaimedRow]
    spans: Spans | None = None  # while it is traced

    def payloads(self) -> list[str]:
        """As JSON texts."""
        return [row.data for row in self.rows]

    @property
    def suspect(self) -> bool:
        """Did a daemon die on it? (Such rows are claimed apart from others.)"""
        return self.rows[0].crashes > 0


def _array(counts: Sequence[int]) -> str:
    last = max((place for place, count in enumerate(counts) if count), default=-1)
    return "{" + ",".join(map(str, counts[: last + 1])) + "}"
