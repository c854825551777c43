"""Behind the real PgBouncer: claims through it with a direct way for presence, and a daemon that only polls."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest

from support.command import actiond
from support.daemon import Daemon
from support.database import eventually
from support.impatient import IMPATIENT
from support.pooler import Pooler, running_pooler
from support.proxy import running_proxy
from support.rows import ask, completed_once, events, look, nothing_claimed, until

pytestmark = pytest.mark.slow

WORK = """
@processor("one", history="all", concurrency=5, batch_size=20)
async def one(action):
    await asyncio.sleep(0.003)
    return action.run_id


@batch_processor("many", history="all", batch_size=20, concurrency=2, retries=1, retry_interval="0.1 s")
async def many(batch):
    await asyncio.sleep(0.005)
    for action in batch:
        if action.data == "fail":
            action.fail("no", SUDDEN_DEATH)
        elif action.data == "retry" and action.attempt == 1:
            action.fail("not yet")
        elif action.data == "defer" and action.state is None:
            action.defer("0.1 s", state=1)
        elif action.data == "cancel":
            action.cancel("not wanted")
        else:
            action.complete()


@processor("limited", history="all", concurrency=5, batch_size=20, global_concurrency=3)
async def limited(action):
    await asyncio.sleep(0.003)


@batch_processor("books", history="all")
async def books(batch):
    async with batch.transaction() as conn:
        for action in batch:
            await conn.execute("insert into public.book values ($1)", action.id)
            action.complete()


@processor("endless")
async def endless(action):
    action.log.info("begun")
    await asyncio.sleep(0 if action.attempt > 1 else 600)
