"""Rows of dead daemons come back, and who is dead."""

from __future__ import annotations

import asyncio

import pytest

from actiond.loops.rescue_loop import RescueLoop
from actiond.postgres.action_store import EndedRun, Parcel
from actiond.postgres.presence import SILENCE_S
from actiond.postgres.statements import Statements
from support.clock import move_now
from support.work import (
    LEASE_S,
    claim,
    daemons_of,
    history,
    insert,
    look,
    outcome,
    outcomes,
    pool_of,
    register,
    run_row,
    settle,
    store_of,
)

LOCK_CLASS = "select actiond.lock_class('daemon')"
QUARANTINED = "quarantined: daemon died"


@pytest.fixture
async def victim(db, conn, pool):
    """The store of a daemon that has just died."""
    session = await db.connect()
    daemon = await register(session)
    await session.close()
    return store_of(pool, daemon)


async def rescue(pool, *daemons: int) -> None:
    """What a living daemon does once it was told of these."""
    loop = RescueLoop(daemons_of(pool), lambda: None)
    loop.found_dead(list(daemons))
    while await loop.step() == 0:
        pass


async def crashes(conn) -> list[int]:
    return [row["crashes"] for row in await conn.fetch("select crashes from actiond.action order by id")]


async def test_all_open_rows_of_a_dead_daemon_come_back_and_are_charged_a_crash(conn, pool, victim) -> None:
    ids = await insert(conn, 5)
    answer = await claim(victim)
    await settle(victim, [outcome(ids[0], answer.run_id), outcome(ids[1], answer.run_id, "retried", delay_s=60)])
    decided = [await look(conn, id_) for id_ in ids[:2]]
    await rescue(pool, victim.daemon)
    assert [await look(conn, id_) for id_ in ids[:2]] == decided
    fences = set()
    for id_ in ids[2:]:
        row = await look(conn, id_)
        assert (row["status"], row["claimed_by"], row["crashes"], row["attempts"]) == ("pending", 0, 1, 1)
        assert (row["error"], row["retries_left"], row["finished_at"]) == (None, None, None)
        fences.add(row["run_id"])
        (entry,) = await history(conn, id_)
        assert (entry["event"], entry["run_id"], entry["attempt"]) == ("crashed", answer.run_id, 1)
        assert entry["detail"] == f"daemon {victim.daemon} died"
    assert len(fences) == 3
    assert min(fences) > answer.run_id
    run = await run_row(conn, answer.run_id)
    assert (run["completed"], run["retried"], run["returned"], run["fenced"]) == (1, 1, 3, 0)
    assert run["finished_at"] is not None
    daemon = await conn.fetchrow("select ended, ended_at from actiond.daemon where id = $1", victim.daemon)
    assert (daemon["ended"], daemon["ended_at"] is not None) == ("died", True)


async def test_what_the_dead_daemon_still_says_of_a_rescued_row_is_fenced(conn, pool, victim) -> None:
    (id_,) = await insert(conn)
    answer = await claim(victim)
    await rescue(pool, victim.daemon)
    rescued = await look(conn, id_)
    late = outcomes(answer)
    assert (await settle(victim, late)).fenced == late
    assert await look(conn, id_) == rescued
    await claim(store_of(pool, 99))
    assert (await settle(victim, late)).fenced == late
    assert await victim.withdrawn([answer.run_id]) == [(answer.run_id, id_)]


async def test_if_there_are_suspects_only_they_are_blamed(conn, pool, victim) -> None:
    ids = await insert(conn, 6)
    await conn.execute("update actiond.action set crashes = 1 where id = any($1)", [ids[1]])
    runs = [await claim(victim, limit=2) for _ in range(4)]
    assert [[row.id for row in run.rows] for run in runs] == [[ids[0]], [ids[1]], ids[2:4], ids[4:]]
    await rescue(pool, victim.daemon)
    assert await crashes(conn) == [0, 2, 0, 0, 0, 0]
    assert await conn.fetchval("select count(*) from actiond.history where event = 'crashed'") == 6


