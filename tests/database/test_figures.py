"""Figures: each run counts exactly once, in the hour in which it ended, whoever folds and however late it ended."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import asyncpg
import pytest

from actiond.batch.run import bucket
from actiond.loops.clerks import FOLD_S, Clerk, of_figures
from actiond.postgres import figures
from actiond.postgres.action_store import EndedRun, Parcel
from actiond.postgres.connection import connect
from actiond.postgres.run_store import RunStore
from actiond.postgres.statements import Statements
from support.clock import set_now
from support.database import eventually
from support.work import claim, insert, outcome, pool_of, store_of

NOON = "2030-01-01 12:00:00+00"
DAY_S = 86400.0
_RUN = """
insert into actiond.run (id, processor, daemon, actions, started_at, finished_at, completed, failed, retried, waits,
                         times)
select nextval('actiond.run_id_seq'), $1, 1, array_fill(1, array[$3::int]), $2::timestamptz, $2::timestamptz, $3, $4,
       $5, $6, $7
"""
_RUNS_NOW = """
insert into actiond.run (id, processor, daemon, actions, started_at, finished_at, completed, waits)
select nextval('actiond.run_id_seq'), $1, 1, '{1}', n.at, n.at, 1, '{0,1}'
  from (select actiond.now() as at) n cross join generate_series(1, 2)
