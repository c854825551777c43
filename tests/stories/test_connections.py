"""Connections break at the worst of moments; every row still runs, and none is completed twice.

History of level `all` is the witness: one completion for each row, however often an answer was lost.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time

import asyncpg
import pytest

from actiond.host.private_postgres import PrivatePostgres
from actiond.postgres.migrate import migrate
from support.database import eventually, memory
from support.impatient import IMPATIENT
from support.proxy import running_proxy
from support.rows import ask, completed_once, look, nothing_claimed, until

pytestmark = pytest.mark.slow

WORK = """
@processor("one", history="all", concurrency=5, batch_size=20)
async def one(action):
    await asyncio.sleep(0.003)
    return action.run_id


@batch_processor("many", history="all", batch_size=20, concurrency=2)
async def many(batch):
    await asyncio.sleep(0.005)
    batch.complete()


@processor("limited", history="all", concurrency=5, batch_size=20, global_concurrency=3)
async def limited(action):
    await asyncio.sleep(0.003)
"""

BOOKS = """
@batch_processor("books", history="all", retry_interval="0.1 s")
async def books(batch):
    async with batch.transaction() as conn:
        for action in batch:
            await conn.execute("insert into public.book values ($1)", action.id)
            action.complete()
"""


@pytest.fixture
async def proxy(db):
    async with running_proxy(db.dsn) as proxy:
        yield proxy


async def _all_done(conn: asyncpg.Connection, ids: list[int]) -> bool:
    return not await conn.fetchval(
        "select exists (select from actiond.action where id = any($1::bigint[]) and status <> 'completed')", ids
    )


@pytest.mark.parametrize("after", [False, True], ids=["before_its_commit", "after_its_commit"])
@pytest.mark.parametrize("processor", ["one", "many", "limited"])
async def test_the_answer_of_a_step_may_be_lost(conn, start, processor_file, proxy, processor, after) -> None:
    daemon = await start(proxy.dsn, processor_file(WORK)).ready()
    ids: list[int] = []
    for _ in range(6):
        proxy.cut_at("-- step:", after=after)
        ids += await ask(conn, processor, *[{}] * 30)
        await eventually(lambda: not proxy.armed)
    await until(conn, ids, "completed")
    assert proxy.cuts == 6
    await completed_once(conn, ids)
    assert {row["attempts"] for row in await look(conn, ids)} == {1}
    assert len(daemon.heard("answer_recovered")) > 0
    await eventually(lambda: nothing_claimed(conn))
    assert await conn.fetchval("select sum(fenced) from actiond.run") == 0


async def test_a_claim_whose_answer_is_lost_while_the_daemon_stops_is_given_back(
    conn, start, processor_file, proxy
) -> None:
    daemon = await start(proxy.dsn, processor_file(WORK)).ready()
    await daemon.says("doorbell_armed", processor="many")
    proxy.cut_at("-- step:", after=True)
    ids = await ask(conn, "many", *[{}] * 20)
    await eventually(lambda: not proxy.armed)
    proxy.cut_at("-- void_run:", after=False, times=3)  # so that it takes a while to find out
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends() == 0
    assert await nothing_claimed(conn)
    assert {(row["status"], row["crashes"]) for row in await look(conn, ids)} <= {("pending", 0), ("completed", 0)}
    assert await conn.fetchval("select ended from actiond.daemon") == "stopped"


@pytest.mark.parametrize("after", [False, True], ids=["before_it", "after_it"])
async def test_the_answer_of_a_handlers_commit_may_be_lost(conn, start, processor_file, proxy, after) -> None:
    await conn.execute("create table public.book (action bigint)")
    await start(proxy.dsn, processor_file(BOOKS)).ready()
    for times in range(1, 4):
        proxy.cut_at("COMMIT", after=after)
        ids = await ask(conn, "books", {}, {}, {})
        await until(conn, ids, "completed")
        assert proxy.cuts == times
        await completed_once(conn, ids)
        assert {row["attempts"] for row in await look(conn, ids)} == {1 if after else 2}
    assert await conn.fetchval("select array_agg(action order by action) from public.book") == list(range(1, 10))
    await eventually(lambda: nothing_claimed(conn))


async def test_connections_may_end_after_any_byte(conn, start, processor_file, proxy) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    chance = random.Random(seed)
    await start(proxy.dsn, processor_file(WORK)).ready()
    ids: list[int] = []

    async def is_cut() -> bool:
        if await conn.fetchval("select count(*) from actiond.action where status = 'pending'") < 50:
            ids.extend(await ask(conn, chance.choice(["one", "many"]), *[{}] * chance.randrange(1, 30)))
        return not proxy.armed

    for _ in range(20):
        proxy.cut_in_bytes(chance.choice([1, 5, 50, 500, 2000, 5000, 20_000]) + chance.randrange(300))
        await eventually(is_cut)
    await until(conn, ids, "completed")
    await completed_once(conn, ids)
    await eventually(lambda: nothing_claimed(conn))
    assert await conn.fetchval("select count(*) from actiond.daemon") == 1


@pytest.mark.parametrize("which", ["actiond presence", "actiond work", "actiond%"])
async def test_the_server_may_end_any_connection(db, conn, start, processor_file, which) -> None:
    daemon = await start(db.dsn, processor_file(WORK), env={"ACTIOND_POLL_INTERVAL_S": "3600"}).ready()
    ids, ended = [], 0
    for _ in range(10):
        ids += await ask(conn, "one", *[{}] * 20)
        ids += await ask(conn, "many", *[{}] * 20)
        ended += await conn.fetchval(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity"
            " where application_name like $1 and datname = current_database()",
            which,
        )
        ids += await ask(conn, "one")
        await until(conn, ids, "completed")
    assert ended >= 5
    await completed_once(conn, ids)
    if which != "actiond work":
        await daemon.says("listener_restored")
        assert len(daemon.heard("listener_restored")) >= 1
    await daemon.says("doorbell_armed", processor="one")
    [last] = await ask(conn, "one")
    await until(conn, [last], "completed")
    assert await conn.fetchval("select count(*) from actiond.daemon") == 1
    assert daemon.process.poll() is None


async def test_a_storm_of_resets(conn, start, processor_file, proxy) -> None:
    daemon = await start(proxy.dsn, processor_file(WORK)).ready()
    ids: list[int] = []
    for _ in range(30):
        ids += await ask(conn, "one", *[{}] * 20)
        ids += await ask(conn, "many", *[{}] * 20)
        proxy.drop_all()
    proxy.refusing = True
    proxy.drop_all()
    ids += await ask(conn, "one", *[{}] * 20)
    await daemon.says("connection_lost")
    proxy.refusing = False
    await until(conn, ids, "completed")
    await completed_once(conn, ids)
    await eventually(lambda: nothing_claimed(conn))


async def test_a_listener_in_a_black_hole_is_found_out(db, conn, start, processor_file, proxy) -> None:
    env = {"ACTIOND_LISTEN_DSN": proxy.dsn, "ACTIOND_POLL_INTERVAL_S": "0.5"}
    daemon = await start(db.dsn, processor_file(IMPATIENT + WORK), env=env).ready()
    await daemon.says("doorbell_armed", processor="one")
    proxy.hole()
    ids = await ask(conn, "one", {}, {}, {})
    await until(conn, ids, "completed")
    await daemon.says("listener_lost")  # by a beat that nobody answered: the server itself would notice in hours
    proxy.heal()
    await daemon.says("listener_restored")
    ids = await ask(conn, "one", {}, {}, {})
    await until(conn, ids, "completed")
    assert await conn.fetchval("select count(*) from actiond.daemon") == 1


async def test_work_connections_in_a_black_hole_are_replaced(db, conn, start, processor_file, proxy) -> None:
    env = {"ACTIOND_LISTEN_DSN": db.dsn}
    daemon = await start(proxy.dsn, processor_file(IMPATIENT + WORK), env=env).ready()
    await daemon.says("doorbell_armed", processor="one")
    await daemon.says("doorbell_armed", processor="many")
    proxy.hole()
    ids = [*await ask(conn, "one", *[{}] * 30), *await ask(conn, "many", *[{}] * 30)]
    await daemon.says("wake_received", processors=["many"])
    proxy.heal()
    await until(conn, ids, "completed")
    await completed_once(conn, ids)
    await eventually(lambda: nothing_claimed(conn))


async def test_a_daemon_in_a_black_hole_can_still_be_stopped(conn, start, processor_file, proxy) -> None:
    daemon = await start(proxy.dsn, processor_file(IMPATIENT + WORK), env={"ACTIOND_DRAIN_S": "1"}).ready()
    await ask(conn, "one", *[{}] * 30)
    proxy.hole()
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends(within_s=20) in (0, 75)


@pytest.mark.parametrize("crash", [True, False], ids=["killed", "restarted"])
async def test_postgres_may_go_and_come_back(start, processor_file, crash) -> None:
    with PrivatePostgres(temporary_in=memory()) as server:
        dsn = server.dsn("postgres")
        await migrate(dsn)
        daemon = await start(dsn, processor_file(WORK)).ready()
        ids: list[int] = []
        for _ in range(2):
            conn = await asyncpg.connect(dsn)
            ids += await ask(conn, "one", *[{}] * 500)
            ids += await ask(conn, "many", *[{}] * 500)
            await until(conn, ids[-500:-499], "running", "completed")
            if crash:
                await asyncio.to_thread(server.kill)
                daemon.signal(signal.SIGHUP)
                await daemon.says("connection_lost")
                await asyncio.to_thread(server.start)
            else:
                await asyncio.to_thread(server.restart)
            accepts_s = time.monotonic()
            conn.terminate()
            conn = await asyncpg.connect(dsn)
            done = await _completed(conn)
            await eventually(lambda done=done, conn=conn: _more(conn, done))
            print(f"Postgres {'killed' if crash else 'restarted'}: first outcome {time.monotonic() - accepts_s:.2f} s")
            await until(conn, ids, "completed")
            await completed_once(conn, ids)
            assert await conn.fetchval("select count(*) from actiond.daemon") == 1
            await eventually(lambda conn=conn: nothing_claimed(conn))
            await conn.close()
        daemon.signal(signal.SIGTERM)
        assert await daemon.ends() == 0


async def _completed(conn: asyncpg.Connection) -> int:
    many: int = await conn.fetchval("select count(*) from actiond.action where status = 'completed'")
    return many


async def _more(conn: asyncpg.Connection, than: int) -> bool:
    return await _completed(conn) > than


async def test_a_daemon_whose_database_is_gone_ends_when_told_and_its_rows_are_rescued(start, processor_file) -> None:
    with PrivatePostgres(temporary_in=memory()) as server:
        dsn = server.dsn("postgres")
        await migrate(dsn)
        first = await start(dsn, processor_file(IMPATIENT + WORK), env={"ACTIOND_DRAIN_S": "1"}).ready()
        conn = await asyncpg.connect(dsn)
        ids = await ask(conn, "one", *[{}] * 1000)
        await until(conn, ids[:1], "completed")
        await asyncio.to_thread(server.kill)
        first.signal(signal.SIGTERM)
        assert await first.ends(within_s=20) in (0, 75)
        await asyncio.to_thread(server.start)
        await start(dsn, processor_file(IMPATIENT + WORK)).ready()
        conn.terminate()
        conn = await asyncpg.connect(dsn)
        await until(conn, ids, "completed")
        await completed_once(conn, ids)
        await eventually(lambda: nothing_claimed(conn))
        await conn.close()
