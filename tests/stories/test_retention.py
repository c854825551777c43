"""Old rows by commands and a real daemon: asked before anything goes, gone at the next walk, told in the log."""

from __future__ import annotations

import signal

import asyncpg
import pytest

from support.command import actiond
from support.database import Database
from support.rows import ask, until

pytestmark = pytest.mark.slow

WORK = """
@processor("welcome")
async def welcome(action):
    return action.data


@processor("kept")
async def kept(action):
    return action.data
"""
YEARS_LATER = """
update actiond.action set created_at = created_at - interval '3 years', finished_at = finished_at - interval '3 years'
"""


async def test_what_is_older_goes_when_somebody_has_said_so_twice(
    conn: asyncpg.Connection, db: Database, start, processor_file
) -> None:
    running = start(db.dsn, processor_file(WORK))
    await until(conn, await ask(conn, "welcome", *range(5)), "completed")
    await until(conn, kept := await ask(conn, "kept", *range(2)), "completed")
    await conn.execute("set session_replication_role = replica")
    await conn.execute(YEARS_LATER)
    asked = ("set", "welcome", "retention_completed", "700 d")
    refused = await actiond(*asked, dsn=db.dsn, stdin="n\n")
    assert refused.code == 130
    assert "5 actions of welcome are older and will be deleted. Go on?" in refused.err
    assert await conn.fetchval("select retention_completed is null from actiond.processor where name = 'welcome'")
    done = await actiond(*asked, dsn=db.dsn, stdin="y\n")
    assert done.code == 0, done.err
    assert "undo: actiond set welcome retention_completed --unset" in done.out
    running.signal(signal.SIGTERM)
    assert await running.ends() == 0
    await conn.execute("update actiond.purge set due_at = '-infinity'")
    another = start(db.dsn, processor_file(WORK))
    line = await another.says("old_rows_deleted")
    assert line["actions"] == 5
    assert [row["id"] for row in await conn.fetch("select id from actiond.action order by id")] == kept


async def test_nobody_is_asked_where_nothing_goes(conn: asyncpg.Connection, db: Database) -> None:
    await conn.execute("insert into actiond.processor (name) values ('welcome')")
    done = await actiond("set", "welcome", "retention_failed", "30 d", dsn=db.dsn)
    assert done.code == 0, done.err
    wrong = await actiond("set", "welcome", "retention_failed", "0 s", dsn=db.dsn)
    assert "it cannot be nothing" in wrong.err
