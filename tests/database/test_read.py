"""What people ask: status, lists, one action, policies; and that asking costs little, however many rows there are."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from actiond.postgres import read
from actiond.postgres.action_store import EndedRun, Parcel
from actiond.postgres.connection import connect, patient
from actiond.postgres.statements import Statements
from support.clock import set_now
from support.work import claim, insert, outcome, outcomes, register, settle, store_of

NOW = "2030-01-01 12:00:00+00"


@pytest.fixture
async def asker(db):
    """A connection as the commands have it, on a machine that may be busy."""
    connection = await connect(db.dsn, settings=patient(60))
    yield connection
    connection.terminate()


def by_name(status: read.Status) -> dict[str, dict[str, Any]]:
    return {each["processor"]: each for each in status.processors}


# Status


async def test_status_tells_what_waits_runs_and_fails_for_each_processor(conn, pool, asker) -> None:
    await set_now(conn, NOW)
    daemon = await register(conn, "p", "q")
    store = store_of(pool, daemon)
    await conn.execute("insert into actiond.processor (name, enabled) values ('p', null), ('q', false)")
    await insert(conn, 6)
    answer = await claim(store, limit=5)
    said = [
        outcome(answer.rows[0], answer.run_id, "failed"),
        outcome(answer.rows[1], answer.run_id, "retried", delay_s=60),
    ]
    await settle(store, [*said, outcome(answer.rows[2], answer.run_id)])
    await insert(conn, 3, next_eligible_at=datetime(2030, 1, 1, 11, 59, tzinfo=UTC), priority=0)
    await insert(conn, status="held")
    await insert(conn, 2, "typo")
    seen = by_name(await read.status(asker))
    assert list(seen) == ["p", "q", "typo"]
    assert seen["p"] == {
        "processor": "p", "registered": True, "enabled": True, "due": 4, "oldest_due_s": 60.0, "scheduled": 1,
        "running": 2, "failed": 1, "completed_5min": 0, "failed_5min": 0, "retried_5min": 0, "live_daemons": 1,
        "rate": None, "token_in_s": None, "breaker": None, "probe_in_s": None, "breaker_failed": None,
        "breaker_outcomes": None, "flag": None, "flag_on": True, "window": None, "opens_in_s": None,
    }  # fmt: skip
    assert (seen["q"]["enabled"], seen["q"]["due"], seen["q"]["oldest_due_s"]) == (False, 0, None)
    assert (seen["typo"]["registered"], seen["typo"]["due"], seen["typo"]["live_daemons"]) == (False, 2, 0)


async def test_rates_are_those_of_the_last_five_minutes(conn, store, asker) -> None:
    await conn.execute("insert into actiond.processor (name) values ('p')")
    for minute, kinds in ((0, ["completed"] * 5), (6, ["completed", "completed", "failed", "retried", "deferred"])):
        await set_now(conn, f"2030-01-01 12:{minute:02}:00+00")
        await insert(conn, 5)
        answer = await claim(store, limit=5)
        said = [outcome(row, answer.run_id, kind) for row, kind in zip(answer.rows, kinds, strict=True)]
        await store.step(Parcel(said, [EndedRun(answer.run_id, "{}", "{}")]), None)
    seen = by_name(await read.status(asker))["p"]
    assert (seen["completed_5min"], seen["failed_5min"], seen["retried_5min"]) == (2, 1, 1)


async def test_status_tells_of_daemons_that_have_not_ended(conn, db, asker, pool) -> None:
    await set_now(conn, NOW)
    first, second = await register(conn, "p"), await register(conn)
    await conn.execute("update actiond.daemon set ended_at = actiond.now(), ended = 'stopped' where id = $1", second)
    await insert(conn, 4)
    store = store_of(pool, first)
    await settle(store, outcomes(await claim(store, limit=1)))
    await claim(store, limit=2)
    await set_now(conn, "2030-01-01 12:00:20+00")
    (daemon,) = (await read.status(asker)).daemons
    assert (daemon["id"], daemon["processors"], daemon["up_s"], daemon["seen_s"]) == (first, ["p"], 20.0, 20.0)
    assert (daemon["alive"], daemon["running"]) == (True, 2)
    await set_now(conn, "2030-01-01 12:00:31+00")
    assert (await read.status(asker)).daemons[0]["alive"] is False


async def test_status_tells_the_settings_and_what_is_wrong(conn, asker) -> None:
    await conn.execute("insert into actiond.setting (name, value) values ('paused', 'true'), ('x', '{\"a\": 1}')")
    status = await read.status(asker)
    assert status.settings == {"paused": True, "x": {"a": 1}}
    assert [problem.split(":")[0] for problem in status.problems] == ["everything is paused", "no daemon is running"]


ALIVE = {"id": 7, "host": "here", "alive": True, "seen_s": 0.2}
WAITS = {"processor": "p", "due": 2, "scheduled": 1, "registered": True, "enabled": True, "live_daemons": 1}
WAITS |= {"breaker": None, "token_in_s": None, "breaker_failed": 14, "breaker_outcomes": 20, "probe_in_s": 27.0}
WAITS |= {"flag_on": True, "opens_in_s": None}
OPEN = "the breaker of 'p' is open, as 14 of its latest 20 outcomes were failures; {}: `actiond resume p` closes it"


@pytest.mark.parametrize(
    ("daemon", "processor", "problem"),
    [
        ({}, {}, None),
        ({}, {"due": 0, "scheduled": 0, "live_daemons": 0, "enabled": False}, None),
        ({"seen_s": 7.0}, {}, "daemon 7 on here was last seen 7 s ago"),
        ({}, {"live_daemons": 0}, "3 rows wait for 'p', but no running daemon has it"),
        (
            {},
            {"live_daemons": 0, "registered": False},
            "3 rows wait for 'p', which no daemon serves: is the name right?",
        ),
        ({}, {"enabled": False}, "3 rows wait for 'p', which is disabled"),
        ({}, {"enabled": False, "due": 10_000}, "10,001+ rows wait for 'p', which is disabled"),
        ({}, {"breaker": "closed", "token_in_s": 0.5}, None),
        ({}, {"breaker": "open"}, OPEN.format("next probe in 27 s")),
        ({}, {"breaker": "probing", "due": 0, "scheduled": 0}, OPEN.format("a probe is under way")),
        ({"alive": False}, {"live_daemons": 0}, "no daemon is running: start one with `actiond run`"),
    ],
)
def test_a_problem_is_one_line_that_says_what_to_do(daemon, processor, problem) -> None:
    found = read.problems([WAITS | processor], [ALIVE | daemon], {})
    assert found == ([problem] if problem else [])


# Lists


async def test_a_list_is_of_the_newest_that_match(conn, store, asker) -> None:
    await set_now(conn, "2030-01-01 11:00:00+00")
    (old,) = await insert(conn, related="order 7")
    run_id = (await claim(store)).run_id
    await settle(store, [outcome(old, run_id, "failed", error="card declined")])
    await set_now(conn, NOW)
    (running,) = await insert(conn, related="order 8")
    await claim(store)
    pending, held = *(await insert(conn)), *(await insert(conn, status="held"))
    (other,) = await insert(conn, processor="q")

    async def ids(**filters: Any) -> list[int]:
        paging = {name: filters.pop(name) for name in ("limit", "below") if name in filters}
        return [row["id"] for row in (await read.actions(asker, filters, **paging)).rows]

    assert await ids() == [other, held, pending, running, old]
    assert await ids(processor="p") == [held, pending, running, old]
    assert await ids(status="running") == [running]
    assert await ids(status="pending") == [other, pending]
    assert await ids(status="failed") == [old]
    assert await ids(related="order 7") == [old]
    assert await ids(created_since="60 s") == [other, held, pending, running]
    assert await ids(error="declined") == [old]
    assert await ids(error="%") == []
    assert await ids(limit=2) == [other, held]
    assert await ids(limit=2, below=held) == [pending, running]
    assert await ids(processor="p", status="held", created_since="60 s") == [held]
    assert await ids(processor="nobody") == []
    (row,) = (await read.actions(asker, {"status": "failed"})).rows
    assert (row["ref"], row["attempts"], row["error"]) == (f"A-{old:08}", 1, "card declined")


# One action


async def test_one_action_is_shown_whole_with_its_runs_and_history(conn, pool, asker) -> None:
    (id_,) = await insert(conn, data='{"to": ["a"]}', related="order 7")
    runs = []
    for number, kind in enumerate(("retried", "completed"), 1):
        store = store_of(pool, number)
        answer = await claim(store)
        runs.append(answer.run_id)
        said = outcome(id_, answer.run_id, kind, noted=True, detail=None, result='{"sent": true}')
        await store.step(Parcel([said], [EndedRun(answer.run_id, "{}", "{}")]), None)
    shown = await read.action(asker, id_)
    assert shown is not None
    assert (shown["ref"], shown["status"], shown["attempts"], shown["related"]) == (
        f"A-{id_:08}",
        "completed",
        2,
        "order 7",
    )
    assert (shown["data"], shown["result"], shown["state"]) == ({"to": ["a"]}, {"sent": True}, None)
    assert [(run["id"], run["daemon"], run["actions"]) for run in shown["runs"]] == [(runs[0], 1, 1), (runs[1], 2, 1)]
    assert [(entry["event"], entry["run_id"]) for entry in shown["history"]] == [
        ("retried", runs[0]),
        ("completed", runs[1]),
    ]


async def test_an_action_that_is_not_there_is_nothing(asker) -> None:
    assert await read.action(asker, 1) is None


async def test_a_payload_that_python_cannot_read_is_shown_as_text(conn, asker) -> None:
    deep = "[" * 6_000 + "]" * 6_000
    (id_,) = await insert(conn, data=deep)
    shown = await read.action(asker, id_)
    assert shown is not None
    assert shown["data"] == deep


# Policies


async def test_every_knob_is_told_with_where_it_comes_from(conn, asker) -> None:
    await conn.execute(
        "insert into actiond.processor (name, declared, built_in, retries, timeout, config) values ("
        '\'p\', \'{"retries": 5, "batch_size": 50}\', \'{"batch_size": 200, "concurrency": 1, "retries": 3}\','
        " 0, '90 s', '{\"marker\": 1}'), ('q', '{}', '{\"retries\": 3}', null, null, null)"
    )
    told = {(row["processor"], row["knob"]): (row["value"], row["origin"]) for row in await read.policies(asker)}
    assert told == {
        ("p", "retries"): ("0", "override"),
        ("p", "timeout"): ("00:01:30", "override"),
        ("p", "config"): ('{"marker": 1}', "override"),
        ("p", "batch_size"): ("50", "declared"),
        ("p", "concurrency"): ("1", "built-in"),
        ("q", "retries"): ("3", "built-in"),
    }
    assert {row["processor"] for row in await read.policies(asker, "q")} == {"q"}


# However many rows there are


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", ()) for node in nodes(child))]


async def explained(asker, name: str, *arguments: Any) -> tuple[int, set[str]]:
    """(pages that were looked at, how the table of actions was read)"""
    told = await asker.fetchval(
        f"explain (analyze, buffers, format json, timing off) {Statements()[name]}", *arguments, timeout=60
    )
    plan = json.loads(told)[0]["Plan"]
    how = {node["Node Type"] for node in nodes(plan) if node.get("Relation Name") == "action"}
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"], how


@pytest.mark.slow
async def test_half_a_million_rows_are_neither_counted_nor_read_through(conn, asker) -> None:
    await conn.execute(
        "alter table actiond.action set (autovacuum_enabled = off);"
        "set session_replication_role = replica;"  # finished rows without the daemon that finished them
        "insert into actiond.action (processor, status, finished_at, attempts, run_id)"
        " select 'p' || i % 3, case when i % 10 = 0 then 'failed' else 'completed' end, actiond.now(), 1, 5"
        " from generate_series(1, 300000) i;"
        "insert into actiond.action (processor, next_eligible_at)"
        " select 'p' || i % 3, now() + interval '1 h' * (i % 2 * 2 - 1) from generate_series(1, 200000) i"
    )
    for statistics in (False, True):
        if statistics:
            await conn.execute("analyze")
        usual, how = await explained(asker, "status_processors", read.COUNT_AT_MOST)
        assert usual < 10 * read.COUNT_AT_MOST  # three counts of three processors
        assert "Seq Scan" not in how
    few, how = await explained(asker, "status_processors", 100)
    assert few < 2_000
    assert "Seq Scan" not in how
    for filters in ({}, {"processor": "p1"}, {"status": "pending"}, {"related": "order 7"}, {"status": "failed"}):
        pages, _ = await explained(asker, "find_actions", json.dumps(filters), None, 50, True)
        assert pages < 1_000, filters  # the catalog included; the table has tens of thousands
    pages, how = await explained(asker, "list_actions", list(range(1, 500_000, 10_000)))
    assert pages < 400
    assert "Seq Scan" not in how
    seen = by_name(await read.status(asker))
    assert {(each["due"], each["scheduled"], each["failed"]) for each in seen.values()} == {(10_000, 10_000, 10_000)}
    assert read.counted(seen["p0"]["due"]) == "10,000+"
