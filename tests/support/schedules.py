"""Rows of actiond.schedule, and the loops that fire them, as tests need them."""

from __future__ import annotations

from typing import Any

import asyncpg

from actiond.loops.schedule_loop import ScheduleLoop
from actiond.postgres.connection import Pool
from actiond.postgres.schedule_store import ScheduleStore
from actiond.postgres.statements import Statements


def loop_of(pool: Pool, daemon: int = 1, sql: Statements | None = None) -> ScheduleLoop:
    """The loop of this daemon; `sql` to break a statement on purpose."""
    return ScheduleLoop(ScheduleStore(pool, sql or Statements()), lambda: daemon, 5.0)


async def schedule(conn: asyncpg.Connection, name: str = "s", processor: str = "p", **columns: Any) -> None:
    """Insert one; `data` as JSON text, `every` and `grace` as text."""
    names = ["name", "processor", *columns]
    kinds = {"every": "::text::interval", "grace": "::text::interval", "data": "::text::jsonb"}
    kinds |= {"starts_at": "::text::timestamptz"}
    places = ", ".join(f"${place}{kinds.get(each, '')}" for place, each in enumerate(names, 1))
    await conn.execute(
        f"insert into actiond.schedule ({', '.join(names)}) values ({places})", name, processor, *columns.values()
    )


async def row(conn: asyncpg.Connection, name: str = "s", processor: str = "p") -> asyncpg.Record:
    """As it is stored, times in UTC."""
    return await conn.fetchrow("select * from actiond.schedule where name = $1 and processor = $2", name, processor)


async def inserted(conn: asyncpg.Connection, processor: str = "p") -> list[str]:
    """The data of the actions, in order, as JSON text."""
    rows = await conn.fetch("select data::text as data from actiond.action where processor = $1 order by id", processor)
    return [each["data"] for each in rows]


async def settle(loop: ScheduleLoop, most: int = 1000) -> int:
    """Step until there is nothing to do now; gives the number of steps."""
    for steps in range(1, most + 1):
        if await loop.step() > 0:
            return steps
    raise AssertionError(f"still busy after {most} steps")
