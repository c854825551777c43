"""Verbs do what words/status.VERBS says and nothing else, at once, and history says who, why, from what to what."""

from __future__ import annotations

import asyncio
import json
from itertools import count
from typing import Any

import asyncpg
import pytest

from actiond.postgres import verbs
from actiond.postgres.action_store import ActionStore
from actiond.postgres.connection import connect
from actiond.words.status import FINAL, TRANSITIONS, VERBS, Status, Verb
from support.database import eventually
from support.work import claim, history, insert, look, outcome, settle

STATUSES = sorted(Status)
names = (f"p{number}" for number in count())


@pytest.fixture
async def operator(db):
    """A connection as the commands have it."""
    connection = await connect(db.dsn)
    yield connection
    connection.terminate()


async def a_row_that_is(status: Status, conn, store: ActionStore, **columns: Any) -> int:
    """One row of a processor of its own."""
    name = next(names)
    if status in (Status.PENDING, Status.HELD):
        return (await insert(conn, processor=name, status=status.value, **columns))[0]
    (id_,) = await insert(conn, processor=name, **columns)
    answer = await claim(store, processor=name)
    if status in FINAL:
        await settle(store, [outcome(id_, answer.run_id, "failed" if status is Status.FAILED else status.value)])
    return id_


async def listed(conn, id_: int) -> dict[str, Any]:
    return dict(await conn.fetchrow("select * from actiond.action_list where id = $1", id_))


async def test_the_sql_takes_what_the_table_takes(conn) -> None:
    for verb, (_, takes) in VERBS.items():
        assert set(await conn.fetchval("select actiond.verb_takes($1)", verb.value)) == takes
    assert await conn.fetchval("select actiond.verb_takes('explode')") is None


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("verb", list(Verb))
async def test_a_verb_leads_where_the_table_says_and_leaves_the_rest_alone(verb, status, conn, store, operator) -> None:
    id_ = await a_row_that_is(status, conn, store)
    before = await look(conn, id_)
    (done,) = await verbs.act(operator, verb, [id_], "because")
    cause, takes = VERBS[verb]
    becomes = TRANSITIONS.get((status, cause), status) if status in takes else status
    assert (done["id"], done["was"], done["status"], done["changed"]) == (id_, status, becomes, status in takes)
    assert (await listed(conn, id_))["status"] == becomes
    if status not in takes:
        assert await look(conn, id_) == before
        assert await history(conn, id_) == []
    else:
        entry = (await history(conn, id_))[-1]
        assert (entry["verb"], entry["reason"], entry["by"]) == (verb, "because", await conn.fetchval("select user"))
        stored = await look(conn, id_)
        assert json.loads(entry["before"]) == {
            name: before[name] if name != "next_eligible_at" else json.loads(entry["before"])[name]
            for name in ("status", "priority", "retries_left", "next_eligible_at")
            if before[name] != stored[name]
        }
        assert set(json.loads(entry["after"])) == set(json.loads(entry["before"]))


async def test_a_row_for_each_id_also_for_those_that_are_not_there(conn, store, operator) -> None:
    good, done = await a_row_that_is(Status.FAILED, conn, store), await a_row_that_is(Status.COMPLETED, conn, store)
    rows = await verbs.act(operator, Verb.RETRY, [done, 10**15, good, good], None)
    assert [(row["id"], row["was"], row["status"], row["changed"]) for row in rows] == [
        (good, "failed", "pending", True),
        (done, "completed", "completed", False),
        (10**15, None, None, False),
    ]


async def test_a_verb_that_does_not_exist_is_named(conn) -> None:
    with pytest.raises(asyncpg.PostgresError, match="there is no verb 'explode'"):
        await conn.execute("select actiond.act('explode', '{1}')")
    with pytest.raises(asyncpg.PostgresError, match="there is no verb 'explode'"):
        await conn.execute("select actiond.bulk('explode', '{}')")
    with pytest.raises(asyncpg.PostgresError, match="add_retries is 0 or more"):
        await conn.execute("select actiond.retry('{1}', add_retries => -1)")


@pytest.mark.parametrize("name", ["cancel", "hold", "release", "retry", "run_now"])
async def test_every_verb_is_a_function_of_its_own(name, conn, store) -> None:
    status = Status.PENDING if name in ("cancel", "hold", "run_now") else Status.HELD
    id_ = await a_row_that_is(status, conn, store)
    row = await conn.fetchrow(f"select * from actiond.{name}(array[$1::bigint], 'why')", id_)
    assert row["changed"]
    assert (await history(conn, id_) or [{"verb": name}])[-1]["verb"] == name


# What each does beside the status


async def test_retry_takes_the_error_back_and_is_due_behind_what_waits(conn, store, operator) -> None:
    id_ = await a_row_that_is(Status.FAILED, conn, store)
    failed = await look(conn, id_)
    await verbs.act(operator, Verb.RETRY, [id_], None)
    row = await look(conn, id_)
    assert (failed["error"], row["error"], row["retries_left"], row["finished_at"]) == ("no", None, None, None)
    assert row["next_eligible_at"] > failed["next_eligible_at"]
    assert row["attempts"] == 1


