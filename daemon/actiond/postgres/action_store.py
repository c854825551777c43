"""The actions: one method a statement, nothing clever.

`step` writes outcomes and claims in one statement. When its answer is lost, AnswerLost says so and `recover`
finds out what became of the claim; outcomes are simply sent again, which changes nothing if they had landed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg

from actiond.postgres.connection import Pool, Pooled, Trouble, trouble
from actiond.postgres.statements import Statements
from actiond.words.claimed import ClaimedRow, Settlement
from actiond.words.errors import AnswerLost

_RUN_IDS = 256  # drawn at once
_ROW = len(ClaimedRow._fields)


@dataclass(frozen=True, slots=True)
class Claim:
    """What to claim."""

    processor: str
    limit: int
    levels: tuple[int, ...]
    times: Sequence[datetime]
    ids: Sequence[int]
    due_at: datetime | None = None  # None = now
    suspect_allowed: bool = True


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run whose last action was settled, with its log2 buckets."""

    id: int
    waits: str
    times: str


@dataclass(frozen=True, slots=True)
class Parcel:
    """Outcomes that travel together."""

    settlements: Sequence[Settlement] = ()
    ended: Sequence[EndedRun] = ()

    def __bool__(self) -> bool:
        return bool(self.settlements or self.ended)


@dataclass(slots=True)
class Answer:
    """What a step came to. `fenced`: the settlements that did not land."""

    rows: list[ClaimedRow]
    run_id: int = 0
    daemon: int = 0  # the id that claimed them
    fenced: list[Settlement] = field(default_factory=list)
    full: bool = False  # the limit over all daemons is reached


class ActionStore:
    """Claims and outcomes of one daemon. `daemon` changes when it had to register anew."""

    def __init__(self, pool: Pool, statements: Statements) -> None:
        self.daemon = 0
        self._pool = pool
        self._sql = statements
        self._run_ids: list[int] = []

    async def draw_run_id(self) -> int:
        """An id for the next run."""
        if not self._run_ids:
            rows = await self._pool.fetch(self._sql["draw_run_ids"], _RUN_IDS)
            self._run_ids = [row["id"] for row in reversed(rows)]
        return self._run_ids.pop()

    async def step(self, parcel: Parcel, claim: Claim | None) -> Answer:
        """Write these outcomes, claim these rows. AnswerLost(run id) if nobody knows what happened."""
        run_id = await self.draw_run_id() if claim else 0
        daemon = self.daemon
        try:
            records = await self._pool.fetch(self._sql["step"], *step_arguments(daemon, parcel, claim, run_id))
        except Exception as error:
            if trouble(error) is Trouble.LOST:
                raise AnswerLost(run_id) from error
            raise
        return _answer(records, parcel, run_id, daemon)

    async def step_within_limit(self, parcel: Parcel, claim: Claim, limit: int, batch: bool) -> Answer:
        """The same for a processor with a global concurrency: claims over all daemons go one at a time."""
        run_id = await self.draw_run_id()
        daemon = self.daemon
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                # The outcomes first: each makes room for a claim.
                fenced = await self.settle_within(connection, parcel) if parcel else []
                room = 0
                if await connection.fetchval(self._sql["lock_slots"], claim.processor):
                    # A statement of its own, after the lock: a snapshot from before would miss the last claim.
                    room = limit - await connection.fetchval(self._sql["running_globally"], claim.processor, batch)
                rows = claim.limit if batch and room > 0 else min(claim.limit, room)
                within = _with_limit(claim, max(0, rows))
                records = await connection.fetch(self._sql["step"], *step_arguments(daemon, Parcel(), within, run_id))
        except Exception as error:
            if trouble(error) is Trouble.LOST:
                raise AnswerLost(run_id) from error
            raise
        answer = _answer(records, Parcel(), run_id, daemon)
        answer.fenced, answer.full = fenced, room <= 0
        return answer

    async def settle_within(self, connection: Pooled, parcel: Parcel) -> list[Settlement]:
        """Write outcomes in the caller's transaction; gives those that did not land."""
        records = await connection.fetch(self._sql["step"], *step_arguments(self.daemon, parcel, None, 0))
        return _answer(records, parcel, 0, self.daemon).fenced

    async def lock_claimed(self, connection: Pooled, run_id: int, ids: Sequence[int]) -> set[int]:
        """Lock these rows in the caller's transaction; gives the ids that are still this run's."""
        rows = await connection.fetch(self._sql["lock_claimed"], self.daemon, run_id, ids)
        return {row["id"] for row in rows}

    async def recover(self, run_id: int) -> list[ClaimedRow]:
        """What a claim whose answer was lost holds; nothing if it never committed, and then it never will."""
        try:
            await self._pool.execute(self._sql["void_run"], run_id, self.daemon)
        except asyncpg.UniqueViolationError:
            records = await self._pool.fetch(self._sql["adopt_run"], run_id, self.daemon)
            return [ClaimedRow._make(record) for record in records]
        return []

    async def give_back(self, run_id: int, ids: Sequence[int]) -> int:
        """Rows whose call never started go back, uncharged; gives how many were still ours."""
        rows = await self._pool.fetch(self._sql["give_back"], self.daemon, run_id, ids)
        return len(rows)

    async def note_fenced(self, late: Sequence[Settlement]) -> list[int]:
        """Keep in history that these came too late; gives the ids that really did."""
        rows = await self._pool.fetch(
            self._sql["note_fenced"],
            [s.id for s in late],
            [s.run_id for s in late],
            [s.kind for s in late],
            [s.error for s in late],
        )
        return [row["id"] for row in rows]

    async def withdrawn(self, run_ids: Sequence[int]) -> list[tuple[int, int]]:
        """(run, action) pairs of these runs that are no longer ours."""
        rows = await self._pool.fetch(self._sql["withdrawn"], self.daemon, run_ids)
        return [(row["run_id"], row["id"]) for row in rows]

    async def next_due_s(self, processor: str) -> float | None:
        """Seconds until the next row is due; None = nothing is scheduled."""
        due_s: float | None = await self._pool.fetchval(self._sql["next_due"], processor)
        return due_s


