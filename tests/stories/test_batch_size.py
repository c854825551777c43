"""batch_size="auto" on a real daemon: it grows while all is well, and shrinks when batches become slow."""

from __future__ import annotations

import asyncpg
import pytest

from support.command import actiond
from support.database import Database
from support.rows import ask, until

pytestmark = pytest.mark.slow

WORK = """
@batch_processor("tuned", batch_size="auto", timeout="2 s")  # slow from 0.2 s on
async def tuned(batch):
    if any(action.data == "slow" for action in batch):
        await asyncio.sleep(0.006 * len(batch))
    batch.complete()
"""


async def sizes(conn: asyncpg.Connection) -> list[int]:
    """Rows of each run, in order."""
    return [row[0] for row in await conn.fetch("select cardinality(actions) from actiond.run order by id")]


async def test_it_grows_and_shrinks(conn: asyncpg.Connection, db: Database, start, processor_file) -> None:
    daemon = await start(db.dsn, processor_file(WORK)).ready()
    await until(conn, await ask(conn, "tuned", *["quick"] * 3000), "completed")
    grown = max(await sizes(conn))
    assert (await sizes(conn))[0] == 50
    assert grown >= 125
    before = len(await sizes(conn))
    await until(conn, await ask(conn, "tuned", *["slow"] * 2000), "completed")
    line = await daemon.says("batch_size_changed", processor="tuned", reason="slow")
    assert line["rows"] == int(line["was"] * 2 / 3)
    assert min((await sizes(conn))[before:-1]) < grown


async def test_a_number_of_an_operator_counts_more(
    conn: asyncpg.Connection, db: Database, start, processor_file
) -> None:
    await start(db.dsn, processor_file(WORK)).ready()
    shown = await actiond("processors", "tuned", "--json", dsn=db.dsn)
    assert '"auto"' in shown.out
    assert (await actiond("set", "tuned", "batch_size", "7", dsn=db.dsn)).code == 0
    await until(conn, await ask(conn, "tuned", *["quick"] * 100), "completed")
    assert max(await sizes(conn)) == 7
    refused = await actiond("set", "tuned", "batch_size", "auto", dsn=db.dsn)
    assert refused.code == 2
    assert "an override is a number" in refused.err