@pytest.mark.parametrize(
    ("left", "policy", "add", "then"),
    [
        (0, None, 0, 0),
        (0, None, 3, 3),
        (2, None, 3, 5),
        (None, None, 0, None),
        (None, (None, '{"retries": 4}', '{"retries": 3}'), 2, 6),
        (None, (7, '{"retries": 4}', '{"retries": 3}'), 2, 9),
        (None, (None, "{}", '{"retries": 3}'), 2, 5),
        (None, None, 2, 2),
        (2_000_000_000, None, 1_000_000, 2_000_000_000),
    ],
)
async def test_retry_grants_retries_on_top_of_what_is_left(left, policy, add, then, conn, store, operator) -> None:
    id_ = await a_row_that_is(Status.FAILED, conn, store, retries_left=left)
    if policy:
        name = (await look(conn, id_))["processor"]
        await conn.execute(
            "insert into actiond.processor (name, retries, declared, built_in) values ($1, $2, $3, $4)", name, *policy
        )
    await verbs.act(operator, Verb.RETRY, [id_], None, add)
    assert (await look(conn, id_))["retries_left"] == then


async def test_release_keeps_the_time_an_action_is_planned_for(conn, store, operator) -> None:
    (id_,) = await insert(conn, status="held")
    await conn.execute("update actiond.action set next_eligible_at = now() + interval '1 d' where id = $1", id_)
    planned = (await look(conn, id_))["next_eligible_at"]
    await verbs.act(operator, Verb.RELEASE, [id_], None)
    assert (await look(conn, id_))["next_eligible_at"] == planned


async def test_run_now_is_claimed_before_all_that_wait(conn, store, operator) -> None:
    ids = await insert(conn, 20)
    (late,) = await insert(conn)
    await conn.execute("update actiond.action set next_eligible_at = now() + interval '1 d' where id = $1", late)
    await verbs.act(operator, Verb.RUN_NOW, [ids[-1], late], None)
    first = await claim(store, limit=2)
    assert [row.id for row in first.rows] == [ids[-1], late]
    assert [entry["event"] for entry in await history(conn, late)] == ["rescheduled"]


async def test_run_now_rings_also_a_daemon_that_is_busy_and_wakes_what_runs_only_when_woken(db, conn, operator) -> None:
    await conn.execute("insert into actiond.processor (name, run_on_insert) values ('p', false), ('q', false)")
    heard: list[str] = []
    listener = await db.connect()
    await listener.add_listener("actiond_wake", lambda *message: heard.append(message[3]))
    (id_,) = await insert(conn, status="held")
    await verbs.act(operator, Verb.RUN_NOW, [id_], None)
    await eventually(lambda: "p" in heard)
    woken = await conn.fetch("select name from actiond.processor where woken_at >= now() - interval '1 min'")
    assert [row["name"] for row in woken] == ["p"]
    await listener.close()


async def test_a_plain_update_is_recorded_as_nobodys_verb(conn, store, operator) -> None:
    id_ = await a_row_that_is(Status.PENDING, conn, store)
    async with conn.transaction():
        await conn.fetch("select * from actiond.hold(array[$1::bigint], 'why')", id_)
        await conn.execute("update actiond.action set status = 'pending' where id = $1", id_)
    held, released = await history(conn, id_)
    assert (held["verb"], held["reason"]) == ("hold", "why")
    assert (released["event"], released["verb"], released["reason"]) == ("released", None, None)


async def test_nobody_acts_in_the_name_of_another_without_the_right_to_write_history(conn, a_role) -> None:
    (id_,) = await insert(conn)
    await conn.execute(f"grant usage on schema actiond to {a_role}; grant select, update on actiond.action to {a_role}")
    await conn.execute(f"set session authorization {a_role}")
    await conn.execute("select set_config('actiond.by', 'somebody_else', false)")
    await conn.execute("select * from actiond.hold($1)", [id_])
    await conn.execute("reset session authorization")
    assert [entry["by"] for entry in await history(conn, id_)] == [a_role]
    await conn.execute("select * from actiond.release($1)", [id_])
    assert (await history(conn, id_))[-1]["by"] == "somebody_else"


async def test_a_role_that_may_not_update_actions_can_use_no_verb(conn, a_role) -> None:
    (id_,) = await insert(conn)
    await conn.execute(f"grant usage on schema actiond to {a_role}; grant select on actiond.action to {a_role}")
    await conn.execute(f"set session authorization {a_role}")
    for verb in Verb:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await conn.execute(f"select * from actiond.{verb}($1)", [id_])
    await conn.execute("reset session authorization")
    assert (await look(conn, id_))["status"] == "pending"