def step_arguments(daemon: int, parcel: Parcel, claim: Claim | None, run_id: int) -> tuple[Any, ...]:
    """Those of sql/step.sql, in order."""
    return (daemon, *_outcome_arrays(parcel), *_claim_arguments(claim, run_id))


def _with_limit(claim: Claim, limit: int) -> Claim:
    return Claim(claim.processor, limit, claim.levels, claim.times, claim.ids, claim.due_at, claim.suspect_allowed)


def _claim_arguments(claim: Claim | None, run_id: int) -> tuple[Any, ...]:
    if claim is None:
        return ("", 0, (), (), (), run_id, None, False)
    return (
        claim.processor,
        claim.limit,
        claim.levels,
        claim.times,
        claim.ids,
        run_id,
        claim.due_at,
        claim.suspect_allowed,
    )


def _outcome_arrays(parcel: Parcel) -> tuple[Any, ...]:
    """Columns of the outcomes. Clean completions come last and stand only in the first two arrays."""
    clean = [s for s in parcel.settlements if s.kind == "completed" and not s.noted and s.result is None]
    if len(clean) == len(parcel.settlements):
        rest: list[Settlement] = []
    else:
        rest = [s for s in parcel.settlements if s.kind != "completed" or s.noted or s.result is not None]
    return (
        [s.id for s in rest] + [s.id for s in clean],
        [s.run_id for s in rest] + [s.run_id for s in clean],
        [s.kind for s in rest],
        [s.error for s in rest],
        [s.delay_s for s in rest],
        [s.retries_left for s in rest],
        [s.result for s in rest],
        [s.state for s in rest],
        [s.noted for s in rest],
        [s.detail for s in rest],
        [run.id for run in parcel.ended],
        [run.waits for run in parcel.ended],
        [run.times for run in parcel.ended],
    )


def _answer(records: Sequence[asyncpg.Record], parcel: Parcel, run_id: int, daemon: int) -> Answer:
    first = records[0]
    rows = [ClaimedRow._make(record[:_ROW]) for record in records] if first["id"] is not None else []
    written = first["written"]
    if written is None:
        return Answer(rows, run_id, daemon)
    landed = set(written)
    return Answer(rows, run_id, daemon, [s for s in parcel.settlements if s.id not in landed])
