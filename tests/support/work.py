"""Rows, and what a daemon does to them through its stores: insert, claim, settle, look."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from actiond.postgres.action_store import ActionStore, Answer, Claim, Parcel
from actiond.postgres.connection import Pool, close_pool, work_pool
from actiond.postgres.daemon_store import DaemonStore
from actiond.postgres.statements import Statements
from actiond.rules.pace import LEVELS
from actiond.rules.watermark import BEGINNING
from actiond.words.claimed import ClaimedRow, Settlement
from support.database import Database

LEASE_S = 30.0
CLEAN = {"completed": {}, "failed": {"error": "no"}, "retried": {"error": "no", "delay_s": 0.0}}
CLEAN |= {"deferred": {"delay_s": 0.0}, "waiting": {}, "repeated": {}, "canceled": {}}


@asynccontextmanager
async def pool_of(db: Database, size: int = 4) -> AsyncIterator[Pool]:
    """Connections as a daemon claims and writes with."""
    pool = await work_pool(db.dsn, size)
    try:
        yield pool
    finally:
        await close_pool(pool)


def store_of(pool: Pool, daemon: int = 1, sql: Statements | None = None) -> ActionStore:
    """The store of this daemon; `sql` to break a statement on purpose."""
    store = ActionStore(pool, sql or Statements())
    store.daemon = daemon
    return store


def daemons_of(pool: Pool) -> DaemonStore:
    return DaemonStore(pool, Statements())


async def register(connection: asyncpg.Connection, *processors: str) -> int:
    """A daemon that lives as long as this connection; gives its id."""
    row = await connection.fetchrow(Statements()["register_daemon"], "here", 1, "0", list(processors), LEASE_S, True)
    assert row["locked"]
    return row["id"]


async def insert(connection: asyncpg.Connection, rows: int = 1, processor: str = "p", **columns: Any) -> list[int]:
    """So many rows with these columns; gives their ids."""
    names = ["processor", *columns]
    sql = (
        f"insert into actiond.action ({', '.join(names)}) select {', '.join(f'${i + 1}' for i in range(len(names)))} "
        f"from generate_series(1, {rows}) returning id"
    )
    return [row["id"] for row in await connection.fetch(sql, processor, *columns.values())]


def a_claim(limit: int = 100, processor: str = "p", **more: Any) -> Claim:
    """Claim from the beginning."""
    times, ids = [BEGINNING[0]] * len(LEVELS), [BEGINNING[1]] * len(LEVELS)
    return Claim(processor, limit, LEVELS, times, ids, **more)


async def claim(store: ActionStore, limit: int = 100, processor: str = "p", **more: Any) -> Answer:
    """Claim without outcomes."""
    return await store.step(Parcel(), a_claim(limit, processor, **more))


def outcome(row: ClaimedRow | int, run_id: int, kind: str = "completed", **more: Any) -> Settlement:
    """One outcome; its kind brings what it needs."""
    id_ = row if isinstance(row, int) else row.id
    return Settlement(id_, run_id, kind, **(CLEAN[kind] | more))


def outcomes(answer: Answer, kind: str = "completed", **more: Any) -> list[Settlement]:
    """The same outcome for all rows of a claim."""
    return [outcome(row, answer.run_id, kind, **more) for row in answer.rows]


async def settle(store: ActionStore, settlements: Sequence[Settlement]) -> Answer:
    """Write outcomes without a claim."""
    return await store.step(Parcel(settlements), None)


async def look(connection: asyncpg.Connection, id_: int) -> dict[str, Any]:
    """The row as it is stored."""
    return dict(await connection.fetchrow("select * from actiond.action where id = $1", id_))


async def history(connection: asyncpg.Connection, id_: int) -> list[dict[str, Any]]:
    """What happened to it, oldest first."""
    rows = await connection.fetch("select * from actiond.history where action_id = $1 order by id", id_)
    return [dict(row) for row in rows]


async def run_row(connection: asyncpg.Connection, run_id: int) -> dict[str, Any]:
    """The record of a run."""
    return dict(await connection.fetchrow("select * from actiond.run where id = $1", run_id))


async def blocked(connection: asyncpg.Connection) -> bool:
    """Does a session of this database wait for a lock?"""
    return await connection.fetchval(
        "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')"
    )