async def test_a_suspect_that_was_decided_before_is_not_blamed_for_the_death(conn, pool, victim) -> None:
    first, second = await insert(conn, 2)
    await conn.execute("update actiond.action set crashes = 1 where id = $1", first)
    suspect = await claim(victim)
    await settle(victim, outcomes(suspect))
    await claim(victim)
    await rescue(pool, victim.daemon)
    assert await crashes(conn) == [1, 1]
    assert (await look(conn, second))["status"] == "pending"


async def test_the_third_crash_is_final_and_says_why(conn, pool, victim, db) -> None:
    (id_,) = await insert(conn)
    for number in (1, 2, 3):
        session = await db.connect()
        store = store_of(pool, await register(session))
        await session.close()
        answer = await claim(store)
        assert answer.rows[0].crashes == number - 1
        await rescue(pool, store.daemon)
    row = await look(conn, id_)
    assert (row["status"], row["error"], row["crashes"], row["attempts"]) == ("failed", QUARANTINED, 3, 3)
    assert (row["finished_at"] is not None, row["claimed_by"]) == (True, 0)
    told = [(entry["event"], entry["detail"]) for entry in await history(conn, id_)]
    assert [event for event, _ in told] == ["crashed", "crashed", "failed"]
    assert told[-1] == ("failed", QUARANTINED)
    assert (await claim(store_of(pool, 99))).rows == []


async def test_a_quarantined_row_that_is_retried_by_hand_runs_once_more(conn, pool, victim) -> None:
    (id_,) = await insert(conn)
    await conn.execute("update actiond.action set crashes = 2 where id = $1", id_)
    await claim(victim)
    await rescue(pool, victim.daemon)
    await conn.execute("update actiond.action set status = 'pending' where id = $1", id_)
    assert [row.id for row in (await claim(store_of(pool, 99))).rows] == [id_]


async def test_a_daemon_that_held_hundreds_of_runs_is_rescued_in_pages(conn, pool, victim) -> None:
    ids = await insert(conn, 250)
    while (await claim(victim, limit=1)).rows:
        pass
    assert len(await daemons_of(pool).open_runs(victim.daemon)) < 250
    await rescue(pool, victim.daemon)
    assert await crashes(conn) == [1] * 250
    assert [row.id for row in (await claim(store_of(pool, 99), limit=1)).rows] == ids[:1]
    assert await conn.fetchval("select count(*) from actiond.run where finished_at is null and daemon <> 99") == 0


async def test_a_suspect_beyond_the_first_page_is_still_the_only_one_to_blame(conn, pool, victim) -> None:
    ids = await insert(conn, 130)
    await conn.execute("update actiond.action set crashes = 1 where id = $1", ids[-1])
    while (await claim(victim, limit=1)).rows:
        pass
    await rescue(pool, victim.daemon)
    assert await crashes(conn) == [0] * 129 + [2]


async def test_a_rescue_that_was_cut_short_still_knows_whom_to_blame(conn, pool, victim) -> None:
    ids = await insert(conn, 3)
    await conn.execute("update actiond.action set crashes = 1 where id = $1", ids[0])
    for _ in ids:
        await claim(victim, limit=1)
    first = (await daemons_of(pool).open_runs(victim.daemon))[0]
    await daemons_of(pool).rescue(victim.daemon, first.id, True)
    await rescue(pool, victim.daemon)
    assert await crashes(conn) == [2, 0, 0]


async def test_several_rescuers_at_once_charge_each_row_once(conn, db, pool, victim) -> None:
    await insert(conn, 120)
    while (await claim(victim, limit=3)).rows:
        pass
    async with pool_of(db, size=3) as rescuers:
        await asyncio.gather(*(rescue(rescuers, victim.daemon) for _ in range(3)))
    assert await crashes(conn) == [1] * 120
    assert await conn.fetchval("select sum(returned) from actiond.run") == 120
    assert await conn.fetchval("select count(*) from actiond.history") == 120
    assert await conn.fetchval("select ended from actiond.daemon where id = $1", victim.daemon) == "died"


async def test_rows_of_several_processors_come_back_and_each_of_them_is_rung(conn, db, pool, victim) -> None:
    heard: list[str] = []
    listener = await db.connect()
    await listener.add_listener("actiond_wake", lambda *message: heard.append(message[3]))
    for name in ("a", "b"):
        await insert(conn, processor=name)
        await claim(victim, processor=name)
    await rescue(pool, victim.daemon)
    await listener.execute("select 1")
    assert heard == ["a,b"]
    await listener.close()


