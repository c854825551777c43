"""A bulk verb goes through what a filter finds, chunk by chunk, exactly once a row, whatever interrupts it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import asyncpg
import pytest

from actiond.postgres import verbs
from actiond.postgres.connection import connect
from actiond.words.status import Verb
from support.work import claim, history, insert, look, outcomes, settle


@pytest.fixture
async def operator(db):
    """A connection as the commands have it."""
    connection = await connect(db.dsn)
    yield connection
    connection.terminate()


async def failed_rows(conn, store, rows: int, processor: str = "p", **columns: Any) -> list[int]:
    await insert(conn, rows, processor, **columns)
    answer = await claim(store, rows, processor)
    await settle(store, outcomes(answer, "failed"))
    return [row.id for row in answer.rows]


async def through(operator, id_: int, at_most: int = 10) -> verbs.Bulk:
    """To its end."""
    while await verbs.step(operator, id_, at_most):
        bulk = await verbs.look(operator, id_)
        assert bulk is not None
        if bulk.over:
            return bulk
    raise AssertionError("it is not held")


async def released(conn) -> dict[int, int]:
    rows = await conn.fetch(
        "select action_id, count(*) as n from actiond.history where event = 'released' group by action_id"
    )
    return {row["action_id"]: row["n"] for row in rows}


async def test_every_matching_row_is_changed_once_and_no_other(conn, store, operator) -> None:
    mine = await failed_rows(conn, store, 37)
    others = await failed_rows(conn, store, 5, "q")
    id_ = await verbs.start(operator, Verb.RETRY, {"processor": "p", "status": ["failed"]}, "why", add_retries=2)
    done = await through(operator, id_)
    assert (done.changed, done.over, done.status) == (37, True, "held")
    assert await released(conn) == dict.fromkeys(mine, 1)
    assert {(await look(conn, other))["status"] for other in others} == {"failed"}
    entry = (await history(conn, mine[0]))[-1]
    assert (entry["verb"], entry["verb_id"], entry["reason"]) == ("retry", id_, "why")
    assert (await look(conn, mine[0]))["retries_left"] == 2
    assert await verbs.step(operator, id_)
    assert (await verbs.look(operator, id_)).changed == 37


async def test_without_a_status_a_verb_finds_what_it_takes(conn, store, operator) -> None:
    (failed,) = await failed_rows(conn, store, 1)
    (held,) = await insert(conn, status="held")
    (pending,) = await insert(conn)
    assert (await through(operator, await verbs.start(operator, Verb.RETRY, {}, None))).changed == 2
    assert await released(conn) == {failed: 1, held: 1}
    assert (await through(operator, await verbs.start(operator, Verb.RELEASE, {"status": "failed"}, None))).changed == 0
    assert (await through(operator, await verbs.start(operator, Verb.CANCEL, {}, None))).changed == 3
    assert {(await look(conn, id_))["status"] for id_ in (failed, held, pending)} == {"canceled"}


async def test_rows_that_fail_again_meanwhile_are_not_taken_twice(conn, store, operator) -> None:
    mine = await failed_rows(conn, store, 30)
    id_ = await verbs.start(operator, Verb.RETRY, {"status": "failed"}, None)
    for _ in range(8):
        assert await verbs.step(operator, id_, 7)
        await settle(store, outcomes(await claim(store), "failed"))
    assert (await verbs.look(operator, id_)).over
    assert await released(conn) == dict.fromkeys(mine, 1)


async def test_rows_that_come_later_are_not_meant(conn, store, operator) -> None:
    await failed_rows(conn, store, 3)
    id_ = await verbs.start(operator, Verb.RETRY, {"status": "failed"}, None)
    later = await failed_rows(conn, store, 3)
    assert (await through(operator, id_)).changed == 3
    assert {(await look(conn, row))["status"] for row in later} == {"failed"}


async def test_a_row_that_no_longer_matches_when_its_turn_comes_is_left_alone(conn, store, operator, db) -> None:
    """Between finding and locking: another connection releases a row that is to be canceled because it is held."""
    (id_,) = await insert(conn, status="held")
    bulk = await verbs.start(operator, Verb.CANCEL, {"status": "held"}, None)
    other = await db.connect()
    transaction = other.transaction()
    await transaction.start()
    await other.execute("select * from actiond.release($1)", [id_])
    async with asyncio.TaskGroup() as tasks:
        stepping = tasks.create_task(verbs.step(operator, bulk))
        while not await conn.fetchval("select exists (select from pg_locks where not granted)"):
            await conn.fetchval("select pg_stat_clear_snapshot()")
        await transaction.commit()
    assert stepping.result()
    assert (await look(conn, id_))["status"] == "pending"
    assert (await verbs.look(operator, bulk)).changed == 0
    await other.close()


async def test_a_chunk_and_its_position_commit_together_or_not_at_all(conn, store, operator) -> None:
    mine = await failed_rows(conn, store, 20)
    id_ = await verbs.start(operator, Verb.RETRY, {"status": "failed"}, None)
    transaction = operator.transaction()
    await transaction.start()
    await verbs.step(operator, id_, 10)
    await transaction.rollback()
    assert (await verbs.look(operator, id_)).changed == 0
    assert await released(conn) == {}
    await through(operator, id_)
    assert await released(conn) == dict.fromkeys(mine, 1)


async def test_two_who_go_on_with_the_same_one_share_it(conn, store, operator, db) -> None:
    mine = await failed_rows(conn, store, 200)
    id_ = await verbs.start(operator, Verb.RETRY, {"status": "failed"}, None)
    second = await connect(db.dsn)
    await asyncio.gather(through(operator, id_, 7), through(second, id_, 11))
    second.terminate()
    assert (await verbs.look(operator, id_)).changed == 200
    assert await released(conn) == dict.fromkeys(mine, 1)


async def test_bulk_verbs_that_meet_each_other_do_not_wait_for_each_other(conn, store, operator, db) -> None:
    await insert(conn, 100)
    second = await connect(db.dsn)
    first_id = await verbs.start(operator, Verb.HOLD, {}, None)
    second_id = await verbs.start(second, Verb.CANCEL, {}, None)
    await asyncio.gather(through(operator, first_id, 7), through(second, second_id, 11))
    second.terminate()
    assert {(await look(conn, id_))["status"] for id_ in (first_id, second_id)} == {"held"}


async def test_one_that_is_held_no_more_is_not_ours_to_go_on_with(conn, operator, store) -> None:
    id_ = await verbs.start(operator, Verb.HOLD, {}, None)
    await verbs.act(operator, Verb.RELEASE, [id_], None)
    assert not await verbs.step(operator, id_)
    assert (await claim(store, processor="actiond.verb")).rows[0].id == id_
    assert not await verbs.step(operator, id_)
    assert not await verbs.step(operator, 10**12)
    (ordinary,) = await insert(conn, status="held")
    assert not await verbs.step(operator, ordinary)
    assert await verbs.look(operator, ordinary) is None


async def test_the_same_words_find_an_interrupted_one_again(conn, operator, a_role) -> None:
    line = "actiond retry --status failed"
    id_ = await verbs.start(operator, Verb.RETRY, {}, None, asked=line)
    assert await verbs.unfinished(operator, line) == id_
    assert await verbs.unfinished(operator, line + " --processor p") is None
    await conn.execute(f"grant usage on schema actiond to {a_role}; grant select on actiond.action to {a_role}")
    await conn.execute(f"set session authorization {a_role}")
    assert await verbs.unfinished(conn, line) is None
    await conn.execute("reset session authorization")
    await through(operator, id_)
    assert await verbs.unfinished(operator, line) is None


async def test_what_a_bulk_verb_has_changed_is_undone_and_nothing_else(conn, store, operator) -> None:
    before, mine = await insert(conn, status="held"), await insert(conn, 25)
    hold = await verbs.start(operator, Verb.HOLD, {"processor": "p"}, None)
    assert (await through(operator, hold)).changed == 25
    undo = await verbs.start(operator, Verb.RELEASE, {"changed_by": hold}, None)
    assert (await through(operator, undo)).changed == 25
    assert {(await look(conn, id_))["status"] for id_ in mine} == {"pending"}
    assert (await look(conn, before[0]))["status"] == "held"


async def test_a_role_that_only_inserts_cannot_have_a_daemon_change_actions(conn, a_role, operator) -> None:
    (victim,) = await insert(conn)
    await conn.execute(
        f"grant usage on schema actiond to {a_role}; grant insert on actiond.action to {a_role};"
        f"grant select (id) on actiond.action to {a_role}"
    )
    await conn.execute(f"set session authorization {a_role}")
    id_ = await conn.fetchval("select actiond.bulk('cancel', '{}', held => true)")
    await conn.execute("reset session authorization")
    with pytest.raises(asyncpg.PostgresError, match="may not change actions"):
        await verbs.step(operator, id_)
    assert (await look(conn, victim))["status"] == "pending"
    await conn.execute(f"grant update (status) on actiond.action to {a_role}")
    assert await verbs.step(operator, id_)
    assert (await look(conn, victim))["status"] == "canceled"
    assert [entry["by"] for entry in await history(conn, victim)] == [a_role]


async def test_a_count_is_bounded_and_says_so(conn, operator, monkeypatch) -> None:
    ids = await insert(conn, 30)
    counted = await verbs.count(operator, {"processor": "p"})
    assert (str(counted), [row["id"] for row in counted.sample]) == ("30", ids[:-6:-1])
    monkeypatch.setattr(verbs, "COUNT_AT_MOST", 10)
    assert str(await verbs.count(operator, {"processor": "p"})) == "more than 10"
    monkeypatch.setattr(verbs, "LOOKS", 0)
    assert str(await verbs.count(operator, {"processor": "p"})) == "more than 0"


async def test_a_bulk_verb_that_makes_no_sense_is_refused_when_it_is_asked_for(conn) -> None:
    for verb, filter_ in (("explode", {}), ("retry", {"nonsense": 1}), ("retry", {"status": "odd"})):
        with pytest.raises(asyncpg.PostgresError):
            await conn.execute("select actiond.bulk($1, $2)", verb, json.dumps(filter_))
    assert await conn.fetchval("select count(*) from actiond.action") == 0