"""


@pytest.fixture
async def pooler(db) -> AsyncIterator[Pooler]:
    async with running_pooler(db) as pooler:
        yield pooler


async def whole_life(conn, *ways: str) -> None:
    """Every outcome, a transaction, a limit; through daemons that run."""
    await conn.execute("create table public.book (action bigint)")
    ids = [*await ask(conn, "one", *[{}] * 200), *await ask(conn, "limited", *[{}] * 40)]
    ids += await ask(conn, "books", *[{}] * 40)
    ends = {"complete": "completed", "fail": "failed", "retry": "completed", "defer": "completed", "cancel": "canceled"}
    marked = {mark: (await ask(conn, "many", mark))[0] for mark in ends}
    await until(conn, ids, "completed")
    await completed_once(conn, ids)
    for mark, id_ in marked.items():
        await until(conn, [id_], ends[mark])
    assert await events(conn, marked["retry"]) == ["retried", "completed"]
    assert await events(conn, marked["defer"]) == ["deferred", "completed"]
    assert await conn.fetchval("select count(*) = 40 and count(distinct action) = 40 from public.book")
    await eventually(lambda: nothing_claimed(conn))


async def test_claims_go_through_it_and_presence_around_it(db, conn, start, processor_file, pooler) -> None:
    env = {"ACTIOND_LISTEN_DSN": db.dsn}
    daemons = [await start(pooler.dsn, processor_file(WORK), env=env).ready() for _ in range(2)]
    line = await daemons[0].says("claim_mode")
    assert (line["mode"], line["reason"]) == ("listen", "claims: a pooler in transaction mode; presence: direct")
    await whole_life(conn)
    for daemon in daemons:
        assert daemon.heard("connection_lost") == daemon.heard("listener_lost") == []
    await daemons[0].says("doorbell_armed")


async def test_a_daemon_that_is_killed_behind_it_is_found_by_its_lock(db, conn, start, processor_file, pooler) -> None:
    env = {"ACTIOND_LISTEN_DSN": db.dsn}
    first = await start(pooler.dsn, processor_file(WORK), env=env).ready()
    [id_] = await ask(conn, "endless")
    await first.says("begun")
    second = await start(pooler.dsn, processor_file(WORK), env=env).ready()
    first.kill()
    await until(conn, [id_], "completed", within_s=10)  # a lease is 30 s
    await second.says("rows_rescued", rows=1)
    assert (await look(conn, [id_]))[0]["crashes"] == 1


async def test_a_daemon_may_only_poll_through_it(conn, start, processor_file, pooler) -> None:
    env = {"ACTIOND_LISTEN": "false", "ACTIOND_POLL_INTERVAL_S": "0.2", "ACTIOND_LEASE_S": "3"}
    first = await start(pooler.dsn, processor_file(WORK), env=env).ready()
    line = await first.says("claim_mode")
    assert line["mode"] == "poll"
    assert line["reason"] == (
        "ACTIOND_LISTEN is off; claims: a pooler in transaction mode; presence: a pooler in transaction mode;"
        " no liveness lock, so a death is found after 3 s"
    )
    await whole_life(conn)
    assert await conn.fetchval("select count(*) from pg_locks where classid = actiond.lock_class('daemon')::oid") == 0
    [id_] = await ask(conn, "endless")
    await first.says("begun")
    second = await start(pooler.dsn, processor_file(WORK), env=env).ready()
    first.kill()
    await until(conn, [id_], "completed")
    await second.says("rows_rescued", rows=1)
    second.signal(signal.SIGTERM)
    assert await second.ends() == 0


async def test_listening_through_it_is_refused_in_a_line_that_says_what_to_do(db, pooler, processor_file) -> None:
    file = str(processor_file(WORK))
    said = await actiond("run", "--processors", file, "--log-level", "error", dsn=pooler.dsn)
    assert said.code == 2
    assert said.line.startswith("actiond: ACTIOND_DSN leads through a pooler in transaction mode")
    assert "ACTIOND_LISTEN_DSN" in said.line
    assert "ACTIOND_LISTEN=false" in said.line
    said = await actiond(
        "run", "--processors", file, "--log-level", "error", dsn=db.dsn, env={"ACTIOND_LISTEN_DSN": pooler.dsn}
    )
    assert said.code == 2
    assert said.line.startswith("actiond: ACTIOND_LISTEN_DSN leads through a pooler in transaction mode")


async def test_in_session_mode_everything_goes_through_it(db, conn, start, processor_file) -> None:
    async with running_pooler(db, mode="session", size=20) as pooler:
        daemon = await start(pooler.dsn, processor_file(WORK), env={"ACTIOND_POLL_INTERVAL_S": "3600"}).ready()
        line = await daemon.says("claim_mode")
        assert line["reason"] == "claims: a pooler in session mode; presence: a pooler in session mode"
        await daemon.says("doorbell_armed", processor="one")
        await until(conn, await ask(conn, "one"), "completed", within_s=2)
        daemon.signal(signal.SIGTERM)
        assert await daemon.ends() == 0


async def test_it_may_go_away_and_come_back(db, conn, start, processor_file, pooler) -> None:
    daemon = await start(pooler.dsn, processor_file(IMPATIENT + WORK), env={"ACTIOND_LISTEN_DSN": db.dsn}).ready()
    ids = await ask(conn, "one", *[{}] * 500)
    await until(conn, ids[:1], "completed", "running")
    await asyncio.to_thread(pooler.stop)
    ids += await ask(conn, "many", *[{}] * 50)
    await daemon.says("connection_lost")
    await pooler.start()
    await until(conn, ids, "completed")
    await completed_once(conn, ids)
    await eventually(lambda: nothing_claimed(conn))
    assert await conn.fetchval("select count(*) from actiond.daemon") == 1


@pytest.mark.parametrize("after", [False, True], ids=["before_its_commit", "after_its_commit"])
async def test_the_answer_of_a_step_may_be_lost_behind_it(db, conn, start, processor_file, pooler, after) -> None:
    async with running_proxy(pooler.dsn) as proxy:
        daemon: Daemon = await start(proxy.dsn, processor_file(WORK), env={"ACTIOND_LISTEN_DSN": db.dsn}).ready()
        ids: list[int] = []
        for _ in range(4):
            proxy.cut_at("-- step:", after=after)
            ids += await ask(conn, "one", *[{}] * 30)
            await eventually(lambda: not proxy.armed)
        await until(conn, ids, "completed", within_s=5)
        await completed_once(conn, ids)
        await daemon.says("answer_recovered")
        await eventually(lambda: nothing_claimed(conn))


async def test_commands_go_through_it(pooler) -> None:
    for command in ("status", "ls", "check", "status"):
        said = await actiond(command, "--json", dsn=pooler.dsn)
        assert said.code == 0, said.err


async def test_migrations_go_around_it(db, conn, pooler) -> None:
    await conn.execute("delete from actiond.migration where version = 0")
    said = await actiond("migrate", dsn=pooler.dsn, env={"ACTIOND_LISTEN_DSN": db.dsn})
    assert said.out == "applied functions\n"
    assert await conn.fetchval("select count(*) from pg_locks where locktype = 'advisory'") == 0
