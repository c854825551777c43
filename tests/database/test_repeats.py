"""Recurring actions: a grid that neither retries nor people nor long runs move."""

from __future__ import annotations

from datetime import datetime, timedelta

import asyncpg
import pytest

from actiond import enqueue
from support.clock import set_now
from support.work import claim, history, look, outcome, settle

START = datetime.fromisoformat("2030-01-01 12:00:00+00:00")
HOUR = timedelta(hours=1)


async def at(conn, **later: float) -> None:
    await set_now(conn, str(START + timedelta(**later)))


async def recurring(conn, **more: object) -> int:
    await at(conn)
    return await enqueue(conn, "p", repeat_every="1 h", **more)


async def ends(store, id_: int, kind: str, **more: object) -> None:
    answer = await claim(store)
    assert [(row.id, row.repeats) for row in answer.rows] == [(id_, True)]
    await settle(store, [outcome(id_, answer.run_id, kind, **more)])


async def next_at(conn, id_: int) -> datetime:
    return (await look(conn, id_))["next_eligible_at"]


async def test_success_puts_it_on_the_next_time_of_its_grid_with_retries_anew(conn, store) -> None:
    id_ = await recurring(conn, retries=1)
    await at(conn, minutes=7)
    await ends(store, id_, "repeated", result="1", noted=True)
    row = await look(conn, id_)
    assert (row["status"], row["result"], row["retries_left"], row["claimed_by"]) == ("pending", "1", None, 0)
    assert (row["next_eligible_at"], row["finished_at"], row["repeat_slot"]) == (START + HOUR, None, None)
    assert [event["event"] for event in await history(conn, id_)] == ["repeated"]
    assert (await claim(store)).rows == []


@pytest.mark.parametrize(("missed", "then"), [(None, 5), (True, 1)])
async def test_times_that_have_passed_are_left_out_or_made_up_for(conn, store, missed, then) -> None:
    id_ = await recurring(conn)
    await conn.execute("update actiond.action set repeat_missed = $1", missed)
    await at(conn, hours=4, minutes=30)
    await ends(store, id_, "repeated")
    assert await next_at(conn, id_) == START + then * HOUR


@pytest.mark.parametrize("kind", ["retried", "deferred"])
async def test_a_retry_does_not_move_the_grid(conn, store, kind) -> None:
    id_ = await recurring(conn)
    await ends(store, id_, kind, delay_s=600.0)
    assert await next_at(conn, id_) == START + timedelta(minutes=10)
    await at(conn, minutes=20)
    await ends(store, id_, kind, delay_s=600.0)
    await at(conn, minutes=31)
    await ends(store, id_, "repeated")
    assert await next_at(conn, id_) == START + HOUR


@pytest.mark.parametrize("minutes", [20, 100])
async def test_run_now_does_not_move_the_grid(conn, store, minutes) -> None:
    """Before its time it runs once more; after its time it is that time, late."""
    id_ = await recurring(conn)
    await ends(store, id_, "repeated")
    await at(conn, minutes=minutes)
    await conn.execute("update actiond.action set next_eligible_at = actiond.now()")
    await ends(store, id_, "repeated")
    assert await next_at(conn, id_) == START + (1 if minutes < 60 else 2) * HOUR


async def test_a_failure_without_retries_left_waits_for_the_next_time_and_keeps_its_error(conn, store) -> None:
    id_ = await recurring(conn)
    await ends(store, id_, "repeated", error="no luck")
    row = await look(conn, id_)
    assert (row["status"], row["error"], row["next_eligible_at"]) == ("pending", "no luck", START + HOUR)
    assert await conn.fetchval("select failed from actiond.run") == 1
    await at(conn, hours=1)
    await ends(store, id_, "repeated")
    assert (await look(conn, id_))["error"] is None
    assert await conn.fetchval("select sum(completed) from actiond.run") == 1


@pytest.mark.parametrize("kind", ["completed", "failed", "canceled"])
async def test_what_is_final_is_final(conn, store, kind) -> None:
    id_ = await recurring(conn)
    await ends(store, id_, kind)
    assert (await look(conn, id_))["status"] == kind


@pytest.mark.parametrize(("error", "becomes"), [(None, "completed"), ("no", "failed")])
async def test_whose_repeating_is_ended_during_a_run_ends_with_that_run(conn, store, error, becomes) -> None:
    id_ = await recurring(conn)
    answer = await claim(store)
    await conn.execute("update actiond.action set repeat_every = null")
    await settle(store, [outcome(id_, answer.run_id, "repeated", error=error, noted=True)])
    row = await look(conn, id_)
    assert (row["status"], row["finished_at"] is not None) == (becomes, True)
    assert [event["event"] for event in await history(conn, id_)] == [becomes]


@pytest.mark.parametrize("every", ["0.5 s", "1 month", "-1 h"])
async def test_a_grid_is_made_of_plain_durations(conn, every) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await conn.execute(f"insert into actiond.action (processor, repeat_every) values ('p', '{every}')")
    assert refused.value.constraint_name == "repeat_every_is_at_least_a_second"
