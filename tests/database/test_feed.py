"""The feed: each outcome once and none missed, however transactions commit, and whenever the reader comes back."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from typing import Any

import asyncpg
import pytest

from actiond.loops.outcome_loop import OutcomeLoop
from actiond.loops.world import World
from actiond.postgres import feed
from actiond.postgres.action_store import Parcel
from actiond.postgres.feed_store import FeedStore
from actiond.postgres.statements import Statements, sql_folder
from actiond.words.claimed import Settlement
from support.database import eventually
from support.feeding import Reader, held_open, wrote
from support.work import claim, insert, outcomes, settle


@pytest.fixture
def reader() -> Reader:
    return Reader()


async def once_each(conn: asyncpg.Connection, reader: Reader) -> None:
    """Assert that it was given exactly what is in history."""
    stored = [row["id"] for row in await conn.fetch("select id from actiond.history order by id")]
    assert [entry for entry, times in Counter(reader.entries).items() if times > 1] == []
    assert sorted(reader.entries) == stored


# Whatever commits late


async def test_what_commits_late_is_neither_missed_nor_waited_for(db, conn, reader) -> None:
    async with held_open(db, 1) as late:
        await wrote(conn, 2)
        assert await reader.read(conn) == [2]
        await wrote(conn, 3)
        assert await reader.read(conn) == [3]
        assert await reader.read(conn) == []
        await late.execute("commit")
    assert await reader.read(conn) == [1]
    await wrote(conn, 4)
    assert await reader.read(conn) == [4]
    await once_each(conn, reader)


async def test_the_late_outcome_of_a_daemon(db, conn, store, reader) -> None:
    """The same by the real statement, in a transaction as that of a handler, with retries between."""
    await insert(conn, 2)
    (first,) = outcomes(await claim(store, 1), "retried", noted=True)
    (second,) = outcomes(await claim(store, 1), "retried", noted=True)
    async with held_open(db) as late:
        assert await store.settle_within(late, Parcel([first])) == []
        await settle(store, [second])
        assert await reader.read(conn) == [second.id]
        again = await claim(store)
        assert [row.id for row in again.rows] == [second.id]
        await settle(store, outcomes(again, noted=True))
        assert await reader.read(conn) == [second.id]
        await late.execute("commit")
    assert await reader.read(conn) == [first.id]
    assert [(entry.action_id, entry.outcome, entry.attempt) for entry in reader.seen] == [
        (second.id, "retried", 1),
        (second.id, "completed", 2),
        (first.id, "retried", 1),
    ]
    await once_each(conn, reader)


async def test_what_is_rolled_back_never_happened(db, conn, reader) -> None:
    async with held_open(db, 1) as undone:
        await undone.execute("savepoint s")
        await wrote(undone, 2)
        await wrote(conn, 3)
        assert await reader.read(conn) == [3]
        await undone.execute("rollback")
    assert await reader.read(conn) == []
    async with held_open(db, 4) as partly:
        await partly.execute("savepoint s")
        await wrote(partly, 5)
        await partly.execute("rollback to s")
        await partly.execute("savepoint t")
        await wrote(partly, 6)
        await partly.execute("release t")
        assert await reader.read(conn) == []
        await partly.execute("commit")
    assert await reader.read(conn) == [4, 6]
    await once_each(conn, reader)


async def test_many_late_ones_end_in_any_order(db, conn, reader) -> None:
    """Twelve transactions overlap as they like; some roll back. Pages of three, and a look between any two ends."""
    reader.page, dice = 3, random.Random(7)
    open_: list[asyncpg.Connection] = []
    for number in range(12):
        late = await db.connect()
        await late.execute("begin")
        await wrote(late, *range(number * 10, number * 10 + dice.randint(1, 9)))
        open_.append(late)
    dice.shuffle(open_)
    for place, late in enumerate(open_):
        await late.execute("rollback" if place % 4 == 3 else "commit")
        await late.close()
        await wrote(conn, 1000 + place)
        await reader.read(conn, at_most=dice.choice((1, 2, 5, None)))
    await reader.read(conn)
    await once_each(conn, reader)


@pytest.mark.slow
async def test_many_writers_and_a_reader_that_dies_all_the_time(db, conn) -> None:
    """Ten writers at once, in transactions of all sizes, a third of them rolled back; the reader has a new connection,
    and what it had kept, after every few entries."""
    reader, writing = Reader(page=50), 10

    async def write(number: int) -> None:
        nonlocal writing
        dice, mine = random.Random(number), await db.connect()
        for _ in range(60):
            await mine.execute("begin")
            for _ in range(dice.randint(1, 4)):
                await wrote(mine, *range(dice.randint(1, 20)))
            await mine.execute(dice.choice(("commit", "commit", "rollback")))
        await mine.close()
        writing -= 1

    async def read() -> None:
        dice, ended = random.Random(99), False
        while not ended:
            ended = writing == 0  # asked before: then a last time, for all of it
            mine = await db.connect()
            await reader.read(mine, at_most=None if ended else dice.choice((1, 7, 60, 200)))
            mine.terminate()

    await asyncio.gather(read(), *map(write, range(writing)))
    assert len(reader.seen) > 2_000
    await once_each(conn, reader)


# Positions


async def test_every_position_gives_exactly_the_rest(db, conn) -> None:
    """Also in the middle of a page that was written by transactions open before, and while more comes."""
    before = Reader()
    async with held_open(db, 1, 2, 3) as one, held_open(db, 4, 5) as other:
        await wrote(conn, 6, 7)
        await before.read(conn)
        await wrote(conn, 8, 9)
        await one.execute("commit")
        whole = Reader(position=before.position)
        assert await whole.read(conn) == [1, 2, 3, 8, 9]
        await other.execute("commit")
        await wrote(conn, 10)
    for place, entry in enumerate(whole.seen, 1):
        for page in (1, 2, 1_000):
            rest = Reader(page, entry.position)
            await rest.read(conn)
            assert rest.entries[: 5 - place] == whole.entries[place:], (place, page)
            assert sorted(entry.action_id for entry in rest.seen[5 - place :]) == [4, 5, 10], (place, page)


async def test_from_now_on(db, conn) -> None:
    await wrote(conn, 1)
    async with held_open(db, 2) as late:
        reader = Reader(position=await feed.position(conn))
        assert await reader.read(conn) == []
        await late.execute("commit")
    assert await reader.read(conn) == [2]


async def test_own_outcomes_are_read_once_they_are_committed(db, conn, reader) -> None:
    """A transaction that reads the feed may write outcomes before and after: its position knows neither."""
    await wrote(conn, 1)
    async with held_open(db, 2) as own:
        await wrote(conn, 4)  # a later transaction that has ended: by numbers alone, our own would seem to have, too
        assert await reader.read(own) == [1, 4]
        await wrote(own, 3)
        assert await reader.read(own) == []
        await own.execute("commit")
    assert await reader.read(conn) == [2, 3]
    await once_each(conn, reader)


async def test_a_reader_that_keeps_its_position_in_its_own_table(db, conn) -> None:
    """Locked, read, moved on in one transaction: others that commit late do not hold it up."""
    await conn.execute("create table reader (position text); insert into reader values ('')")
    async with held_open(db, 1) as late, held_open(db) as mine:
        await wrote(conn, 2)
        reader = Reader(position=await mine.fetchval("select position from reader for update"))
        assert await reader.read(mine) == [2]
        await mine.execute("update reader set position = $1", reader.position)
        await mine.execute("commit")
        await late.execute("commit")
    assert await Reader(position=await conn.fetchval("select position from reader")).read(conn) == [1]


async def test_an_old_snapshot_gives_nothing_twice(db, conn, reader) -> None:
    """Given to a server that is behind, or here to a transaction that is, a position does not go back."""
    async with held_open(db) as old:
        await old.execute("rollback; begin isolation level repeatable read; select count(*) from actiond.history")
        async with held_open(db, 1) as late:
            await wrote(conn, 2, 3)
            reader.page = 1
            assert await reader.read(conn, at_most=1) == [2]
            in_the_past = Reader(position=reader.position)
            assert await in_the_past.read(old) == []
            assert await reader.read(conn) == [3]
            assert await Reader(position=reader.position).read(old) == []
            await late.execute("commit")
        assert await reader.read(conn) == [1]


async def test_a_position_does_not_forget_what_the_server_does_not_know_yet(db, conn) -> None:
    """On a replica that is behind one may be given what was late, and has had what is not there yet. Here the position
    says so of three committed entries, and an old snapshot is the replica."""
    for action in (1, 2):
        await wrote(conn, action)
    async with held_open(db) as behind:
        await behind.execute("rollback; begin isolation level repeatable read; select count(*) from actiond.history")
        await wrote(conn, 3)
        first, last = await conn.fetchrow("select min(xid::text::bigint), max(xid::text::bigint) from actiond.history")
        reader = Reader(position=f"{first}:{last + 1}:{first}")
        assert await reader.read(behind) == [1]
    assert await reader.read(conn) == []


@pytest.mark.parametrize(
    ("a", "b", "either"),
    [
        ("3:3:", "10:12:10", "10:12:10"),
        ("10:20:10,15", "12:20:15,18", "15:20:15"),
        ("10:20:10,15", "30:30:", "30:30:"),
        ("10:20:10,15", "12:12:", "15:20:15"),
        ("10:20:10", "15:25:15,22", "22:25:22"),
        ("10:20:10,15", "10:30:10,15,25", "10:30:10,15,25"),
    ],
)
async def test_either_snapshot_knows_what_one_of_them_knows(conn, a: str, b: str, either: str) -> None:
    query = "select actiond.either_snapshot($1::text::pg_snapshot, $2::text::pg_snapshot)::text"
    assert await conn.fetchval(query, a, b) == await conn.fetchval(query, b, a) == either
    differ = await conn.fetchval(
        "select count(*) from generate_series(3, 40) as n cross join lateral (select n::text::xid8 as x) i"
        " where pg_visible_in_snapshot(x, $3::text::pg_snapshot) is distinct from"
        " (pg_visible_in_snapshot(x, $1::text::pg_snapshot) or pg_visible_in_snapshot(x, $2::text::pg_snapshot))",
        a,
        b,
        either,
    )
    assert differ == 0


@pytest.mark.parametrize("wrong", ["yesterday", "7", "3:3:/3:3:", "3:3:/3:3:/x/1", "3:3:/3:3:/1/99999999999999999999"])
async def test_what_is_no_position_is_refused_with_what_to_do(conn, wrong: str) -> None:
    with pytest.raises(asyncpg.PostgresError, match="is no position of the feed") as refused:
        await Reader(position=wrong).read(conn)
    assert (refused.value.sqlstate, "outcomes_position" in refused.value.hint) == ("AC003", True)


@pytest.mark.parametrize("most", [0, 10_001, None])
async def test_a_page_has_bounds(conn, most: int | None) -> None:
    with pytest.raises(asyncpg.PostgresError, match="most is 1 to 10000"):
        await conn.fetch("select * from actiond.outcomes_since('', $1)", most)


async def test_a_position_of_the_future_is_refused_and_not_waited_for(conn) -> None:
    """Else a reader would silently get nothing after a backup was restored."""
    with pytest.raises(asyncpg.PostgresError, match="from a future that this database does not know"):
        await Reader(position="99999999:99999999:").read(conn)


# What is in it


async def test_outcomes_of_actions_and_nothing_else(conn, store, reader) -> None:
    (failed, canceled, retried) = await insert(conn, 3)
    answer = await claim(store)
    by_id = {settlement.id: settlement for settlement in outcomes(answer, "failed", noted=True, detail="no " * 999)}
    await settle(store, [by_id[failed], *outcomes(answer, "retried", noted=True)[2:]])
    await conn.execute("select actiond.cancel(array[$1::bigint], 'not needed')", canceled)
    await conn.execute("select actiond.hold(array[$1::bigint])", retried)
    await conn.execute("insert into actiond.processor (name) values ('p')")
    await conn.execute("update actiond.processor set enabled = false")
    await reader.read(conn)
    assert [(entry.action_id, entry.outcome, entry.processor) for entry in reader.seen] == [
        (failed, "failed", "p"),
        (retried, "retried", "p"),
        (canceled, "canceled", "p"),
    ]
    assert reader.seen[0].detail == ("no " * 999)[:1000]
    assert reader.seen[0].run_id == answer.run_id
    await conn.execute("delete from actiond.action where id = $1", failed)
    assert [entry.processor async for entry in feed.outcomes(conn)] == [None, "p", "p"]


async def test_entries_from_before_the_migration_are_in_it(conn, reader) -> None:
    """They count as written by it: one transaction that has ended."""
    await wrote(conn, 1, 2)
    await conn.execute("alter table actiond.history drop column xid cascade")
    text = (sql_folder() / "migrations" / "0007_feed.sql").read_text()
    await conn.execute(text[text.index("alter table") :])
    assert await reader.read(conn) == [1, 2]


async def test_missing_says_whose_outcomes_are_not_kept(conn) -> None:
    await conn.execute(
        "insert into actiond.processor (name, history, declared) values ('a', null, '{\"history\": \"changes\"}'),"
        " ('b', 'none', '{}'), ('c', 'all', '{}')"
    )
    assert await feed.missing(conn) == {"a": "changes", "b": "none"}
    assert await feed.missing(conn, "b") == {"b": "none"}
    assert await feed.missing(conn, "c") == {}


async def test_a_reader_sees_outcomes_and_not_their_errors(peopled) -> None:
    async with peopled.connected("reader") as conn:
        (entry,) = [entry async for entry in feed.outcomes(conn)]
        assert (entry.action_id, entry.processor, entry.outcome, entry.detail) == (3, "p", "failed", "(hidden)")
        assert await feed.position(conn)
        await feed.missing(conn)


# However much there is


async def pages_of(conn: asyncpg.Connection, position: str | None, most: int) -> int:
    """Blocks that one call looks at, once its plans are made."""
    explain = "explain (analyze, buffers, format json, timing off) select * from actiond.outcomes_since($1, $2)"
    for _ in range(7):  # plpgsql settles for a plan after some calls
        plan = json.loads(await conn.fetchval(explain, position, most))[0]["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


@pytest.mark.slow
async def test_a_page_costs_the_same_after_any_number_of_entries(db, conn) -> None:
    await conn.execute("alter table actiond.history set (autovacuum_enabled = off)")
    async with held_open(db, 1) as late:
        for first in range(0, 200_000, 50_000):
            await wrote(conn, *range(first, first + 50_000))
        position = await feed.position(conn)
        await conn.execute(
            "insert into actiond.history (action_id, event) select n, 'rescheduled' from generate_series(1, 50000) n"
        )
        await late.execute("commit")
    middle = (await conn.fetch("select position from actiond.outcomes_since('', 10000)"))[-1]["position"]
    for statistics in (False, True):
        if statistics:
            await conn.execute("analyze actiond.history")
        assert await pages_of(conn, None, 10) < 300
        assert await pages_of(conn, middle, 10) < 300
        assert await pages_of(conn, position, 1_000) < 300  # 50,000 entries that are no outcomes, and the late one
    assert [row["action_id"] for row in await conn.fetch(Statements()["outcomes_since"], position, 1_000)] == [1]


# Who listens


@pytest.fixture
async def heard(db) -> Any:
    """What came on the channel so far: payloads."""
    conn, payloads = await db.connect(), list[str]()
    await conn.add_listener(feed.CHANNEL, lambda *said: payloads.append(str(said[-1])))
    yield payloads
    await conn.close()


@pytest.fixture
async def loop(pool) -> Any:
    """The loop of a daemon, at work."""
    loop = OutcomeLoop(FeedStore(pool, Statements()), World())
    task = asyncio.create_task(loop.run())
    yield loop
    task.cancel()


LANDED = [Settlement(1, 1, "failed", noted=True)]


async def test_while_nobody_wants_notifications_none_is_sent(loop, heard) -> None:
    loop.landed(LANDED)
    loop._world.notify_outcomes = True
    loop.landed([Settlement(1, 1, "completed")])  # not kept, so there is nothing new to read
    assert not loop.bell._rung.is_set()
    loop.landed(LANDED)
    await eventually(lambda: heard)
    assert (heard, loop.steps) == ([""], 1)


async def test_outcomes_that_come_together_share_a_notification(loop, heard) -> None:
    loop._world.notify_outcomes = True
    for _ in range(1_000):
        loop.landed(LANDED)
    await eventually(lambda: heard)
    loop.landed(LANDED)
    loop.landed(LANDED)
    await eventually(lambda: len(heard) == 2)
    assert loop.steps == 2


async def test_who_follows_is_woken_by_a_notification(db, conn) -> None:
    listening = await db.connect()
    following = feed.outcomes(listening, follow=True, poll="10 min")
    nothing_yet = asyncio.ensure_future(anext(following))
    try:
        await eventually(lambda: _waits(conn, listening))
        await wrote(conn, 7)
        assert not nothing_yet.done()
        await conn.execute(Statements()["notify_outcomes"])
        await eventually(nothing_yet.done)
        assert nothing_yet.result().action_id == 7
    finally:
        nothing_yet.cancel()
        await asyncio.wait([nothing_yet])
        await following.aclose()
    assert await listening.fetchval("select count(*) from pg_listening_channels()") == 0
    await listening.close()


async def _waits(conn: asyncpg.Connection, listening: asyncpg.Connection) -> bool:
    """Has this session asked for outcomes and got none?"""
    said = await conn.fetchrow("select state, query from pg_stat_activity where pid = $1", listening.get_server_pid())
    return said["state"] == "idle" and "outcomes_since" in said["query"]


async def test_who_follows_looks_without_notifications_too(db, conn) -> None:
    following = feed.outcomes(conn, follow=True, poll="10 ms")
    writer = await db.connect()
    nothing_yet = asyncio.ensure_future(anext(following))
    try:
        await wrote(writer, 7)
        await eventually(nothing_yet.done)
        assert nothing_yet.result().action_id == 7
    finally:
        nothing_yet.cancel()
        await asyncio.wait([nothing_yet])
        await following.aclose()
        await writer.close()