"""
_SUMS = "select sum(runs)::int as runs, sum(completed)::int as completed, sum(waits[2])::int as waits from {}"


async def ended(
    conn: asyncpg.Connection, processor: str = "p", ago: str = "1 h", completed: int = 1, failed: int = 0,
    retried: int = 0, waits: tuple[int, ...] | None = (0, 1), times: tuple[int, ...] | None = (0, 0, 0, 1),
) -> None:  # fmt: skip
    """A run that ended so long before now."""
    at = await conn.fetchval(f"select actiond.now() - interval '{ago}'")
    await conn.execute(_RUN, processor, at, completed, failed, retried, waits, times)


async def fold(pool: Any, runs: int = 1000) -> None:
    store = RunStore(pool, Statements(), runs)
    while await store.fold():
        pass


async def folded(conn: asyncpg.Connection) -> tuple[Any, ...]:
    return tuple(await conn.fetchrow(_SUMS.format("actiond.run_hour")))


async def all_told(conn: asyncpg.Connection) -> tuple[Any, ...]:
    return tuple(await conn.fetchrow(_SUMS.format("actiond.run_hours('-infinity')")))


@pytest.fixture
async def asker(db):
    connection = await connect(db.dsn)
    yield connection
    connection.terminate()


# Folding


async def test_a_run_counts_the_same_before_and_after_it_was_folded(conn, pool, asker) -> None:
    for ago in ("3 h", "2 h", "2 h", "1 min"):
        await ended(conn, ago=ago, completed=10)
    before = [await figures.stats(asker, DAY_S), await figures.throughput(asker, DAY_S)]
    assert await conn.fetchval("select count(*) from actiond.run_hour") == 0
    await fold(pool)
    assert await folded(conn) == await all_told(conn) == (4, 40, 4)
    assert [await figures.stats(asker, DAY_S), await figures.throughput(asker, DAY_S)] == before
    await ended(conn, ago="1 s", completed=5)
    await fold(pool)  # too young
    assert await folded(conn) == (4, 40, 4)
    assert await all_told(conn) == (5, 45, 5)


async def test_little_by_little_is_the_same_as_at_once(conn, pool) -> None:
    for number in range(20):
        await ended(conn, processor=f"p{number % 3}", ago=f"{number} h 1 min")
    await conn.execute(f"{_RUN} from generate_series(1, 10)", "tie", await _at(conn, "5 h"), 1, 0, 0, [0, 1], None)
    await fold(pool, runs=3)
    assert await folded(conn) == await all_told(conn) == (30, 30, 30)


async def _at(conn: asyncpg.Connection, ago: str) -> Any:
    return await conn.fetchval(f"select actiond.now() - interval '{ago}'")


async def test_several_daemons_fold_each_run_once_while_runs_end(conn, db) -> None:
    """Runs end now, and are folded up to now: only the transactions under way keep the mark back."""
    until = Statements()["fold_until"].replace("30 seconds", "0 seconds")
    async with pool_of(db, 6) as pool:
        over = asyncio.Event()

        async def end_some(processor: str) -> None:
            for _ in range(100):
                await pool.execute(_RUNS_NOW, processor)

        async def fold_all_the_time(store: RunStore) -> None:
            while not over.is_set():
                await store.fold()

        stores = [RunStore(pool, Statements().but(fold_until=until), 7) for _ in range(3)]
        folding = [asyncio.create_task(fold_all_the_time(store)) for store in stores]
        await asyncio.gather(*map(end_some, "pqr"))
        over.set()
        await asyncio.gather(*folding)
        assert await conn.fetchval("select count(*) from actiond.run_hour") > 0
        while await stores[0].fold():
            pass
        runs = await conn.fetchval("select count(*)::int from actiond.run")
        assert runs == 600
        assert await folded(conn) == await all_told(conn) == (runs, runs, runs)


async def test_no_run_is_passed_by_whose_commit_takes_long(conn, db, pool) -> None:
    async with pool_of(db, 1) as slow, slow.acquire() as late:
        transaction = late.transaction()
        await transaction.start()
        await ended(late, ago="0 s", completed=7)
        await ended(conn, ago="-1 s", completed=1)
        await set_now(conn, str(await _at(conn, "-1 h")))  # it takes an hour
        upto = await pool.fetchval(Statements()["fold_until"])
        assert upto <= await late.fetchval("select finished_at from actiond.run where completed = 7")
        await fold(pool)
        assert await conn.fetchval("select count(*) from actiond.run_hour") == 0
        await transaction.commit()
        await fold(pool)
        assert (await folded(conn))[1] == 8


async def test_who_cannot_have_the_mark_leaves_the_work_to_the_other(conn, db, pool) -> None:
    await ended(conn)
    other = await db.connect()
    async with other.transaction():
        await other.execute("select from actiond.fold for update")
        assert await RunStore(pool, Statements()).fold() is False
        assert await conn.fetchval("select count(*) from actiond.run_hour") == 0
    await other.close()
    await fold(pool)
    assert (await folded(conn))[0] == 1


async def test_a_run_belongs_to_the_hour_in_which_it_ended(conn, pool, asker) -> None:
    await set_now(conn, NOON)
    for ago in ("1 us", "1 h", "1 h 1 us"):
        await ended(conn, ago=ago)
    await fold(pool)
    assert [(row["hour"].hour, row["runs"]) for row in await figures.throughput(asker, DAY_S)] == [(10, 1), (11, 2)]
    await conn.execute("set timezone = 'Asia/Kolkata'")  # half an hour beside
    assert [row["hour"].minute for row in await conn.fetch("select hour from actiond.throughput")] == [0, 0]


async def test_void_runs_are_none(conn, pool, asker) -> None:
    await ended(conn, processor="(void)")
    await ended(conn)
    await fold(pool)
    assert [row["processor"] for row in await figures.stats(asker, DAY_S)] == ["p"]


async def test_the_loop_goes_on_at_once_while_there_is_more(conn, pool) -> None:
    for number in range(5):
        await ended(conn, ago=f"{number + 1} h")
    loop = of_figures(RunStore(pool, Statements(), 1))
    assert await loop.step() < 1
    await eventually(lambda: _until_it_rests(loop))
    assert (await folded(conn))[0] == 5


async def _until_it_rests(loop: Clerk) -> bool:
    return await loop.step() > FOLD_S / 2


async def test_the_loop_survives_a_database_that_is_away(conn, db) -> None:
    async with pool_of(db, 1) as pool:
        await conn.execute("alter table actiond.fold rename to away")
        assert await of_figures(RunStore(pool, Statements())).step() == FOLD_S


# What they say


async def test_what_a_daemon_did_is_what_the_figures_say(conn, pool, asker) -> None:
    await insert(conn, 10)
    store = store_of(pool)
    answer = await claim(store)
    kinds = ["completed"] * 6 + ["failed", "retried", "deferred", "canceled"]
    said = [outcome(row, answer.run_id, kind) for row, kind in zip(answer.rows, kinds, strict=True)]
    await store.step(Parcel(said, [EndedRun(answer.run_id, "{10}", "{0,0,4,6}")]), None)
    (row,) = await figures.stats(asker, DAY_S)
    assert {name: row[name] for name in ("runs", "completed", "failed", "canceled", "retried", "deferred")} == {
        "runs": 1, "completed": 6, "failed": 1, "canceled": 1, "retried": 1, "deferred": 1,
    }  # fmt: skip
    assert row["success"] == pytest.approx(6 / 7)
    assert (row["fenced"], row["returned"]) == (0, 0)
    assert row["wait_p95_s"] < 0.001
    assert 0.002 <= row["time_p50_s"] <= 0.008
    (hour,) = await conn.fetch("select * from actiond.throughput")
    assert (hour["processor"], hour["completed"], hour["deferred"]) == ("p", 6, 1)


async def test_only_what_ended_since_then_counts_and_only_of_that_processor(conn, pool, asker) -> None:
    await set_now(conn, NOON)
    for processor, ago in (("p", "30 min"), ("p", "23 h"), ("p", "25 h"), ("q", "1 h")):
        await ended(conn, processor=processor, ago=ago)
    for _ in ("before", "after"):
        assert {row["processor"]: row["runs"] for row in await figures.stats(asker, DAY_S)} == {"p": 2, "q": 1}
        assert {row["processor"]: row["runs"] for row in await figures.stats(asker, 3600.0)} == {"p": 1, "q": 1}
        assert {row["processor"]: row["runs"] for row in await figures.stats(asker, 2 * DAY_S, "p")} == {"p": 3}
        assert await figures.stats(asker, DAY_S, "r") == []
        assert sum(row["runs"] for row in await figures.throughput(asker, DAY_S, "q")) == 1
        assert await conn.fetchval("select sum(runs) from actiond.stats_processor") == 3
        await fold(pool)


async def test_no_success_is_told_of_what_never_ended(conn, asker) -> None:
    await ended(conn, completed=0, retried=3, waits=None, times=None)
    (row,) = await figures.stats(asker, DAY_S)
    assert (row["success"], row["wait_p50_s"], row["time_p95_s"]) == (None, None, None)


@pytest.mark.parametrize("amounts_s", [[0.0004], [0.0015], [0.1, 0.2, 0.3], [0.001] * 95 + [60.0] * 5, [3600.0, 1.0]])
@pytest.mark.parametrize("share", [0.5, 0.95])
async def test_a_quantile_is_right_to_within_a_factor_of_two(conn, amounts_s, share) -> None:
    buckets = [0] * 32
    for amount in amounts_s:
        buckets[bucket(amount)] += 1
    told = await conn.fetchval("select actiond.quantile_s($1, $2)", buckets, share)
    true = sorted(amounts_s)[math.ceil(share * len(amounts_s)) - 1]
    assert true / 2 <= told <= max(2 * true, 0.001)


async def test_retries_tell_after_which_attempt(conn, pool, asker) -> None:
    first, second = await insert(conn, 2)
    store = store_of(pool)
    for kinds in (("retried", "retried"), ("retried", "completed"), ("retried", None), ("completed", None)):
        answer = await claim(store)
        said = [
            outcome(row, answer.run_id, kind, noted=kind == "retried")
            for row, kind in zip(answer.rows, kinds, strict=False)
            if kind is not None
        ]
        await store.step(Parcel(said, [EndedRun(answer.run_id, "{1}", "{1}")]), None)
    await ended(conn, processor="clean", completed=3)
    (row,) = await figures.retries(asker, DAY_S)
    assert (row["processor"], row["attempts"], row["retried"]) == ("p", 6, 4)
    assert row["share"] == pytest.approx(4 / 6)
    assert (row["after_first"], row["after_second"], row["after_later"]) == (2, 1, 1)
    assert (row["most_attempts"], row["example"]) == (3, first)
    assert await figures.retries(asker, DAY_S, "clean") == []
    assert await conn.fetchval("select retried from actiond.stats_retries") == 4
    assert second != first
