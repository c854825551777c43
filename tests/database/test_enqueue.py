"""Asking for work: from SQL, from Python, from a trigger, and with as few rights as possible."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from actiond.postgres.enqueue import enqueue, enqueue_many
from actiond.postgres.presence import WAKE
from support.clock import set_now
from support.database import eventually
from support.work import claim, insert, look

NOW = "2030-01-01 12:00:00+00"
AT = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)


async def in_db(conn, id_: int) -> dict:
    """The row as people read it."""
    row = dict(await conn.fetchrow("select * from actiond.action_list where id = $1", id_))
    return row | {"data": json.loads(row["data"])}


# SQL


async def test_a_plain_insert_of_a_processor_is_enough(conn, store) -> None:
    await set_now(conn, NOW)
    await conn.execute("insert into actiond.action (processor) values ('p')")
    row = await conn.fetchrow(
        "select *, next_eligible_at = actiond.now() as due, created_at = actiond.now() as new from actiond.action_list"
    )
    assert (row["status"], row["priority"], row["retries_left"], row["data"]) == ("pending", 2, None, "{}")
    assert (row["due"], row["new"], row["attempts"], row["daemon"]) == (True, True, 0, None)
    assert row["created_by"] == await conn.fetchval("select session_user")
    assert row["ref"] == "A-00000001"
    assert len((await claim(store)).rows) == 1


@pytest.mark.parametrize(
    ("arguments", "differs"),
    [
        ("'p'", {}),
        ("'p', '{\"to\": \"a@example.org\"}'", {"data": {"to": "a@example.org"}}),
        ("'p', null", {}),
        ("'p', '[1, null]'", {"data": [1, None]}),
        ("'p', related => 'order 7'", {"related": "order 7"}),
        ("'p', due_at => '2031-05-06 07:08:09+00'", {"due": AT}),
        ("'p', due_in => '90 min'", {"due": datetime(2030, 1, 1, 13, 30, tzinfo=UTC)}),
        ("'p', due_in => '-5 min'", {"due": datetime(2030, 1, 1, 11, 55, tzinfo=UTC)}),
        ("'p', due_at => '2031-05-06 07:08:09+00', due_in => '1 h'", {"due": AT}),
        ("'p', priority => 0::smallint", {"priority": 0}),
        ("'p', priority => null", {}),
        ("'p', retries_left => 0", {"retries_left": 0}),
        ("'p', held => true", {"status": "held"}),
        ("'p', held => null", {}),
    ],
)
async def test_enqueue_in_sql_gives_an_id_and_stores_what_it_is_told(arguments, differs, conn) -> None:
    await set_now(conn, NOW)
    id_ = await conn.fetchval(f"select actiond.enqueue({arguments})")
    row = await in_db(conn, id_)
    usual = {"data": {}, "related": None, "due": datetime(2030, 1, 1, 12, tzinfo=UTC), "priority": 2}
    usual |= {"retries_left": None, "status": "pending", "processor": "p"}
    assert {**usual, **differs} == {name: row["next_eligible_at" if name == "due" else name] for name in usual}


@pytest.mark.parametrize(
    "arguments",
    [
        "''",
        "null",
        "'p', priority => 4::smallint",
        "'p', retries_left => -1",
        "'p', due_at => 'infinity'",
        "repeat('x', 256)",
    ],
)
async def test_enqueue_in_sql_refuses_what_an_insert_would_refuse(arguments, conn) -> None:
    with pytest.raises((asyncpg.CheckViolationError, asyncpg.NotNullViolationError)):
        await conn.execute(f"select actiond.enqueue({arguments})")


async def test_a_number_for_the_priority_needs_no_cast(conn) -> None:
    id_ = await conn.fetchval("select actiond.enqueue('p', priority => 0)")
    assert (await look(conn, id_))["priority"] == 0


async def test_many_rows_may_be_copied_in(conn, db) -> None:
    rows = [("p", f'{{"number": {number}}}', f"order {number}") for number in range(5_000)]
    assert (
        await conn.copy_records_to_table(
            "action", schema_name="actiond", columns=["processor", "data", "related"], records=rows
        )
        == "COPY 5000"
    )
    assert (
        await conn.fetchval(
            "select count(*) from actiond.action where related = 'order 7' and data @> '{\"number\": 7}'"
        )
        == 1
    )
    with pytest.raises(asyncpg.PostgresError) as refused:
        await conn.copy_records_to_table(
            "action", schema_name="actiond", columns=["processor", "attempts"], records=[("p", 1)]
        )
    assert refused.value.sqlstate == "AC001"


async def test_a_trigger_on_a_table_of_ones_own_asks_in_the_same_transaction(conn) -> None:
    await conn.execute(
        """
        create table orders (id bigint generated always as identity, total int);
        create function ask() returns trigger language plpgsql as $$ begin
          insert into actiond.action (processor, related, data) select 'receipt', id, to_jsonb(fresh) from fresh;
          return null;
        end $$;
        create trigger ask after insert on orders referencing new table as fresh
          for each statement execute function ask();
        insert into orders (total) values (10), (20);
        """
    )
    rows = await conn.fetch("select related, data ->> 'total' as total from actiond.action order by id")
    assert [tuple(row) for row in rows] == [("1", "10"), ("2", "20")]
    transaction = conn.transaction()
    await transaction.start()
    await conn.execute("insert into orders (total) values (30)")
    await transaction.rollback()
    assert await conn.fetchval("select count(*) from actiond.action") == 2


# Python


async def test_enqueue_in_python_says_the_same_as_in_sql(conn) -> None:
    await set_now(conn, NOW)
    plain = await in_db(conn, await enqueue(conn, "p"))
    assert (plain["processor"], plain["data"], plain["status"], plain["priority"]) == ("p", {}, "pending", 2)
    id_ = await enqueue(
        conn, "p", {"to": "ä\u2028"}, related="order 7", delay="90 min", priority=0, retries=5, held=True
    )
    row = await in_db(conn, id_)
    assert (row["data"], row["related"], row["priority"], row["retries_left"]) == ({"to": "ä\u2028"}, "order 7", 0, 5)
    assert (row["status"], row["next_eligible_at"]) == ("held", datetime(2030, 1, 1, 13, 30, tzinfo=UTC))
    assert (await in_db(conn, await enqueue(conn, "p", at=AT, delay="1 h")))["next_eligible_at"] == AT
    assert [(await in_db(conn, await enqueue(conn, "p", data)))["data"] for data in ([], 0, "", False)] == [
        [],
        0,
        "",
        False,
    ]


async def test_many_are_asked_for_in_order(conn) -> None:
    await set_now(conn, NOW)
    payloads = [{"number": number} for number in range(11_000)]
    ids = await enqueue_many(conn, "p", iter(payloads), priority=1, delay=timedelta(hours=1))
    assert ids == sorted(ids)
    rows = await conn.fetch(
        "select id, data ->> 'number' as number, priority, next_eligible_at from actiond.action order by id"
    )
    assert [(row["id"], int(row["number"])) for row in rows] == list(zip(ids, range(11_000), strict=True))
    assert {(row["priority"], row["next_eligible_at"]) for row in rows} == {(1, datetime(2030, 1, 1, 13, tzinfo=UTC))}
    assert await enqueue_many(conn, "p", []) == []
    (id_,) = await enqueue_many(conn, "p", [({"to": "a"}, "order 7")])
    assert ((await in_db(conn, id_))["data"], (await look(conn, id_))["related"]) == ({"to": "a"}, "order 7")


async def test_what_python_asks_for_is_in_the_callers_transaction(conn, db) -> None:
    other = await db.connect()
    transaction = conn.transaction()
    await transaction.start()
    await enqueue(conn, "p")
    await enqueue_many(conn, "p", [{}, {}])
    assert await other.fetchval("select count(*) from actiond.action") == 0
    await transaction.rollback()
    assert await other.fetchval("select count(*) from actiond.action") == 0
    async with conn.transaction():
        await enqueue(conn, "p")
    assert await other.fetchval("select count(*) from actiond.action") == 1
    await other.close()


@pytest.mark.parametrize("data", [float("nan"), {"a": "\0"}, {"a": "\ud800"}, {"a": object()}])
async def test_a_payload_that_cannot_be_stored_is_refused_before_it_is_sent(data, conn) -> None:
    async with conn.transaction():
        with pytest.raises((ValueError, TypeError)):
            await enqueue(conn, "p", data)
        with pytest.raises((ValueError, TypeError)):
            await enqueue_many(conn, "p", [{}, data])
        assert await conn.fetchval("select count(*) from actiond.action") == 0


async def test_a_pool_can_ask_too(pool, conn) -> None:
    assert await enqueue(pool, "p") == 1
    assert await enqueue_many(pool, "p", [{}]) == [2]


# Waking


async def woken(conn) -> set[str]:
    rows = await conn.fetch("select name from actiond.processor where woken_at = actiond.now()")
    return {row["name"] for row in rows}


@pytest.mark.parametrize(
    ("said", "stored", "rung"),
    [
        ("'a'", {"a"}, "a"),
        ("'a, b'", {"a", "b"}, "a,b"),
        ("' b ,, nobody'", {"b"}, "b,nobody"),
        ("''", {"a", "b", "c"}, ""),
        ("", {"a", "b", "c"}, ""),
        ("' , '", {"a", "b", "c"}, ""),
        ("null", {"a", "b", "c"}, ""),
    ],
)
async def test_a_wake_is_stored_and_rung(said, stored, rung, conn, db) -> None:
    await set_now(conn, NOW)
    await conn.execute("insert into actiond.processor (name) select unnest('{a,b,c}'::text[])")
    heard: list[str] = []
    listener = await db.connect()
    await listener.add_listener(WAKE, lambda *message: heard.append(message[3]))
    await conn.execute(f"select actiond.wake({said})")
    assert await woken(conn) == stored
    await eventually(lambda: heard)
    assert heard == [rung]
    await listener.close()


async def test_a_wake_that_is_rolled_back_is_neither_stored_nor_rung(conn, db) -> None:
    await conn.execute("insert into actiond.processor (name) values ('a')")
    heard: list[str] = []
    listener = await db.connect()
    await listener.add_listener(WAKE, lambda *message: heard.append(message[3]))
    transaction = conn.transaction()
    await transaction.start()
    await conn.execute("select actiond.wake('a')")
    await transaction.rollback()
    await conn.execute("notify actiond_wake, 'mark'")
    await eventually(lambda: heard)
    assert heard == ["mark"]
    assert await conn.fetchval("select woken_at from actiond.processor") is None
    await listener.close()


# Rights


INSERT = "insert into actiond.action (processor, data) values ('p', '{}')"
ASKS = {
    "insert": INSERT,
    "insert returning": f"{INSERT} returning id",
    "enqueue": "select actiond.enqueue('p')",
    "notify": "notify actiond_wake, 'p'",
    "wake": "select actiond.wake('p')",
    "read": "select * from actiond.action_list",
    "cancel": "update actiond.action set status = 'canceled'",
    "insert as another": "insert into actiond.action (processor, created_by) values ('p', 'somebody')",
}


@pytest.fixture
async def may(conn, db, a_role) -> AsyncIterator[Callable[[], Awaitable[set[str]]]]:
    """What the role may do now. Somebody sleeps meanwhile, so an insert has to ring."""
    sleeper = await db.connect()
    await sleeper.execute("select pg_advisory_lock(actiond.lock_class('bell'), actiond.lock_key('p'))")

    async def allowed() -> set[str]:
        found = set()
        await conn.execute(f"set session authorization {a_role}")
        for what, statement in ASKS.items():
            transaction = conn.transaction()
            await transaction.start()
            with contextlib.suppress(asyncpg.InsufficientPrivilegeError):
                await conn.execute(statement)
                found.add(what)
            await transaction.rollback()
        await conn.execute("reset session authorization")
        return found

    yield allowed
    await sleeper.close()


async def test_a_producer_needs_insert_and_for_the_id_also_to_read_that(conn, a_role, may) -> None:
    assert await may() == {"notify"}
    await conn.execute(f"grant usage on schema actiond to {a_role}")
    assert await may() == {"notify"}
    await conn.execute(f"grant insert (processor, data) on actiond.action to {a_role}")
    assert await may() == {"notify", "insert"}
    await conn.execute(f"grant select (id) on actiond.action to {a_role}")
    assert await may() == {"notify", "insert", "insert returning"}
    await conn.execute(
        "grant insert (processor, data, related, next_eligible_at, priority, retries_left, status,"
        f" parent_id, waits_on, waits_for, repeat_every, trace) on actiond.action to {a_role}"
    )
    assert await may() == {"notify", "insert", "insert returning", "enqueue"}


async def test_where_nobody_may_call_functions_by_default_a_producer_needs_four(conn, a_role, may) -> None:
    await conn.execute(
        f"grant usage on schema actiond to {a_role}; grant insert (processor, data) on actiond.action to {a_role};"
        "revoke execute on all functions in schema actiond from public"
    )
    assert await may() == {"notify"}
    for function in ("now()", "lock_class(text)", "lock_key(text)", "refuse_forged()"):
        assert "insert" not in await may()
        await conn.execute(f"grant execute on function actiond.{function} to {a_role}")
    assert await may() == {"notify", "insert"}


async def test_what_a_role_asked_for_bears_its_name(conn, a_role) -> None:
    await conn.execute(f"grant usage on schema actiond to {a_role}; grant insert on actiond.action to {a_role}")
    await conn.execute(f"set session authorization {a_role}")
    await conn.execute(INSERT)
    with pytest.raises(asyncpg.PostgresError) as refused:
        await conn.execute(ASKS["insert as another"])
    assert refused.value.sqlstate == "AC001"
    await conn.execute("reset session authorization")
    assert await conn.fetchval("select created_by from actiond.action") == a_role


async def test_whoever_may_set_a_status_may_stop_and_release_without_other_rights(conn, a_role) -> None:
    (id_,) = await insert(conn)
    await conn.execute(
        f"grant usage on schema actiond to {a_role}; grant select (id), update (status) on actiond.action to {a_role}"
    )
    await conn.execute(f"set session authorization {a_role}")
    for status in ("held", "pending", "canceled", "pending"):
        await conn.execute(f"update actiond.action set status = '{status}' where id = {id_}")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await conn.execute("update actiond.action set claimed_by = 0")
    await conn.execute("reset session authorization")
    assert (await look(conn, id_))["status"] == "pending"


async def test_whoever_wakes_needs_to_write_when_that_was(conn, a_role, may) -> None:
    await conn.execute(
        f"grant usage on schema actiond to {a_role};"
        f"grant select (name), update (woken_at) on actiond.processor to {a_role}"
    )
    assert await may() == {"notify", "wake"}
