"""How long one row takes, from its INSERT to its stored outcome, on a daemon with nothing else to do."""

from __future__ import annotations

import statistics

from support.rows import ask, until

WORK = """
@processor("quick")
async def quick(action):
    return 1
"""


async def test_single_rows_are_done_one_after_the_other(db, conn, start, processor_file) -> None:
    daemon = await start(db.dsn, processor_file(WORK)).ready()
    ids = []
    for times in range(1, 21):
        await daemon.says("doorbell_armed", times=times, processor="quick")
        ids += await ask(conn, "quick")
        await until(conn, ids[-1:], "completed")
    took = await conn.fetch(
        "select extract(epoch from finished_at - created_at)::float8 * 1000 as ms from actiond.action"
        " where status = 'completed'"
    )
    assert len(took) == 20
    spread = sorted(row["ms"] for row in took)
    print(f"insert to outcome: median {statistics.median(spread):.1f} ms, longest {spread[-1]:.1f} ms")