async def test_verbs_and_outcomes_on_the_same_rows_never_deadlock(db, conn, store, operator) -> None:
    for _ in range(20):
        await insert(conn, 50)
        answer = await claim(store)
        ids = [row.id for row in answer.rows]
        mine = [outcome(row, answer.run_id) for row in answer.rows]
        settled, done = await asyncio.gather(
            settle(store, mine), verbs.act(operator, Verb.CANCEL, list(reversed(ids)), None)
        )
        fenced = {late.id for late in settled.fenced}
        assert fenced == {row["id"] for row in done if row["changed"]}


# Switches


async def knobs(conn, name: str = "p") -> dict[str, str]:
    rows = await conn.fetch("select knob, value from actiond.processor_policy where processor = $1", name)
    return {row["knob"]: row["value"] for row in rows}


async def edits(conn) -> list[tuple[Any, ...]]:
    rows = await conn.fetch(
        "select processor, event, verb, reason, before, after from actiond.history where action_id is null order by id"
    )
    return [
        (r["processor"], r["event"], r["verb"], r["reason"], json.loads(r["before"] or "null"), json.loads(r["after"]))
        for r in rows
    ]


async def test_one_processor_is_paused_and_resumed(conn, operator) -> None:
    await conn.execute(
        "insert into actiond.processor (name, built_in) values ('p', '{\"enabled\": true}'), ('q', '{}')"
    )
    assert await verbs.pause(operator, ["p"], "too many errors") == [{"name": "p", "before": None, "after": False}]
    assert (await knobs(conn))["enabled"] == "false"
    assert await verbs.resume(operator, ["p"], None) == [{"name": "p", "before": False, "after": None}]
    assert (await knobs(conn))["enabled"] == "true"
    assert await edits(conn) == [
        ("p", "paused", "pause", "too many errors", {"enabled": None}, {"enabled": False}),
        ("p", "resumed", "resume", None, {"enabled": False}, {"enabled": None}),
    ]


async def test_what_the_code_declares_off_is_on_after_a_resume(conn, operator) -> None:
    await conn.execute("insert into actiond.processor (name, declared) values ('p', '{\"enabled\": false}')")
    await verbs.resume(operator, ["p"], None)
    assert (await knobs(conn))["enabled"] == "true"


async def test_everything_is_paused_and_resumed(conn, operator) -> None:
    assert (await verbs.pause(operator, None, "fire"))[0] == {"name": "paused", "before": None, "after": True}
    assert await conn.fetchval("select value::text from actiond.setting where name = 'paused'") == "true"
    assert (await verbs.resume(operator, None, None))[0] == {"name": "paused", "before": True, "after": False}
    assert await edits(conn) == [
        (None, "paused", "pause", "fire", None, {"paused": True}),
        (None, "resumed", "resume", None, {"paused": True}, {"paused": False}),
    ]


async def test_of_several_processors_all_are_paused_or_none(conn, operator) -> None:
    await conn.execute("insert into actiond.processor (name) values ('p')")
    with pytest.raises(asyncpg.PostgresError, match="there is no processor 'typo'"):
        await verbs.pause(operator, ["p", "typo"], None)
    assert (await knobs(conn))["enabled"] is None


@pytest.mark.parametrize(
    ("knob", "value", "stored"),
    [
        ("batch_size", "50", 50),
        ("backoff", "exponential", "exponential"),
        ("run_on_insert", "false", False),
        ("config", '{"a": [1]}', {"a": [1]}),
    ],
)
async def test_a_knob_is_set_and_set_back(knob, value, stored, conn, operator) -> None:
    await conn.execute("insert into actiond.processor (name) values ('p')")
    assert (await verbs.set_knob(operator, "p", knob, value, "why"))["after"] == stored
    assert (await verbs.set_knob(operator, "p", knob, None, None))["before"] == stored
    assert await edits(conn) == [
        ("p", "set", "set", "why", {knob: None}, {knob: stored}),
        ("p", "set", "set", None, {knob: stored}, {knob: None}),
    ]


async def test_a_duration_is_told_as_people_write_it(conn, operator) -> None:
    await conn.execute("insert into actiond.processor (name) values ('p')")
    for value, told in (("90 s", "90 s"), ("0.25 s", "0.25 s"), ("2 d", "172800 s")):
        assert (await verbs.set_knob(operator, "p", "retry_interval", value, None))["after"] == told


@pytest.mark.parametrize("knob", ["name", "declared", "woken_at", "uses", "nonsense", "batch_size = 1, name"])
async def test_only_a_knob_can_be_set(knob, conn, operator) -> None:
    await conn.execute("insert into actiond.processor (name) values ('p')")
    with pytest.raises(asyncpg.PostgresError, match="there is no knob"):
        await verbs.set_knob(operator, "p", knob, "1", None)


async def test_an_edit_by_plain_update_is_recorded_and_a_declaration_is_not(conn) -> None:
    await conn.execute("insert into actiond.processor (name) values ('p')")
    await conn.execute("update actiond.processor set retries = 5 where name = 'p'")
    await conn.execute("update actiond.processor set declared = '{\"retries\": 2}', woken_at = now() where name = 'p'")
    assert await edits(conn) == [("p", "set", None, None, {"retries": None}, {"retries": 5})]
