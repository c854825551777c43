"""Readers of the feed of outcomes, and outcomes for them that stay uncommitted as long as a test likes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg

from actiond.postgres.feed import OutcomeEntry, outcomes
from support.database import Database


@dataclass
class Reader:
    """One that keeps its position, as the feed asks for, and all that it was given."""

    page: int = 1_000
    position: str | None = None
    seen: list[OutcomeEntry] = field(default_factory=list)

    async def read(self, conn: asyncpg.Connection, at_most: int | None = None) -> list[int]:
        """What there is, up to so many; gives the ids of the actions."""
        ids = []
        async for entry in outcomes(conn, self.position, page=self.page):
            ids.append(entry.action_id)
            self.seen.append(entry)
            self.position = entry.position
            if len(ids) == at_most:
                break
        return ids

    @property
    def entries(self) -> list[int]:
        """The ids of the entries."""
        return [entry.id for entry in self.seen]


async def wrote(conn: asyncpg.Connection, *actions: int, outcome: str = "completed") -> None:
    """Outcomes of these actions, as the statement of a daemon notes them."""
    await conn.execute(
        "insert into actiond.history (action_id, event, run_id, attempt) select unnest($1::bigint[]), $2, 1, 1",
        list(actions),
        outcome,
    )


@asynccontextmanager
async def held_open(db: Database, *actions: int) -> AsyncIterator[asyncpg.Connection]:
    """A transaction that has written outcomes of these and does not end by itself: COMMIT or ROLLBACK on it."""
    conn = await db.connect()
    try:
        await conn.execute("begin")
        await wrote(conn, *actions)
        yield conn
    finally:
        await conn.close()
