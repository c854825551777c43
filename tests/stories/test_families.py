"""A parent fans out, waits, and runs again when the last of its children has ended: exactly once."""

from __future__ import annotations

import pytest

from support.database import eventually
from support.rows import ask, events, until

pytestmark = pytest.mark.slow

WORK = """
import asyncpg
from actiond import enqueue, enqueue_many


@processor("fan_out")
async def fan_out(action):
    if action.state is None:
        connection = await asyncpg.connect(os.environ["ACTIOND_DSN"])
        children = await enqueue_many(connection, "child", [{"number": n} for n in range(action.data["children"])])
        await connection.close()
        return action.wait_for_children(state={"children": len(children)})
    with open(action.data["path"], "a") as file:
        file.write(f"{action.id}\\n")
    return action.state


@processor("child", retries=5, retry_interval="0.05 s", concurrency=20)
async def child(action):
    number = action.data["number"]
    await asyncio.sleep(0.002)
    if number % 7 == 0 and action.attempt == 1:
        raise ValueError("again")
    if number % 11 == 0:
        raise Failure("never", SUDDEN_DEATH)
    if number % 13 == 0:
        return action.cancel("not needed")


@batch_processor("in_transaction")
async def in_transaction(batch):
    async with batch.transaction() as connection:
        for action in batch:
            if action.state is None:
                await enqueue(connection, "child", {"number": 1}, parent=action.id)
                action.wait_for_children(state=1)
            else:
                action.complete("after its child")
"""


async def test_a_parent_runs_again_once_after_the_last_of_many_children(
    db, conn, start, processor_file, tmp_path
) -> None:
    """Two daemons; one is killed and replaced in the middle."""
    path, file = tmp_path / "second_runs", processor_file(WORK)
    doomed, _ = await start(db.dsn, file).ready(), await start(db.dsn, file).ready()
    parents = await ask(conn, "fan_out", *[{"children": 400, "path": str(path)}] * 5)
    children = "select count(*) from actiond.action where parent_id = any($1::bigint[])"

    async def in_the_middle() -> bool:
        return await conn.fetchval(f"{children} and status = 'completed'", parents) >= 300

    await eventually(in_the_middle)
    doomed.kill()
    await start(db.dsn, file).ready()
    rows = await until(conn, parents, "completed")
    assert [row["result"] for row in rows] == ['{"children": 400}'] * 5
    assert sorted(map(int, path.read_text().split())) == parents
    late = "select count(*) from actiond.action p join actiond.action c on c.parent_id = p.id"
    assert await conn.fetchval(f"{late} where c.finished_at > p.started_at") == 0
    for parent in parents:  # one that was killed between its two steps fanned out again
        assert await conn.fetchval(children, [parent]) % 400 == 0


async def test_children_and_the_waiting_may_commit_in_one_transaction(db, conn, start, processor_file) -> None:
    await start(db.dsn, processor_file(WORK)).ready()
    ids = await ask(conn, "in_transaction", {}, {})
    rows = await until(conn, ids, "completed")
    assert [row["result"] for row in rows] == ['"after its child"'] * 2
    assert "held" in await events(conn, ids[0])
    assert await conn.fetchval("select count(*) from actiond.action where parent_id is not null") == 2
