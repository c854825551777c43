"""Daemons die; their rows do not."""

from __future__ import annotations

import signal

from support.database import eventually

SLOW = """
@batch_processor("slow", batch_size=5)
async def slow(batch):
    marker = batch.config.get("marker")
    with open(marker, "a") as file:
        for action in batch:
            file.write(f"{action.id}\\n")
    if len(open(marker).readlines()) <= 5:   # the first batch never ends
        await asyncio.sleep(600)
    batch.complete()
"""


async def test_rows_of_a_killed_daemon_are_run_by_another_one(db, conn, start, processor_file, tmp_path) -> None:
    marker = tmp_path / "ran"
    await conn.execute(
        "insert into actiond.processor (name, config) values ('slow', jsonb_build_object('marker', $1::text))",
        str(marker),
    )
    first = await start(db.dsn, processor_file(SLOW)).ready()
    await conn.execute("insert into actiond.action (processor) select 'slow' from generate_series(1, 5)")
    await eventually(lambda: marker.exists() and len(marker.read_text().split()) == 5)
    second = await start(db.dsn, processor_file(SLOW)).ready()
    first.signal(signal.SIGKILL)
    await second.says("rows_rescued", rows=5)
    await eventually(lambda: _completed(conn, 5))
    rows = await conn.fetch("select status, attempts, crashes, claimed_by from actiond.action")
    assert {tuple(row) for row in rows} == {("completed", 2, 1, 0)}
    assert await conn.fetchval("select count(*) from actiond.history where event = 'crashed'") == 5
    assert await conn.fetchval("select ended from actiond.daemon order by id limit 1") == "died"
    assert await conn.fetchval("select count(*) from actiond.run where finished_at is null") == 0


async def _completed(conn, many: int) -> bool:
    return await conn.fetchval("select count(*) from actiond.action where status = 'completed'") == many
