"""What slows a processor down on all daemons: its breaker and the tokens of its rate, a row of actiond.brake.

Read freely; written only under the lock of the processor's slots (sql/lock_slots.sql), in the transaction of the claim
or of the report that changes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from actiond.postgres.connection import Connection, Pool, Pooled
from actiond.postgres.statements import Statements
from actiond.rules.breaker import Breaker, BreakerPolicy, Verdict


@dataclass(frozen=True, slots=True)
class Brake:
    """One row, as it stands at one moment."""

    at: datetime  # that moment, by the clock of the database
    tokens: float | None  # None: nobody ever took one
    tokens_age_s: float
    breaker: Breaker


class BrakeStore:
    """Reads and writes actiond.brake."""

    def __init__(self, pool: Pool, statements: Statements) -> None:
        self._pool = pool
        self._sql = statements

    async def read(self, connection: Connection | Pooled | Pool, processor: str) -> Brake:
        """As it stands; also of a processor that has no row yet."""
        row = await connection.fetchrow(self._sql["brake"], processor)
        assert row is not None
        breaker = Breaker(row["recent"], row["left_s"], row["failed_probes"], row["probe_run"], row["probe_is_lost"])
        return Brake(row["at"], row["tokens"], row["tokens_age_s"], breaker)

    async def write_tokens(self, connection: Pooled, processor: str, at: datetime, tokens: float) -> None:
        """So many were in the bucket at that moment."""
        await connection.execute(self._sql["write_tokens"], processor, at, tokens)

    async def turn(self, connection: Pooled, processor: str, at: datetime, breaker: Breaker) -> None:
        """From now on it stands so; its times count from that moment."""
        state = (breaker.recent, breaker.left_s, breaker.failed_probes, breaker.probe)
        await connection.execute(self._sql["turn_breaker"], processor, at, *state)

    async def heard(
        self, processor: str, policy: BreakerPolicy, verdicts: Sequence[Verdict]
    ) -> tuple[Breaker, Breaker]:
        """These outcomes are committed; gives the breaker before and after. One read if they change nothing."""
        before = (await self.read(self._pool, processor)).breaker
        if before.heard(policy, verdicts) is before:
            return before, before
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(self._sql["wait_for_slots"], processor)
            brake = await self.read(connection, processor)
            after = brake.breaker.heard(policy, verdicts)
            if after is not brake.breaker:
                await self.turn(connection, processor, brake.at, after)
        return brake.breaker, after
