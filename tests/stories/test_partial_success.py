"""One bad row among many: through execute_each and through isolation, on a real daemon, by the price that was named.

The daemon of this file lives through all of it. A proxy before the server counts what travels.
"""

from __future__ import annotations

import asyncio
import json
import signal
import textwrap
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from pure.test_bisect import most_tries
from support.daemon import Daemon, daemons
from support.database import Database, Server, eventually
from support.impatient import IMPATIENT
from support.proxy import running_proxy
from support.rows import ask, events, look, nothing_claimed, until
from support.sources import USUAL_IMPORTS
from support.work import blocked

pytestmark = pytest.mark.slow

HANDLERS = """
import json

INSERT = "insert into public.book (action, amount) values ($1, $2)"
MANY = dict(batch_size=512, retries=0)


@batch_processor("each", **MANY)
async def each(batch):
    await batch.execute_each(INSERT, lambda action: (action.id, action.data))


@batch_processor("sums", isolate=True, idempotent=True, **MANY)
async def sums(batch):
    sum(action.data for action in batch)
    batch.complete()


@batch_processor("sums_in_thread", isolate=True, idempotent=True, **MANY)
def sums_in_thread(batch):
    sum(action.data for action in batch)
    batch.complete()


@batch_processor("books", isolate=True, transactional=True, **MANY)
async def books(batch):
    async with batch.transaction() as conn:
        for action in batch:
            await conn.execute(INSERT, action.id, action.data)
            action.complete("written")


class OutOfStock(LookupError):
    pass


RAISES = {"ValueError": ValueError("no such number"), "OutOfStock": OutOfStock("none left"), "OSError": OSError("busy"),
          "KeyError": KeyError("n"), "Failure": Failure("says itself", KEEP_ALIVE, after="1 h")}


@processor("dies", retries=1, retry_interval="1 h", dead_on=(ValueError, LookupError))
async def dies(action):
    raise RAISES[action.data]


@processor("retries", retries=1, retry_interval="1 h", retry_on=(OSError, OutOfStock))
async def retries(action):
    raise RAISES[action.data]


@batch_processor("fails_each", retries=1, retry_interval="1 h", dead_on=ValueError)
async def fails_each(batch):
    for action in batch:
        action.fail(RAISES[action.data])


@processor("backs_off", retries=4, retry_interval="0.1 s", backoff="exponential")
async def backs_off(action):
    raise ValueError
"""

SEVEN = {3, 4, 100, 101, 300, 444, 511}


@pytest.fixture(scope="module")
def db(server: Server, template: str) -> Iterator[Database]:
    with server.kept(template) as database:
        yield database


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("partial_success") / "handlers.py"
    path.write_text(USUAL_IMPORTS + textwrap.dedent(HANDLERS))
    return path


@pytest.fixture(scope="module")
def daemon(db: Database, file: Path) -> Iterator[Daemon]:
    with daemons() as start:
        yield asyncio.run(start(db.dsn, file).ready())


@pytest.fixture(autouse=True)
async def book(conn: asyncpg.Connection) -> AsyncIterator[None]:
    await conn.execute("create table public.book (action bigint primary key, amount int check (amount > 0))")
    yield
    await conn.execute("drop table public.book")


async def written(conn: asyncpg.Connection) -> list[int]:
    return [row["action"] for row in await conn.fetch("select action from public.book order by 1")]


@pytest.mark.slow
@pytest.mark.parametrize("bad", [{77}, SEVEN], ids=len)
async def test_execute_each_fails_exactly_the_bad_ones_of_512(server, template, start, file, bad: set[int]) -> None:
    async with server.fresh(template) as db, running_proxy(db.dsn) as proxy:
        conn = await db.connect()
        await conn.execute("create table public.book (action bigint primary key, amount int check (amount > 0))")
        ids = await ask(conn, "each", *[-place if place in bad else 1 for place in range(512)])
        daemon = await start(proxy.dsn, file).ready()
        rows = await until(conn, ids, "completed", "failed")
        failed = [place for place, row in enumerate(rows) if row["status"] == "failed"]
        assert failed == sorted(bad)
        for place in bad:
            assert 'violates check constraint "book_amount_check"' in rows[place]["error"]
            assert f"({ids[place]}, {-place})" in rows[place]["error"]
        assert await written(conn) == [id_ for place, id_ in enumerate(ids) if place not in bad]
        details = await conn.fetch("select detail from actiond.history")
        assert sorted(row["detail"] for row in details) == sorted(rows[place]["error"] for place in bad)
        assert {row["attempts"] for row in rows} == {1}
        assert proxy.executed["BEGIN;"] <= most_tries(512, len(bad))
        [run] = await conn.fetch("select completed, failed, fenced from actiond.run")
        assert tuple(run) == (512 - len(bad), len(bad), 0)
        daemon.signal(signal.SIGTERM)
        assert await daemon.ends() == 0
        await conn.close()