async def test_a_daemon_that_holds_a_run_has_not_ended(conn, pool, victim) -> None:
    await insert(conn)
    answer = await claim(victim)
    assert not await daemons_of(pool).end(victim.daemon, "stopped")
    await victim.step(Parcel(outcomes(answer), [EndedRun(answer.run_id, "{}", "{}")]), None)
    assert await daemons_of(pool).end(victim.daemon, "stopped")
    assert not await daemons_of(pool).end(victim.daemon, "died")
    assert await conn.fetchval("select ended from actiond.daemon where id = $1", victim.daemon) == "stopped"


# Who is dead


async def beat(conn, daemon: int, watching_s: float = 60) -> tuple[bool, list[int]]:
    """(Does this daemon live, which others are dead.)"""
    row = await conn.fetchrow(Statements()["beat"], daemon, LEASE_S, SILENCE_S, watching_s)
    return row["alive"], row["dead"]


@pytest.fixture
async def peer(db):
    """Another daemon's session, which has its id as `daemon`."""
    session = await db.connect()
    yield session
    await session.close()


@pytest.mark.parametrize(
    ("silent", "lock_free", "watching_s", "is_dead"),
    [
        ("3 s", True, 60, True),
        ("3 s", False, 60, False),  # slow, or its event for the beat came late: the session is there
        ("2 s", True, 60, False),  # its session dropped, and it may be reconnecting
        ("31 s", False, 60, True),  # frozen, or cut off from us with a connection that nobody closed
        ("31 s", True, 60, True),
        ("3 s", True, 1, False),  # we have only just come back: the server may have been away for everybody
        ("31 s", False, 1, False),
        ("31 s", True, 3, True),
    ],
)
async def test_a_daemon_is_dead_when_it_is_silent_and_its_lock_is_free_or_its_lease_ran_out(
    silent, lock_free, watching_s, is_dead, conn, peer
) -> None:
    me, other = await register(conn), await register(peer)
    if lock_free:
        await peer.execute("select pg_advisory_unlock_all()")
    await move_now(conn, silent)
    assert await beat(conn, me, watching_s) == (True, [other] if is_dead else [])


async def test_a_lock_of_the_same_number_in_another_database_keeps_nobody_alive(conn, peer, server) -> None:
    me, other = await register(conn), await register(peer)
    await peer.execute("select pg_advisory_unlock_all()")
    async with server.fresh() as elsewhere:
        foreign = await elsewhere.connect()
        await foreign.execute(f"select pg_advisory_lock({await conn.fetchval(LOCK_CLASS)}, {other})")
        await move_now(conn, "3 s")
        assert await beat(conn, me) == (True, [other])
        await foreign.close()


async def test_a_beat_renews_the_lease(conn, peer) -> None:
    me, other = await register(conn), await register(peer)
    await move_now(conn, "29 s")
    assert await beat(peer, other) == (True, [])
    await move_now(conn, "58 s")
    assert await beat(conn, me) == (True, [])
    await move_now(conn, "60 s")
    assert await beat(conn, me) == (True, [other])


async def test_a_daemon_that_was_declared_dead_is_told_so_and_named_no_more(conn, peer, pool) -> None:
    me, other = await register(conn), await register(peer)
    await move_now(conn, "31 s")
    assert await beat(conn, me) == (True, [other])
    await rescue(pool, other)
    assert await beat(conn, me) == (True, [])
    assert (await beat(peer, other))[0] is False


async def test_what_a_daemon_claims_after_it_was_declared_dead_comes_back_too(conn, peer, pool) -> None:
    me, other = await register(conn), await register(peer)
    await move_now(conn, "31 s")
    await rescue(pool, other)
    mine, ids = await insert(conn, processor="mine"), await insert(conn, 2)
    await claim(store_of(pool, me), processor="mine")
    await claim(store_of(pool, other))
    assert await daemons_of(pool).left_behind() == [other]
    await rescue(pool)
    assert [(await look(conn, id_))["claimed_by"] for id_ in ids] == [0, 0]
    assert (await look(conn, mine[0]))["claimed_by"] == me
    assert await daemons_of(pool).left_behind() == []
