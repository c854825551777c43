"""Rows as stories need them: asked for, waited for, read back; and the one clock, moved."""

from __future__ import annotations

import json
from typing import Any

import asyncpg

from support.database import PATIENCE_S, eventually


async def ask(conn: asyncpg.Connection, processor: str, *payloads: Any, **columns: Any) -> list[int]:
    """Insert an action for each payload (none: one, with an empty payload), in one statement; gives the ids."""
    names = "".join(f", {name}" for name in columns)
    values = "".join(f", ${place}" for place in range(3, 3 + len(columns)))
    rows = await conn.fetch(
        f"insert into actiond.action (processor, data{names})"
        f" select $1, p.data::jsonb{values} from unnest($2::text[]) with ordinality as p (data, place) order by p.place"
        " returning id",
        processor,
        [json.dumps(payload) for payload in payloads or ({},)],
        *columns.values(),
    )
    return [row["id"] for row in rows]


async def until(
    conn: asyncpg.Connection, ids: list[int], *statuses: str, within_s: float = PATIENCE_S
) -> list[asyncpg.Record]:
    """Wait until every one of these has one of the statuses (`running` is one); gives the rows in id order."""

    async def there() -> bool:
        return not await conn.fetchval(
            "select exists (select from actiond.action_list"
            " where id = any($1::bigint[]) and status <> all($2::text[]))",
            ids,
            list(statuses),
        )

    try:
        await eventually(there, within_s=within_s)
    except AssertionError:
        rows = [tuple(row) for row in await look(conn, ids) if row["status"] not in statuses]
        said = f"{len(rows)} of {len(ids)} not {' or '.join(statuses)} after {within_s:g} s"
        raise AssertionError("\n".join([f"{said}:", *map(str, rows[:10])])) from None
    return await look(conn, ids)


async def look(conn: asyncpg.Connection, ids: list[int]) -> list[asyncpg.Record]:
    """The rows, in id order."""
    return await conn.fetch(
        "select id, status, attempts, retries_left, crashes, error, result::text as result, daemon, run_id"
        " from actiond.action_list where id = any($1::bigint[]) order by id",
        ids,
    )


async def events(conn: asyncpg.Connection, id_: int) -> list[str]:
    """What history says of one action, in order."""
    rows = await conn.fetch("select event from actiond.history where action_id = $1 order by id", id_)
    return [row["event"] for row in rows]


async def nothing_claimed(conn: asyncpg.Connection) -> bool:
    """No row is claimed and no run is open."""
    claimed: int = await conn.fetchval(
        "select (select count(*) from actiond.action where claimed_by <> 0)"
        " + (select count(*) from actiond.run where finished_at is null)"
    )
    return claimed == 0


async def completed_once(conn: asyncpg.Connection, ids: list[int]) -> None:
    """Assert it, for processors whose history keeps everything: one completion a row, the row's own."""
    rows = await conn.fetch(
        "select a.id, a.status, (select count(*) from actiond.history h where h.action_id = a.id"
        " and h.event = 'completed') as times from actiond.action a where a.id = any($1::bigint[])",
        ids,
    )
    assert [tuple(row) for row in rows if row["status"] != "completed" or row["times"] != 1] == []
    assert len(rows) == len(ids)


async def move_clock(conn: asyncpg.Connection, ahead: str) -> None:
    """The one clock of this database goes ahead by that much."""
    await conn.execute(
        "create or replace function actiond.now() returns timestamptz language sql volatile"
        f" as $$ select pg_catalog.clock_timestamp() + interval '{ahead}' $$"
    )