@pytest.mark.parametrize("bad", [{77}, SEVEN], ids=len)
@pytest.mark.parametrize("processor", ["sums", "sums_in_thread"])
async def test_isolation_charges_exactly_the_bad_ones_of_512(conn, daemon, processor, bad: set[int]) -> None:
    before = len(daemon.heard("batch_isolated", processor=processor))
    ids = await ask(conn, processor, *[[place] if place in bad else place for place in range(512)])
    rows = await until(conn, ids, "completed", "failed")
    assert [place for place, row in enumerate(rows) if row["status"] == "failed"] == sorted(bad)
    assert {rows[place]["error"] for place in bad} == {"TypeError: unsupported operand type(s) for +: 'int' and 'list'"}
    assert {row["attempts"] for row in rows} == {1}
    assert await events(conn, ids[0]) == []
    line = await daemon.says("batch_isolated", times=before + 1, processor=processor)
    assert (line["actions"], line["culprits"], line["undecided"]) == (512, len(bad), 0)
    assert line["calls"] <= most_tries(512, len(bad))
    assert line["error"].startswith("TypeError")
    detail = await conn.fetchval("select detail from actiond.history where action_id = $1", ids[min(bad)])
    assert "in sums" in detail  # the frames of the handler


async def test_isolation_of_a_handler_that_writes_in_transactions_writes_each_row_once(conn, daemon) -> None:
    ids = await ask(conn, "books", 1, 2, -3, 4, "no number", 6)
    rows = await until(conn, ids, "completed", "failed")
    assert [row["status"] for row in rows] == ["completed", "completed", "failed", "completed", "failed", "completed"]
    assert "book_amount_check" in rows[2]["error"]
    assert "'no number'" in rows[4]["error"]
    assert await written(conn) == [ids[place] for place in (0, 1, 3, 5)]
    assert {row["result"] for row in rows if row["status"] == "completed"} == {'"written"'}
    line = await daemon.says("batch_isolated", processor="books")
    assert line["calls"] <= most_tries(6, 2)


KILLED = """
@batch_processor("each", batch_size=64, retries=0, history="all")
async def each(batch):
    await batch.execute_each("insert into public.book (action, amount) values ($1, $2)", lambda a: (a.id, a.data))
"""


async def test_a_daemon_killed_in_the_middle_of_execute_each_leaves_no_half_outcome(
    server, template, start, processor_file
) -> None:
    async with server.fresh(template) as db:
        conn = await db.connect()
        await conn.execute(
            "create table public.book (action bigint primary key, amount int check (amount > 0));"
            "create function public.wait() returns trigger language plpgsql as $$ begin if new.amount = 4711 then"
            " perform pg_advisory_xact_lock_shared(4711); end if; return new; end $$;"
            "create trigger wait before insert on public.book for each row execute function public.wait()"
        )
        await conn.execute("select pg_advisory_lock(4711)")
        file = processor_file(IMPATIENT + KILLED)
        # The first one is bad, so the search accepts most of the first half before it comes to the one that waits.
        ids = await ask(conn, "each", -1, *range(1, 62), 4711, 63)
        first = await start(db.dsn, file).ready()
        await eventually(lambda: blocked(conn))
        first.signal(signal.SIGKILL)
        await first.ends()
        await eventually(lambda: _no_handler(conn))
        done = [row["id"] for row in await look(conn, ids) if row["status"] == "completed"]
        assert 0 < len(done) < 62
        assert await written(conn) == done
        assert {row["status"] for row in await look(conn, ids) if row["id"] not in done} == {"running"}
        await conn.execute("select pg_advisory_unlock(4711)")
        second = await start(db.dsn, file).ready()
        rows = await until(conn, ids, "completed", "failed")
        assert [row["id"] for row in rows if row["status"] == "failed"] == ids[:1]
        assert await written(conn) == ids[1:]
        assert {row["attempts"] for row in rows if row["id"] in done} == {1}
        times = await conn.fetch(
            "select count(*) as n from actiond.history where event = 'completed' group by action_id"
        )
        assert [row["n"] for row in times] == [1] * 63
        await eventually(lambda: nothing_claimed(conn))
        second.signal(signal.SIGTERM)
        assert await second.ends() == 0
        await conn.close()


