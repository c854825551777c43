"""A whole life with the roles of deploy/roles.sql: a daemon that is no more than that, and a producer who only asks."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from support.command import actiond
from support.database import eventually
from support.roles import Peopled, peopled_database
from support.rows import events, nothing_claimed, until

pytestmark = pytest.mark.slow

WORK = """
@batch_processor("many", retries=1, retry_interval="0.1 s", history="all")
async def many(batch):
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
            action.complete({"done": True})


@batch_processor("books")
async def books(batch):
    async with batch.transaction() as conn:
        for action in batch:
            await conn.execute("insert into public.book values ($1)", action.id)
            await conn.execute("select actiond.enqueue('limited')")
            action.complete()


@processor("limited", global_concurrency=1)
async def limited(action): ...


@processor("nightly", run_on_insert=False)
async def nightly(action): ...


@processor("endless")
async def endless(action):
    action.log.info("begun")
    while action.attempt == 1 and not action.withdrawn:
        await asyncio.sleep(0.02)
    action.log.info("ended")
"""


@pytest.fixture
def peopled(server, template) -> Iterator[Peopled]:
    with peopled_database(server, template) as peopled:
        yield peopled


@pytest.fixture
async def conn(peopled) -> AsyncIterator[asyncpg.Connection]:
    """The superuser looks."""
    async with peopled.connected("postgres") as conn:
        await conn.execute(
            "create table public.book (action bigint); grant insert on public.book to test_daemon;"
            "create function public.double(related text, data jsonb) returns jsonb language sql"
            " as $$ select to_jsonb((data::text)::int * 2) $$;"
            "insert into actiond.processor (name, uses, config) values"
            """ ('double', 'sql_function', '{"function": "public.double"}')"""
        )
        yield conn


async def asked(producer: asyncpg.Connection, processor: str, data: str = "{}") -> int:
    return await producer.fetchval(
        "insert into actiond.action (processor, data) values ($1, $2) returning id", processor, data
    )


async def test_claims_outcomes_policies_wakes_and_the_doorbell(peopled, conn, start, processor_file) -> None:
    daemon = await start(peopled.dsn("daemon"), processor_file(WORK), env={"ACTIOND_POLL_INTERVAL_S": "3600"}).ready()
    async with peopled.connected("producer") as producer, peopled.connected("operator") as operator:
        for processor in ("many", "books", "limited", "endless"):
            await daemon.says("doorbell_armed", processor=processor)
        ends = {"fail": "failed", "retry": "completed", "defer": "completed", "cancel": "canceled", "x": "completed"}
        marked = {mark: await asked(producer, "many", f'"{mark}"') for mark in ends}
        for mark, id_ in marked.items():
            await until(conn, [id_], ends[mark])
        [booked] = await until(conn, [await asked(producer, "books")], "completed")
        assert await conn.fetchval("select action from public.book") == booked["id"]
        [followed] = await conn.fetch("select id, created_by from actiond.action where processor = 'limited'")
        assert followed["created_by"] == "test_daemon"
        await until(conn, [followed["id"]], "completed")
        [double] = await until(conn, [await asked(producer, "double", "21")], "completed")
        assert double["result"] == "42"

        night = await asked(producer, "nightly")
        await operator.execute("select actiond.wake('nightly')")
        await until(conn, [night], "completed")
        await operator.execute("update actiond.processor set batch_size = 5 where name = 'many'")
        await daemon.says("processor_policy_changed", knob="batch_size", after=5)

        running = await asked(producer, "endless")
        await daemon.says("begun", action_id=running)
        await operator.execute("update actiond.action set status = 'canceled' where id = $1", running)
        await daemon.says("ended", action_id=running)
        await daemon.says("outcomes_fenced")
        await eventually(lambda: _has(conn, running, ["canceled", "fenced"]))
        assert await conn.fetchval(
            "select by from actiond.history where event = 'canceled' order by id desc limit 1"
        ) == ("test_operator")
    assert daemon.heard("connection_lost") == []
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends() == 0
    assert await nothing_claimed(conn)


async def _has(conn: asyncpg.Connection, id_: int, expected: list[str]) -> bool:
    return await events(conn, id_) == expected


async def test_rescue(peopled, conn, start, processor_file) -> None:
    first = await start(peopled.dsn("daemon"), processor_file(WORK)).ready()
    async with peopled.connected("producer") as producer:
        id_ = await asked(producer, "endless")
    await first.says("begun")
    second = await start(peopled.dsn("daemon"), processor_file(WORK)).ready()
    first.kill()
    await second.says("rows_rescued", rows=1)
    await until(conn, [id_], "completed")
    await eventually(lambda: conn.fetchval("select ended = 'died' from actiond.daemon order by id limit 1"))


FORGED = [
    '{"edition": 1, "made": 0, "last": null}',
    '{"filled": true, "made": 1}',
    '{"filled": true, "over": true, "made": 1}',
]


async def test_who_may_only_insert_runs_no_plan(peopled, conn, start, processor_file) -> None:
    await conn.execute(
        "insert into actiond.plan (name, source, processor) values ('next', 'select 1 as n', 'limited');"
        "insert into actiond.plan (name, source, processor, then_plan, then_on)"
        " values ('all', 'select 1 as n', 'limited', 'next', 'always')"
    )
    await start(peopled.dsn("daemon"), processor_file(WORK)).ready()
    async with peopled.connected("producer") as producer, peopled.connected("operator") as operator:
        wrong = [
            await producer.fetchval(
                "insert into actiond.action (processor, data, state)"
                " values ('actiond.plan', '{\"plan\": \"all\"}', $1) returning id",
                state,
            )
            for state in (None, *FORGED)
        ]
        for row in await until(conn, wrong, "failed"):
            assert row["error"].startswith("role test_producer may not run plans. grant update (enabled)")
        assert await conn.fetchval("select count(*) from actiond.action where id <> all ($1)", wrong) == 0
        await until(conn, [await operator.fetchval("select actiond.plan_run('all')")], "completed")
        after = "select id from actiond.action where processor = 'actiond.plan' and data ->> 'plan' = 'next'"
        (followed,) = await eventually(lambda: conn.fetch(after))  # the daemon asks for it
        await until(conn, [followed["id"]], "completed")


async def test_what_strangers_send_costs_time_and_nothing_else(peopled, conn, start, processor_file) -> None:
    daemon = await start(peopled.dsn("daemon"), processor_file(WORK)).ready()
    async with peopled.connected("stranger") as stranger, peopled.connected("producer") as producer:
        running = await asked(producer, "endless")
        line = await daemon.says("begun", action_id=running)
        id_, run_id = await conn.fetchrow("select claimed_by, run_id from actiond.action where id = $1", running)
        await stranger.execute(f"notify actiond_withdrawn, '{id_} {run_id} {running}'")
        flood = [
            "select pg_notify('actiond_wake', 'many,' || n) from generate_series(1, 3000) n",
            "select pg_notify('actiond_wake', repeat('x', 7000) || n) from generate_series(1, 100) n",
            "select pg_notify('actiond_withdrawn', n || ' ' || n || ' -1') from generate_series(1, 3000) n",
            "select pg_notify('actiond_policy', n::text) from generate_series(1, 3000) n",
        ]
        for each in flood * 3:
            await stranger.execute(each)
            await until(conn, [await asked(producer, "many", '"x"')], "completed")
        # It takes every lock that daemons use, too; one that the daemon holds, as soon as work makes it let go.
        locks = "select pg_advisory_lock(c, hashtext('actiond.many')) from generate_series(1633907713, 1633907714) c"
        taking = asyncio.create_task(stranger.execute(locks))
        while not taking.done():
            await until(conn, [await asked(producer, "many", '"x"')], "completed")
        await until(conn, [await asked(producer, "many", '"x"')], "completed")
    assert daemon.heard("ended") == [], "a stranger made a handler believe that it was withdrawn"
    assert daemon.process.poll() is None
    assert line


async def test_commands_as_each_role(peopled, conn, start, processor_file) -> None:
    await start(peopled.dsn("daemon"), processor_file(WORK)).ready()
    async with peopled.connected("producer") as producer:
        failed = await asked(producer, "many", '"fail"')
    await until(conn, [failed], "failed")
    each = str(failed)
    looking = [("status",), ("ls",), ("show", each), ("explain", each), ("processors",), ("schedule", "ls")]
    looking += [(word,) for word in ("failures", "errors", "stuck", "stats", "history")]
    looking += [("stats", "--hours"), ("stats", "--retries"), ("history", each), ("top", "--once")]
    later = str(await conn.fetchval("select actiond.enqueue('many', '1', due_in => interval '1 day')"))
    deciding = [("retry", each), ("hold", later), ("release", later), ("cancel", later), ("release", later)]
    deciding += [("run-now", later)]
    deciding += [("cancel", "--processor", "many", "--yes"), ("retry", "--processor", "many", "--yes")]
    deciding += [("pause", "many"), ("resume", "many"), ("set", "many", "batch_size", "7"), ("pause", "--all")]
    deciding += [("resume", "--all"), ("schedule", "add", "n", "nightly", "--cron", "0 3 * * *")]
    deciding += [("schedule", "disable", "n"), ("schedule", "enable", "n"), ("schedule", "run-now", "n")]
    deciding += [("schedule", "rm", "n", "--yes")]
    commands: dict[str, list[tuple[str, ...]]] = {
        "reader": [*looking, ("check",)],
        "operator": [("show", each), ("check",), ("wake", "many"), *deciding],
        "daemon": [("status",), ("show", each)],
        "producer": [],
    }
    for who, allowed in commands.items():
        for command in allowed:
            said = await actiond(*command, dsn=peopled.dsn(who))
            assert said.code == 0, (who, command, said.err)
            if command[0] == "show":
                assert ("(hidden)" in said.out) is (who == "reader")
    said = await actiond("status", dsn=peopled.dsn("producer"))
    assert said.code == 1
    assert said.line.startswith("actiond: this role may not do that")
