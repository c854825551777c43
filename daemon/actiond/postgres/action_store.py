"""The actions: one method a statement, nothing clever.

`step` writes outcomes and claims in one statement. When its answer is lost, AnswerLost says so and `recover`
finds out what became of the claim; outcomes are simply sent again, which changes nothing if they had landed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import asyncpg

from actiond.postgres import events
from actiond.postgres.brake_store import Brake, BrakeStore
from actiond.postgres.connection import Pool, Pooled, Trouble, trouble
from actiond.postgres.statements import Statements
from actiond.rules.bounds import Bounds, rows_for
from actiond.rules.breaker import Breaker
from actiond.rules.rate import whole
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
    allowed: int | None = None  # the rows that bounds over all daemons allowed; None = all that were asked for
    full: bool = False  # the limit of calls is reached, or another daemon is claiming just now
    token_in_s: float = 0.0  # until the rate allows another row
    breaker: Breaker | None = None  # as it stands now; None: it was not asked

    @property
    def probe(self) -> bool:
        """These rows are the probe of an open breaker."""
        return bool(self.rows) and self.breaker is not None and self.breaker.probe == self.run_id


@dataclass(slots=True)
class _Room:
    """How many rows a bounded claim may bring, and why not more."""

    rows: int
    full: bool = False
    brake: Brake | None = None
    tokens: float = 0.0


class ActionStore:
    """Claims and outcomes of one daemon. `daemon` changes when it had to register anew."""

    def __init__(self, pool: Pool, statements: Statements) -> None:
        self.daemon = 0
        self._pool = pool
        self._sql = statements
        self._run_ids: list[int] = []
        self._brakes = BrakeStore(pool, statements)

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

    async def step_within(self, parcel: Parcel, claim: Claim, bounds: Bounds, batch: bool) -> Answer:
        """The same for a processor with bounds over all daemons: its claims go one at a time, whoever makes them.

        `batch`: a call holds a whole batch. What a claim takes (tokens, the right to probe) commits with its rows.
        """
        run_id = await self.draw_run_id()
        answer = Answer([], run_id, self.daemon)
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                # The outcomes first: each makes room for a claim.
                fenced = await self.settle_within(connection, parcel) if parcel else []
                room = await self._room(connection, claim, bounds, batch)
                if room.rows:
                    within = step_arguments(answer.daemon, Parcel(), replace(claim, limit=room.rows), run_id)
                    records = await connection.fetch(self._sql["step"], *within)
                    answer = _answer(records, Parcel(), run_id, answer.daemon)
                if room.brake is not None:
                    await self._take(connection, claim.processor, bounds, room, room.brake, answer)
        except Exception as error:
            if trouble(error) is Trouble.LOST:
                raise AnswerLost(run_id) from error
            raise
        answer.fenced, answer.full, answer.allowed = fenced, room.full, room.rows
        return answer

    async def _room(self, connection: Pooled, claim: Claim, bounds: Bounds, batch: bool) -> _Room:
        if not await connection.fetchval(self._sql["lock_slots"], claim.processor):
            return _Room(0, full=True)
        # Statements of their own, after the lock: a snapshot from before would miss the last claim.
        room = _Room(claim.limit)
        if bounds.calls is not None:
            running = await connection.fetchval(self._sql["running_globally"], claim.processor, batch)
            room.rows = rows_for(bounds.calls - running, room.rows, batch)
            room.full = room.rows == 0
        if bounds.rate is None and bounds.breaker is None:
            return room
        room.brake = brake = await self._brakes.read(connection, claim.processor)
        if bounds.rate is not None:
            room.tokens = bounds.rate.filled(brake.tokens, brake.tokens_age_s)
            room.rows = min(room.rows, whole(room.tokens))
        if bounds.breaker is not None and brake.breaker.room is not None:
            room.rows = min(room.rows, brake.breaker.room)
        return room

    async def _take(
        self, connection: Pooled, processor: str, bounds: Bounds, room: _Room, brake: Brake, answer: Answer
    ) -> None:
        """What the rows of a claim take, for all daemons to see; and in the answer, what is left."""
        if bounds.rate is not None:
            left = room.tokens - len(answer.rows)
            answer.token_in_s = bounds.rate.wait_s(left)
            if answer.rows:
                await self._brakes.write_tokens(connection, processor, brake.at, left)
        if bounds.breaker is not None:
            answer.breaker = brake.breaker
            if answer.rows and brake.breaker.room is not None:
                answer.breaker = brake.breaker.probed_by(answer.run_id)
                await self._brakes.turn(connection, processor, brake.at, answer.breaker)

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

    async def publish(self, event: str, data: Any, related: str | None) -> int:
        """An event, in a transaction of its own; gives how many processors hear of it."""
        return await events.publish(self._pool, event, data, related=related)

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