async def _no_handler(conn: asyncpg.Connection) -> bool:
    """The server has noticed that the client of the open transaction is gone."""
    return await conn.fetchval(
        "select not exists (select from pg_stat_activity where datname = current_database()"
        " and application_name = 'actiond handler')"
    )


STOPPED = """
@batch_processor("stops", batch_size=8, retries=0, isolate=True, idempotent=True)
async def stops(batch):
    if any(action.data == "bad" for action in batch):
        if len(batch) == 1:
            next(iter(batch)).log.info("alone")
        while len(batch) == 1 and not os.path.exists(batch.config["go"]):
            await asyncio.sleep(0.01)
        raise ValueError("one is bad")
    batch.complete()
"""


@pytest.mark.slow
async def test_a_daemon_that_stops_in_the_middle_of_isolation_keeps_what_is_decided_and_charges_nobody(
    server, template, start, processor_file, tmp_path
) -> None:
    async with server.fresh(template) as db:
        conn = await db.connect()
        go = tmp_path / "go"
        await conn.execute(
            "insert into actiond.processor (name, config) values ('stops', $1::text::jsonb)",
            json.dumps({"go": str(go)}),
        )
        ids = await ask(conn, "stops", 1, 2, 3, 4, 5, "bad", 7, 8)
        file, env = processor_file(IMPATIENT + STOPPED), {"ACTIOND_DRAIN_S": "0.2"}
        first = await start(db.dsn, file, env=env).ready()
        await first.says("alone")
        first.signal(signal.SIGTERM)
        assert await first.ends() == 0
        rows = await look(conn, ids)
        assert [row["status"] for row in rows[:5]] == ["completed"] * 5
        assert [row["status"] for row in rows[5:]] == ["pending"] * 3
        assert {row["retries_left"] for row in rows} == {None}
        go.touch()
        second = await start(db.dsn, file, env=env).ready()
        rows = await until(conn, ids, "completed", "failed")
        assert [row["id"] for row in rows if row["status"] == "failed"] == [ids[5]]
        assert rows[5]["error"] == "ValueError: one is bad"
        second.signal(signal.SIGTERM)
        assert await second.ends() == 0
        await conn.close()


async def test_the_class_of_an_error_says_whether_it_is_the_last(conn, daemon) -> None:
    ids = await ask(conn, "dies", "ValueError", "OutOfStock", "OSError", "Failure")
    await eventually(lambda: _all_ran(conn, ids))
    rows = await look(conn, ids)
    assert [row["status"] for row in rows] == ["failed", "failed", "pending", "pending"]
    assert [row["retries_left"] for row in rows] == [None, None, 0, None]
    assert rows[1]["error"] == "OutOfStock: none left"

    ids = await ask(conn, "retries", "OSError", "OutOfStock", "KeyError", "ValueError", "Failure")
    await eventually(lambda: _all_ran(conn, ids))
    rows = await look(conn, ids)
    assert [row["status"] for row in rows] == ["pending", "pending", "failed", "failed", "pending"]
    assert [row["retries_left"] for row in rows] == [0, 0, None, None, None]


async def _all_ran(conn: asyncpg.Connection, ids: list[int]) -> bool:
    return all(row["attempts"] == 1 and row["daemon"] is None for row in await look(conn, ids))


async def test_an_exception_given_to_fail_costs_the_same(conn, daemon) -> None:
    ids = await ask(conn, "fails_each", "ValueError", "OSError")
    await eventually(lambda: _all_ran(conn, ids))
    assert [row["status"] for row in await look(conn, ids)] == ["failed", "pending"]


async def test_a_retry_with_backoff_is_never_early(conn, daemon) -> None:
    ids = await ask(conn, "backs_off", *range(10))
    await until(conn, ids, "failed")
    waits = await conn.fetch(
        "select h.action_id, row_number() over (partition by h.action_id order by h.id) as n,"
        " (select min(r.started_at) from actiond.run r where h.action_id = any(r.actions) and r.id > h.run_id) - h.at"
        " as waited from actiond.history h where h.action_id = any($1::bigint[]) and h.event = 'retried'",
        ids,
    )
    assert len(waits) == 40
    assert [row for row in waits if row["waited"].total_seconds() < 0.1 * 2 ** (row["n"] - 1)] == []


async def test_the_daemon_of_this_file_lived_through_it_all(daemon, conn) -> None:
    assert daemon.process.poll() is None
    assert [line for line in daemon.lines if line["event"] is None] == []
