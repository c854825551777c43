"""What needs somebody: failures, errors that are the same, rows nobody takes, rows that do not move."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from actiond.postgres import figures
from actiond.postgres.connection import connect
from support.clock import set_now
from support.work import claim, insert, outcome, register, settle, store_of

NOW = "2030-01-01 12:00:00+00"
HOUR_S, WEEK_S = 3600.0, 7 * 86400.0


@pytest.fixture
async def asker(db):
    connection = await connect(db.dsn)
    yield connection
    connection.terminate()


async def fail(conn, pool, *errors: str | None, processor: str = "p") -> list[int]:
    """An action for each of these errors, failed with it; gives the ids."""
    ids = await insert(conn, len(errors), processor)
    store = store_of(pool)
    answer = await claim(store, processor=processor)
    said = [outcome(i, answer.run_id, "failed", error=e, noted=True) for i, e in zip(ids, errors, strict=True)]
    await settle(store, said)
    return ids


# Failures


async def test_failures_are_the_latest_of_all_or_of_one_processor(conn, pool, asker) -> None:
    await set_now(conn, "2030-01-01 10:00:00+00")
    (old,) = await fail(conn, pool, "old")
    await set_now(conn, "2030-01-01 11:30:00+00")
    (mine,) = await fail(conn, pool, "card 17 declined")
    await set_now(conn, "2030-01-01 11:40:00+00")
    (other,) = await fail(conn, pool, "card 18 declined", processor="q")
    await set_now(conn, NOW)

    async def ids(*arguments: Any) -> list[int]:
        return [row["id"] for row in await figures.failures(asker, *arguments)]

    assert await ids(HOUR_S, 10) == [other, mine]
    assert await ids(WEEK_S, 10) == [other, mine, old]
    assert await ids(WEEK_S, 1) == [other]
    assert await ids(WEEK_S, 10, "p") == [mine, old]
    assert await ids(WEEK_S, 10, None, "declined") == [other, mine]
    assert await ids(WEEK_S, 1, None, "old") == [old]
    assert await ids(WEEK_S, 10, None, "card <n> declined") == [other, mine]
    assert await ids(WEEK_S, 10, "p", "%") == []
    rows = await conn.fetch("select id from actiond.recent_failures('1 h')")
    assert [row["id"] for row in rows] == [other, mine]
    await conn.execute("update actiond.action set status = 'pending' where id = $1", mine)
    assert await ids(HOUR_S, 10) == [other]


@pytest.mark.parametrize(
    ("error", "same"),
    [
        ("HTTP 503 after 12.5 s", "HTTP <n> after <n> s"),
        ("order 6f9619ff-8b86-d011-b42d-00c04fc964ff is gone", "order <uuid> is gone"),
        ("object at 0x7f3a2b not found", "object at <hex> not found"),
        ("request deadbeef01 refused", "request <hex> refused"),
        ("no such file: 'a.txt' or \"b.txt\"", "no such file: <text> or <text>"),
        ("column `x` is missing", "column <text> is missing"),
        ("it doesn't work, and it won't", "it doesn't work, and it won't"),
        ("accessed the facade", "accessed the facade"),
        ("  two\n lines\t", "two lines"),
        ("at 2030-01-01 12:00:00", "at <n>-<n>-<n> <n>"),
        ("", ""),
        ("Größe 7", "Größe <n>"),
    ],
)
async def test_a_fingerprint_is_what_is_the_same(conn, error, same) -> None:
    assert await conn.fetchval("select actiond.fingerprint($1)", error) == same


async def test_errors_of_one_kind_are_one_line_with_an_example(conn, pool, asker) -> None:
    await set_now(conn, "2030-01-01 11:00:00+00")
    first = await fail(conn, pool, "card 1 declined", "card 2 declined", "timeout")
    await set_now(conn, "2030-01-01 11:30:00+00")
    last = await fail(conn, pool, "card 3 declined", "card 3 declined")
    await fail(conn, pool, "card 9 declined", None, processor="q")
    await set_now(conn, NOW)
    rows = await figures.errors(asker, WEEK_S, 100)
    assert [(row["failures"], row["processor"], row["fingerprint"]) for row in rows] == [
        (4, "p", "card <n> declined"), (1, "q", ""), (1, "q", "card <n> declined"), (1, "p", "timeout"),
    ]  # fmt: skip
    top = rows[0]
    assert (top["example"], top["example_error"], top["looked_at"], top["more"]) == (
        max(last), "card 3 declined", 7, False,
    )  # fmt: skip
    assert (top["first_at"].minute, top["last_at"].minute) == (0, 30)
    assert [row["failures"] for row in await figures.errors(asker, 45 * 60.0, 100, "p")] == [2]
    assert await conn.fetchval("select count(*) from actiond.stats_errors") == 4
    assert min(first) < min(last)


async def test_a_bound_that_hides_something_says_so(conn, pool, asker) -> None:
    await fail(conn, pool, *["the same"] * 5)
    for look_at, seen, more in ((4, 4, True), (5, 5, False), (6, 5, False)):
        (row,) = await figures.errors(asker, WEEK_S, look_at)
        assert (row["failures"], row["looked_at"], row["more"]) == (seen, seen, more)


# Rows that nobody takes


async def orphans(conn) -> dict[str, tuple[bool, int, int]]:
    rows = await conn.fetch("select * from actiond.orphans")
    return {row["processor"]: (row["known"], row["waiting"], row["example"]) for row in rows}


async def test_orphans_wait_for_what_no_live_daemon_has(conn) -> None:
    await set_now(conn, NOW)
    await register(conn, "served")
    await conn.execute("insert into actiond.processor (name) values ('served'), ('known'), ('idle')")
    await insert(conn, 2, "served")
    known, typo = await insert(conn, 3, "known"), await insert(conn, 1, "typo")
    await insert(conn, 4, "held", status="held")
    assert await orphans(conn) == {"known": (True, 3, known[0]), "typo": (False, 1, typo[0])}
    await set_now(conn, "2030-01-01 12:00:31+00")  # its lease is over
    assert set(await orphans(conn)) == {"known", "typo", "served"}


async def test_counting_orphans_stops(conn) -> None:
    await insert(conn, 10_050, "typo")
    assert (await orphans(conn))["typo"][1] == 10_000


# Rows that do not move


async def stuck(asker, after_s: float = 1800.0, limit: int = 10, processor: str | None = None) -> list[tuple[Any, ...]]:
    rows = await figures.stuck(asker, after_s, limit, processor)
    return [(row["id"], row["kind"], row["for_s"]) for row in rows]


async def test_stuck_is_lost_or_running_or_waiting_for_long(conn, pool, asker) -> None:
    await set_now(conn, "2030-01-01 11:00:00+00")
    dead, alive = await register(conn, "p"), await register(conn, "p")
    (lost,) = await insert(conn)
    await claim(store_of(pool, dead))
    (running,) = await insert(conn)
    await claim(store_of(pool, alive))
    (waiting,) = await insert(conn, processor="q")
    await insert(conn, status="held")
    await set_now(conn, "2030-01-01 11:45:00+00")
    await insert(conn, processor="q")
    await set_now(conn, NOW)
    await insert(conn, next_eligible_at=datetime(2030, 1, 1, 13, 0, tzinfo=UTC))
    await conn.execute("update actiond.daemon set lease_until = actiond.now() + interval '1 min' where id = $1", alive)
    assert await stuck(asker) == [(lost, "lost", HOUR_S), (running, "running", HOUR_S), (waiting, "waiting", HOUR_S)]
    assert await stuck(asker, limit=1) == [(lost, "lost", HOUR_S)]
    assert await stuck(asker, processor="q") == [(waiting, "waiting", HOUR_S)]
    assert await stuck(asker, after_s=2 * HOUR_S) == [(lost, "lost", HOUR_S)]
    assert len(await stuck(asker, after_s=600.0)) == 4
    row = (await figures.stuck(asker, 1800.0, 1))[0]
    assert (row["daemon"], row["attempts"], row["ref"]) == (dead, 1, f"A-{lost:08}")
    assert row["run_id"] > 0


async def test_stuck_says_why_a_row_waits(conn, asker) -> None:
    await set_now(conn, "2030-01-01 11:00:00+00")
    for name in ("typo", "known", "off", "slow", "broken", "limited", "dark", "nightly"):
        await insert(conn, processor=name)
    await conn.execute(
        "insert into actiond.processor (name, enabled, rate, breaker) values ('known', null, null, 0),"
        " ('off', false, null, 0), ('slow', null, '5/s', 0.5), ('broken', null, null, 0.5), ('limited', null, '1/h', 0)"
    )
    await conn.execute(
        "insert into actiond.processor (name, flag, \"window\") values ('dark', 'new', null), ('nightly', null, $1)",
        "01:00-02:00 UTC",
    )
    await set_now(conn, NOW)
    await conn.execute(
        "insert into actiond.brake (processor, tokens, tokens_at, opened_at, open_until) values"
        " ('slow', 2, actiond.now(), null, null), ('limited', 0, actiond.now(), null, null),"
        " ('broken', null, null, actiond.now(), actiond.now())"
    )
    await register(conn, "off", "slow", "broken", "limited", "dark", "nightly")
    assert {row["processor"]: row["why"] for row in await figures.stuck(asker, 60.0, 10)} == {
        "typo": "no daemon ever had this processor",
        "known": "no live daemon has this processor",
        "off": "the processor is disabled",
        "slow": "due, and not taken yet",
        "broken": "the breaker of the processor is open",
        "limited": "the processor is held to 1/h",
        "dark": "the flag of the processor is off",
        "nightly": "the window of the processor is closed",
    }


# The latest changes


async def test_history_is_of_the_latest_that_match(conn, pool, asker) -> None:
    await set_now(conn, "2030-01-01 10:00:00+00")
    (old,) = await fail(conn, pool, "no")
    await set_now(conn, NOW)
    (other,) = await fail(conn, pool, "no", processor="q")
    await conn.execute("update actiond.action set status = 'pending' where id = $1", old)
    me = await conn.fetchval("select session_user")

    async def found(**filters: Any) -> list[tuple[int, str]]:
        return [(row["action_id"], row["event"]) for row in await figures.latest_history(asker, **filters)]

    everything = [(old, "released"), (other, "failed"), (old, "failed")]
    assert await found() == everything
    assert await found(processor="q") == [(other, "failed")]
    assert await found(event="failed") == everything[1:]
    assert await found(by=me) == everything
    assert await found(by="nobody") == []
    assert await found(since_s=HOUR_S) == everything[:2]
    assert await found(limit=1) == everything[:1]
    rows = await figures.latest_history(asker, limit=1)
    assert await found(below=rows[0]["id"]) == everything[1:]
    await conn.execute("delete from actiond.action where id = $1", other)
    assert await found() == everything  # of a deleted action too
