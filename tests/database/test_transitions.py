"""The SQL does what words/status.TRANSITIONS says, and a person's word beats a late outcome."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import asyncpg
import pytest

from actiond.postgres.action_store import ActionStore
from actiond.words.status import FINAL, TRANSITIONS, Cause, Status
from support.database import eventually
from support.work import claim, daemons_of, history, insert, look, outcome, settle

STATUSES = sorted(Status)
BY_HAND = {Cause.HOLD: Status.HELD, Cause.CANCEL: Status.CANCELED, Cause.RELEASE: Status.PENDING}
OUTCOMES = {Cause.COMPLETED, Cause.FAILED, Cause.RETRIED, Cause.DEFERRED, Cause.WAITING, Cause.REPEATED, Cause.CANCELED}
names = (f"p{number}" for number in count())


async def a_row_that_is(status: Status, conn, store: ActionStore) -> int:
    """One row of a processor of its own."""
    name = next(names)
    if status in (Status.PENDING, Status.HELD):
        return (await insert(conn, processor=name, status=status.value))[0]
    (id_,) = await insert(conn, processor=name)
    answer = await claim(store, processor=name)
    if status in FINAL:
        await settle(store, [outcome(id_, answer.run_id, status.value)])
    return id_


async def by_hand(conn, id_: int, status: str) -> bool:
    """Was it allowed? A refusal has a code of its own."""
    try:
        await conn.execute("update actiond.action set status = $2 where id = $1", id_, status)
    except asyncpg.PostgresError as refused:
        if refused.sqlstate == "AC002":
            return False
        raise
    return True


async def undergo(cause: Cause, id_: int, conn, store: ActionStore, pool) -> None:
    """What each cause is in SQL. A change by hand that is refused leaves the row as it is."""
    row = await look(conn, id_)
    if cause in BY_HAND:
        await by_hand(conn, id_, BY_HAND[cause].value)
    elif cause in OUTCOMES:
        if cause is Cause.REPEATED:
            await conn.execute("update actiond.action set repeat_every = '1 h' where id = $1", id_)
        await settle(store, [outcome(id_, row["run_id"], cause.value)])
    elif cause is Cause.CLAIM:
        await claim(store, processor=row["processor"])
    elif cause is Cause.GIVEN_BACK:
        await store.give_back(row["run_id"], [id_])
    else:
        crashes = 2 if cause is Cause.QUARANTINED else 0
        await conn.execute("update actiond.action set crashes = $2 where id = $1", id_, crashes)
        await daemons_of(pool).rescue(store.daemon, row["run_id"], False)


async def seen(conn, id_: int) -> Status:
    return Status(await conn.fetchval("select status from actiond.action_list where id = $1", id_))


@pytest.mark.parametrize("status", STATUSES)
async def test_every_cause_leads_where_the_table_says_and_nowhere_else(status, conn, store, pool) -> None:
    reached = {}
    for cause in Cause:
        id_ = await a_row_that_is(status, conn, store)
        assert await seen(conn, id_) is status
        await undergo(cause, id_, conn, store, pool)
        reached[cause] = await seen(conn, id_)
    assert reached == {cause: TRANSITIONS.get((status, cause), status) for cause in Cause}


@pytest.mark.parametrize("status", STATUSES)
async def test_by_hand_a_status_is_set_exactly_where_the_table_has_it(status, conn, store) -> None:
    stored = Status.PENDING if status is Status.RUNNING else status
    allowed, refused = set(), set()
    for wanted in set(STATUSES) - {Status.RUNNING, stored}:
        id_ = await a_row_that_is(status, conn, store)
        before = await look(conn, id_)
        if await by_hand(conn, id_, wanted.value):
            allowed.add(wanted)
            assert (await look(conn, id_))["status"] == wanted
        else:
            refused.add(wanted)
            assert await look(conn, id_) == before
    causes = {wanted: cause for cause, wanted in BY_HAND.items()}
    assert allowed == {wanted for wanted in allowed | refused if (status, causes.get(wanted)) in TRANSITIONS}
    assert status is not Status.COMPLETED or not allowed


async def test_running_is_no_status_that_can_be_stored(conn, store) -> None:
    (id_,) = await insert(conn)
    assert not await by_hand(conn, id_, "running")
    with pytest.raises(asyncpg.CheckViolationError):
        await insert(conn, status="running")


@pytest.mark.parametrize("status", STATUSES)
async def test_setting_the_status_that_a_row_has_changes_nothing(status, conn, store) -> None:
    id_ = await a_row_that_is(status, conn, store)
    before = await look(conn, id_)
    await by_hand(conn, id_, before["status"])
    assert await look(conn, id_) == before
    assert [entry["event"] for entry in await history(conn, id_)] == []


@pytest.mark.parametrize("status", [Status.HELD, Status.FAILED, Status.CANCELED])
async def test_a_row_that_returns_to_pending_has_no_claim_no_end_and_a_new_fence(status, conn, store) -> None:
    id_ = await a_row_that_is(status, conn, store)
    before = await look(conn, id_)
    await by_hand(conn, id_, "pending")
    after = await look(conn, id_)
    assert after["run_id"] > before["run_id"]
    assert after == before | {"status": "pending", "claimed_by": 0, "finished_at": None, "run_id": after["run_id"]}
    assert [(entry["event"], entry["detail"]) for entry in await history(conn, id_)] == [("released", f"was {status}")]


@pytest.fixture
async def withdrawn(db) -> Any:
    """What daemons are told of lost rows, while the test runs."""
    heard: list[str] = []
    listener = await db.connect()
    await listener.add_listener("actiond_withdrawn", lambda *message: heard.append(message[3]))
    yield heard
    await listener.close()


@pytest.mark.parametrize(("status", "event"), [("held", "held"), ("canceled", "canceled")])
@pytest.mark.parametrize("kind", sorted(OUTCOMES))
async def test_a_change_by_hand_of_a_running_row_counts_at_once_and_its_late_outcome_is_fenced(
    status, event, kind, conn, store, withdrawn
) -> None:
    id_ = await a_row_that_is(Status.RUNNING, conn, store)
    running = await look(conn, id_)
    await by_hand(conn, id_, status)
    changed = await look(conn, id_)
    assert changed["status"] == status
    assert changed["claimed_by"] == 0
    assert changed["run_id"] > running["run_id"]
    assert (changed["finished_at"] is not None) == (status == "canceled")
    (entry,) = await history(conn, id_)
    assert (entry["event"], entry["run_id"], entry["attempt"]) == (event, running["run_id"], 1)
    assert entry["by"] == await conn.fetchval("select session_user")
    assert entry["detail"] == f"was pending, running on daemon {store.daemon}"
    await eventually(lambda: withdrawn == [f"{store.daemon} {running['run_id']} {id_}"])
    assert await store.withdrawn([running["run_id"]]) == [(running["run_id"], id_)]

    late = outcome(id_, running["run_id"], kind)
    answer = await settle(store, [late])
    assert answer.fenced == [late]
    assert await store.note_fenced(answer.fenced) == [id_]
    assert await look(conn, id_) == changed
    assert [entry["event"] for entry in await history(conn, id_)] == [event, "fenced"]


@pytest.mark.parametrize("status", ["held", "canceled"])
async def test_a_row_that_is_stopped_and_released_during_a_run_does_not_hear_that_run(status, conn, store) -> None:
    id_ = await a_row_that_is(Status.RUNNING, conn, store)
    running = await look(conn, id_)
    await by_hand(conn, id_, status)
    await by_hand(conn, id_, "pending")
    released = await look(conn, id_)
    late = outcome(id_, running["run_id"])
    assert (await settle(store, [late])).fenced == [late]
    assert await look(conn, id_) == released

    again = await claim(store, processor=running["processor"])
    assert [row.id for row in again.rows] == [id_]
    assert (await settle(store, [late])).fenced == [late]
    assert await seen(conn, id_) is Status.RUNNING
    assert (await settle(store, [outcome(id_, again.run_id)])).fenced == []
    assert await seen(conn, id_) is Status.COMPLETED


async def test_the_late_outcome_is_kept_in_history_in_words(conn, store) -> None:
    id_ = await a_row_that_is(Status.RUNNING, conn, store)
    run_id = (await look(conn, id_))["run_id"]
    await by_hand(conn, id_, "canceled")
    await store.note_fenced([outcome(id_, run_id, "failed", error="card declined")])
    entry = (await history(conn, id_))[-1]
    assert (entry["event"], entry["run_id"]) == ("fenced", run_id)
    assert entry["detail"] == f"run {run_id} ended it anyway: failed: card declined"


async def test_a_row_that_was_deleted_while_it_ran_is_fenced_and_hurts_nobody(conn, store) -> None:
    gone, kept = await insert(conn, 2)
    answer = await claim(store)
    await conn.execute("delete from actiond.action where id = $1", gone)
    assert [late.id for late in (await settle(store, [outcome(row, answer.run_id) for row in answer.rows])).fenced] == [
        gone
    ]
    assert await seen(conn, kept) is Status.COMPLETED


async def test_a_cancel_and_an_outcome_at_once_leave_one_of_them_and_never_both(conn, db, store) -> None:
    ended = set()
    for _ in range(30):
        id_ = await a_row_that_is(Status.RUNNING, conn, store)
        run_id = (await look(conn, id_))["run_id"]
        answer, allowed = await asyncio.gather(settle(store, [outcome(id_, run_id)]), by_hand(conn, id_, "canceled"))
        status = await seen(conn, id_)
        ended.add(status)
        if status is Status.COMPLETED:
            assert (answer.fenced, allowed) == ([], False)
        else:
            assert (status, len(answer.fenced), allowed) == (Status.CANCELED, 1, True)
            assert [entry["event"] for entry in await history(conn, id_)] == ["canceled"]
    assert ended <= {Status.COMPLETED, Status.CANCELED}


async def test_history_names_the_person_and_not_the_owner_of_the_schema(conn, a_role) -> None:
    (id_,) = await insert(conn)
    await conn.execute(
        f"grant usage on schema actiond to {a_role}; grant select, update (status) on actiond.action to {a_role}"
    )
    await conn.execute(f"set session authorization {a_role}")
    await by_hand(conn, id_, "held")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await conn.execute("insert into actiond.history (action_id, event) values (1, 'held')")
    await conn.execute("reset session authorization")
    assert [(entry["event"], entry["by"]) for entry in await history(conn, id_)] == [("held", a_role)]
