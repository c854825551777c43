"""One statement: the outcomes of batches that ended, then the next claim."""

from __future__ import annotations

import asyncio
import random
from itertools import product
from typing import Any

import pytest

from actiond.batch.run import Run
from actiond.contract.policy import Policy
from actiond.postgres.action_store import EndedRun, Parcel
from actiond.postgres.statements import Statements
from actiond.rules.settlement import settle as settlement_of
from actiond.words.claimed import Settlement
from actiond.words.outcome import KEEP_ALIVE, SUDDEN_DEATH, Canceled, Completed, Deferred, Failed
from support.clock import set_now
from support.database import eventually
from support.work import (
    a_claim,
    blocked,
    claim,
    history,
    insert,
    look,
    outcome,
    outcomes,
    pool_of,
    run_row,
    settle,
    store_of,
)

NOW = "2030-01-01 12:00:00+00"
COUNTS = ("completed", "failed", "retried", "deferred", "canceled", "fenced", "returned")


def broken(old: str, new: str) -> Statements:
    """The step statement with one thing changed."""
    text = Statements()["step"]
    assert text.count(old) == 1
    return Statements().but(step=text.replace(old, new))


def counts(run: dict) -> dict[str, int]:
    return {name: run[name] for name in COUNTS if run[name]}


# Outcomes


async def test_outcomes_of_every_kind_land_in_one_statement(conn, store) -> None:
    await set_now(conn, NOW)
    await insert(conn, 6)
    await conn.execute("update actiond.action set error = 'the last time', retries_left = 3")
    answer = await claim(store)
    done, result, failed, retried, deferred, canceled = (row.id for row in answer.rows)
    run_id = answer.run_id
    written = [
        outcome(done, run_id),
        outcome(canceled, run_id, "canceled", error="not needed"),
        outcome(retried, run_id, "retried", error="busy", delay_s=60.0, retries_left=2),
        outcome(failed, run_id, "failed", error="no", retries_left=0),
        outcome(result, run_id, result='{"a": 1}'),
        outcome(deferred, run_id, "deferred", delay_s=5.0, state='{"step": 2}'),
    ]
    assert (await settle(store, written)).fenced == []
    rows = await conn.fetch(
        "select status, error, retries_left, result::text, state::text,"
        " extract(epoch from next_eligible_at - actiond.now())::int, finished_at = actiond.now() from actiond.action"
        " order by id"
    )
    assert [tuple(row) for row in rows] == [
        ("completed", None, 3, None, None, 0, True),
        ("completed", None, 3, '{"a": 1}', None, 0, True),
        ("failed", "no", 0, None, None, 0, True),
        ("pending", "busy", 2, None, None, 60, None),
        ("pending", "the last time", 3, None, '{"step": 2}', 5, None),
        ("canceled", "not needed", 3, None, None, 0, True),
    ]
    rows = await conn.fetch("select distinct claimed_by, run_id, attempts from actiond.action")
    assert [tuple(row) for row in rows] == [(0, run_id, 1)]


async def test_a_deferral_keeps_the_state_it_does_not_name_and_a_completion_keeps_the_result(conn, store) -> None:
    (id_,) = await insert(conn)
    run_id = (await claim(store)).run_id
    await settle(store, [outcome(id_, run_id, "deferred", state='{"step": 1}')])
    run_id = (await claim(store)).run_id
    await settle(store, [outcome(id_, run_id, "deferred")])
    row = (await claim(store)).rows[0]
    assert (row.state, row.attempts) == ('{"step": 1}', 3)


async def test_only_what_asks_for_it_is_noted_in_history(conn, store) -> None:
    quiet, noted = await insert(conn, 2)
    run_id = (await claim(store)).run_id
    await settle(store, [outcome(quiet, run_id), outcome(noted, run_id, "failed", noted=True, detail="the whole text")])
    assert await history(conn, quiet) == []
    (entry,) = await history(conn, noted)
    assert (entry["event"], entry["run_id"], entry["attempt"], entry["detail"]) == (
        "failed", run_id, 1, "the whole text",
    )  # fmt: skip


KINDS = {
    "completed": Completed(),
    "failed": Failed("no", SUDDEN_DEATH),
    "retried": Failed("no", KEEP_ALIVE, after="0 s"),
    "deferred": Deferred(),
    "canceled": Canceled(),
}


@pytest.mark.parametrize(
    ("level", "attempt", "noted"),
    [
        ("all", 1, {*KINDS}),
        ("changes", 1, {*KINDS} - {"completed"}),
        ("changes", 2, {*KINDS}),
        ("none", 2, set()),
    ],
)
async def test_the_history_level_decides_what_is_kept(level, attempt, noted, conn, store) -> None:
    rules = Policy(history=level).rules
    await insert(conn, len(KINDS))
    for _ in range(attempt - 1):
        await settle(store, outcomes(await claim(store), "retried"))
    answer = await claim(store)
    await settle(
        store,
        [
            settlement_of(row, answer.run_id, said, rules, 0)
            for row, said in zip(answer.rows, KINDS.values(), strict=True)
        ],
    )
    assert {row["event"] for row in await conn.fetch("select event from actiond.history")} == noted


async def test_retries_left_is_resolved_when_first_charged_and_not_before(conn, store) -> None:
    rules = Policy(retries=3, retry_interval=0.0).rules
    (id_,) = await insert(conn)

    async def after(said: object) -> tuple[str, int | None]:
        answer = await claim(store)
        (row,) = answer.rows
        await settle(store, [settlement_of(row, answer.run_id, said, rules, 0)])  # type: ignore[arg-type]
        kept = await look(conn, id_)
        return kept["status"], kept["retries_left"]

    assert await after(Deferred()) == ("pending", None)
    assert await after(Failed("busy", KEEP_ALIVE)) == ("pending", None)
    assert await after(Failed("no")) == ("pending", 2)
    await conn.execute("update actiond.action set retries_left = 1 where id = $1", id_)
    assert await after(Failed("no")) == ("pending", 0)
    assert await after(Failed("no")) == ("failed", 0)


# The fence


async def test_outcomes_that_are_sent_again_change_nothing(conn, store) -> None:
    await insert(conn, 4)
    run_id = (answer := await claim(store)).run_id
    kinds = ["completed", "failed", "retried", "canceled"]
    parcel = Parcel(
        [outcome(row, run_id, kind, noted=True) for row, kind in zip(answer.rows, kinds, strict=True)],
        [EndedRun(run_id, "{4}", "{4}")],
    )
    assert (await store.step(parcel, None)).fenced == []

    async def everything() -> list[list[tuple]]:
        return [
            [tuple(row) for row in await conn.fetch(f"select * from actiond.{table} order by id")]
            for table in ("action", "run", "history")
        ]

    before = await everything()
    again = await store.step(parcel, None)
    assert {late.id for late in again.fenced} == {row.id for row in answer.rows}
    assert await store.note_fenced(again.fenced) == []
    assert await everything() == before


GUARDS = {
    "run": (" and a.run_id = o.run_id", ""),
    "daemon": ("a.claimed_by = $1 and a.status = o.was", "$1 > 0 and a.status = o.was"),
    "status": (" and a.status = o.was", ""),
}


@pytest.mark.parametrize("wrong", GUARDS)
@pytest.mark.parametrize("guarded", [True, False], ids=["guarded", "without that guard"])
async def test_run_and_daemon_and_status_must_each_be_right(wrong, guarded, conn, pool) -> None:
    (id_,) = await insert(conn)
    run_id = (await claim(store_of(pool))).run_id
    if wrong == "status":
        await conn.execute("set session_replication_role = replica")  # no trigger: the claim stays
        await conn.execute("update actiond.action set status = 'held'")
    before = await look(conn, id_)
    store = store_of(pool, 2 if wrong == "daemon" else 1, Statements() if guarded else broken(*GUARDS[wrong]))
    late = outcome(id_, run_id + (wrong == "run"))
    assert (await settle(store, [late])).fenced == ([late] if guarded else [])
    assert (await look(conn, id_) == before) is guarded


class Watched:
    """A pool that keeps the last answer as it came."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self.records: list[Any] = []

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        self.records = await self._pool.fetch(query, *arguments)
        return self.records


async def test_what_was_written_is_told_only_when_something_was_fenced(conn, pool) -> None:
    ids = await insert(conn, 3)
    watched = Watched(pool)
    store = store_of(watched)  # type: ignore[arg-type]
    run_id = (await claim(store)).run_id

    async def told(*settlements: Settlement) -> tuple[list[Settlement], list[int] | None]:
        fenced = (await settle(store, settlements)).fenced
        return fenced, watched.records[0]["written"]

    late = outcome(ids[1], run_id + 1)
    assert await told() == ([], None)
    assert await told(outcome(ids[0], run_id)) == ([], None)
    assert await told(late) == ([late], [])
    assert await told(outcome(ids[2], run_id), late) == ([late], [ids[2]])


async def test_what_is_fenced_hinders_neither_its_neighbours_nor_the_claim(conn, store) -> None:
    await insert(conn, 3)
    answer = await claim(store, limit=2)
    await conn.execute("update actiond.action set status = 'canceled' where id = $1", answer.rows[0].id)
    next_one = await store.step(Parcel(outcomes(answer)), a_claim())
    assert [late.id for late in next_one.fenced] == [answer.rows[0].id]
    assert len(next_one.rows) == 1
    assert (await look(conn, answer.rows[1].id))["status"] == "completed"


# The run row


async def test_a_run_row_is_opened_by_the_claim_and_closed_by_the_last_outcome(conn, store) -> None:
    ids = await insert(conn, 7)
    answer = await claim(store)
    run = await run_row(conn, answer.run_id)
    assert (run["processor"], run["daemon"], run["actions"]) == ("p", 1, ids)
    assert (run["finished_at"], counts(run)) == (None, {})
    kinds = ["completed", "failed", "retried", "deferred", "canceled", "completed"]
    said = [outcome(row, answer.run_id, kind) for row, kind in zip(answer.rows, kinds, strict=False)]
    await settle(store, said[:2])
    run = await run_row(conn, answer.run_id)
    assert (run["finished_at"], counts(run)) == (None, {"completed": 1, "failed": 1})
    await conn.execute("update actiond.action set status = 'held' where id = $1", ids[-1])
    late = outcome(answer.rows[-1], answer.run_id)
    await store.step(Parcel([*said[2:], late], [EndedRun(answer.run_id, "{}", "{}")]), None)
    run = await run_row(conn, answer.run_id)
    assert run["finished_at"] is not None
    assert counts(run) == {"completed": 2, "failed": 1, "retried": 1, "deferred": 1, "canceled": 1, "fenced": 1}


async def test_rows_that_were_given_back_are_not_missed_when_the_run_ends(conn, store) -> None:
    ids = await insert(conn, 3)
    answer = await claim(store)
    assert await store.give_back(answer.run_id, ids[1:]) == 2
    assert await store.give_back(answer.run_id, ids[1:]) == 0
    await store.step(Parcel([outcome(ids[0], answer.run_id)], [EndedRun(answer.run_id, "{}", "{}")]), None)
    assert counts(await run_row(conn, answer.run_id)) == {"completed": 1, "returned": 2}
    rows = await conn.fetch("select attempts, claimed_by, started_at, retries_left from actiond.action order by id")
    assert [tuple(row)[:2] for row in rows] == [(1, 0), (0, 0), (0, 0)]
    assert [row["started_at"] for row in rows[1:]] == [None, None]


async def test_what_is_said_of_a_row_that_was_given_back_comes_too_late(conn, store) -> None:
    (id_,) = await insert(conn)
    answer = await claim(store)
    await store.give_back(answer.run_id, [id_])
    late = await settle(store, outcomes(answer))
    assert [settlement.id for settlement in late.fenced] == [id_]
    assert await store.note_fenced(late.fenced) == [id_]
    assert await store.withdrawn([answer.run_id]) == [(answer.run_id, id_)]
    assert [row.id for row in (await claim(store)).rows] == [id_]


async def test_how_long_rows_waited_and_ran_is_kept_in_powers_of_two(conn, store) -> None:
    await insert(conn, 3)
    answer = await claim(store)
    run = Run.of(
        answer.run_id,
        "p",
        [row._replace(waited_s=waited_s) for row, waited_s in zip(answer.rows, (0, 0.0015, 0.9), strict=True)],
    )
    run.ended(3, 0.005)
    await store.step(Parcel(outcomes(answer), [run.closed()]), None)
    kept = await run_row(conn, answer.run_id)
    assert kept["waits"] == [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert kept["times"] == [0, 0, 0, 3]


async def test_outcomes_of_several_runs_travel_together(conn, store) -> None:
    await insert(conn, 4)
    first, second = await claim(store, limit=2), await claim(store, limit=2)
    ended = [EndedRun(run.run_id, "{2}", "{2}") for run in (first, second)]
    await store.step(Parcel([*outcomes(second, "failed"), *outcomes(first)], ended), None)
    assert counts(await run_row(conn, first.run_id)) == {"completed": 2}
    assert counts(await run_row(conn, second.run_id)) == {"failed": 2}


# The claim


async def test_rows_are_claimed_by_priority_then_time_then_id_and_no_more_than_asked(conn, store) -> None:
    places = list(product((0, 1, 2, 3), (3, 2, 1)))
    random.Random(1).shuffle(places)
    for priority, minutes in places:
        await conn.execute(
            "insert into actiond.action (processor, priority, next_eligible_at)"
            " select 'p', $1, actiond.now()::date - make_interval(mins => $2) from generate_series(1, 2)",
            priority, minutes,
        )  # fmt: skip
    await insert(conn, processor="another")
    wanted = [
        row["id"]
        for row in await conn.fetch(
            "select id from actiond.action where processor = 'p' order by priority, next_eligible_at, id"
        )
    ]
    claimed: list[int] = []
    while rows := (await claim(store, limit=7)).rows:
        assert len(rows) == min(7, len(wanted) - len(claimed))
        claimed += [row.id for row in rows]
    assert claimed == wanted


async def test_what_is_not_due_or_not_pending_is_not_claimed(conn, store) -> None:
    await set_now(conn, NOW)
    (due,) = await insert(conn)
    (_,) = await insert(conn, status="held")
    await conn.execute(
        "insert into actiond.action (processor, next_eligible_at) values ('p', actiond.now() + interval '1 ms')"
    )
    assert [row.id for row in (await claim(store)).rows] == [due]
    assert await store.next_due_s("p") == pytest.approx(0.001)
    assert await store.next_due_s("another") is None


async def test_a_row_that_fell_due_just_after_an_empty_claim_is_not_slept_over(conn, store) -> None:
    await set_now(conn, NOW)
    ids = await conn.fetch(
        "insert into actiond.action (processor, next_eligible_at)"
        " select 'p', actiond.now() + make_interval(secs => s) from unnest('{0.005, 3600}'::float8[]) s returning id"
    )
    assert (await claim(store)).rows == []
    await set_now(conn, "2030-01-01 12:00:00.006+00")
    assert 0 < await store.next_due_s("p") < 0.1
    assert [row.id for row in (await claim(store)).rows] == [ids[0]["id"]]
    assert await store.next_due_s("p") == pytest.approx(3599.994)


async def test_a_row_that_is_due_but_cannot_be_had_does_not_keep_the_loop_awake_for_ever(conn, store) -> None:
    await set_now(conn, NOW)
    await _with_suspects(conn, 0, 1, 2, 3, 4)
    assert (await claim(store, suspect_allowed=False)).rows == []
    await set_now(conn, "2030-01-01 12:00:02+00")
    assert await store.next_due_s("p") is None


async def test_a_claim_carries_what_the_processor_needs(conn, store) -> None:
    await set_now(conn, NOW)
    (id_,) = await insert(conn, related="order 7", data='{"a": [1, 2]}', priority=1, retries_left=5)
    await set_now(conn, "2030-01-01 12:00:07+00")
    (row,) = (await claim(store)).rows
    assert (row.id, row.related, row.data, row.priority, row.retries_left) == (id_, "order 7", '{"a": [1, 2]}', 1, 5)
    assert (row.attempts, row.crashes, row.state, row.waited_s) == (1, 0, None, 7.0)
    assert (await look(conn, id_))["started_at"] == await conn.fetchval("select actiond.now()")


async def test_with_run_on_insert_off_only_what_was_due_at_the_wake_is_claimed(conn, store) -> None:
    await set_now(conn, NOW)
    (before,) = await insert(conn)
    woken_at = await conn.fetchval("select actiond.now()")
    await set_now(conn, "2030-01-01 12:00:01+00")
    (after,) = await insert(conn)
    assert [row.id for row in (await claim(store, due_at=woken_at)).rows] == [before]
    assert [row.id for row in (await claim(store)).rows] == [after]


async def test_several_daemons_never_claim_one_row_twice(conn, db) -> None:
    many = 3000
    await insert(conn, many)
    async with pool_of(db, size=4) as pool:

        async def drain(daemon: int) -> list[tuple[int, int]]:
            store, claimed, parcel = store_of(pool, daemon), [], Parcel()
            while (answer := await store.step(parcel, a_claim(limit=30))).rows:
                assert answer.fenced == []
                claimed += [(row.id, row.attempts) for row in answer.rows]
                parcel = Parcel(outcomes(answer), [EndedRun(answer.run_id, "{}", "{}")])
            return claimed

        shares = await asyncio.gather(*(drain(daemon) for daemon in (1, 2, 3, 4)))
    claimed = [row for share in shares for row in share]
    assert len(set(claimed)) == len(claimed) == many
    assert {attempts for _, attempts in claimed} == {1}
    assert sum(bool(share) for share in shares) > 1
    assert await conn.fetchval("select sum(completed) from actiond.run") == many
    assert await conn.fetchval("select count(*) from actiond.action where status <> 'completed'") == 0


# Suspects: rows that some daemon died on


async def _with_suspects(conn, *places: int, crashes: int = 2) -> list[int]:
    ids = await insert(conn, 5)
    chosen = [ids[place] for place in places]
    await conn.execute("update actiond.action set crashes = $2 where id = any($1)", chosen, crashes)
    return ids


async def test_suspects_of_one_crash_are_claimed_together_in_small_groups_and_apart_from_others(conn, store) -> None:
    ids = await _with_suspects(conn, 0, 1, 2, 4, crashes=1)
    batches = []
    while rows := (await claim(store, limit=9)).rows:
        batches.append([row.id for row in rows])
    assert batches == [[ids[0], ids[1], ids[2]], [ids[3]], [ids[4]]]


async def test_a_suspect_of_two_crashes_is_claimed_alone(conn, store) -> None:
    ids = await _with_suspects(conn, 0, 2)
    batches = []
    while rows := (await claim(store)).rows:
        batches.append([row.id for row in rows])
    assert batches == [[ids[0]], [ids[1], ids[3], ids[4]], [ids[2]]]


@pytest.mark.parametrize(
    ("kind", "crashes", "more"),
    [
        ("deferred", 0, {"delay_s": 0.0}),
        ("waiting", 0, {}),
        ("repeated", 0, {}),
        ("retried", 2, {"delay_s": 0.0, "error": "x"}),
        ("failed", 2, {"error": "x"}),
    ],
)
async def test_what_comes_on_is_no_suspect_any_more(conn, store, kind, crashes, more) -> None:
    """A long walk or a recurring action may see many deaths; only those since it last came on count."""
    [id_] = await insert(conn)
    await conn.execute("update actiond.action set crashes = 2, repeat_every = '1 h'")
    answer = await claim(store)
    await settle(store, [outcome(id_, answer.run_id, kind, **more)])
    assert (await look(conn, id_))["crashes"] == crashes


async def test_a_suspect_is_passed_over_while_another_one_runs(conn, store) -> None:
    ids = await _with_suspects(conn, 0, 1, 3)
    assert [row.id for row in (await claim(store, suspect_allowed=False)).rows] == [ids[2], ids[4]]
    assert (await claim(store, suspect_allowed=False)).rows == []
    assert [row.id for row in (await claim(store)).rows] == [ids[0]]


async def test_suspects_that_may_not_run_do_not_stand_in_the_way_of_others(conn, store) -> None:
    ids = await _with_suspects(conn, 0, 1)
    assert [row.id for row in (await claim(store, limit=1, suspect_allowed=False)).rows] == [ids[2]]
    assert [row.id for row in (await claim(store, limit=2, suspect_allowed=False)).rows] == ids[3:]


# Beside other people's transactions


@pytest.mark.parametrize("seed", range(8))
async def test_an_operator_who_updates_in_id_order_never_deadlocks_with_outcomes(seed, conn, db, store) -> None:
    ids = await insert(conn, 12)
    answer = await claim(store, limit=6)
    await conn.execute("analyze actiond.action")
    said = outcomes(answer)
    random.Random(seed).shuffle(said)
    said = said if seed else said[::-1]
    operator = await db.connect()
    transaction = operator.transaction()
    await transaction.start()
    step = None
    for place, id_ in enumerate(ids):
        await operator.execute("update actiond.action set related = 'operator' where id = $1", id_)
        if place == seed % 6:
            step = asyncio.create_task(store.step(Parcel(said), a_claim()))
            await eventually(lambda: blocked(conn))
    await transaction.commit()
    assert step is not None
    after = await step
    assert after.fenced == []
    assert {row.id for row in after.rows} <= set(ids[6:])
    rows = await conn.fetch("select status, related from actiond.action order by id")
    assert [tuple(row) for row in rows[:6]] == [("completed", "operator")] * 6
    assert {row["related"] for row in rows} == {"operator"}
    await operator.close()


async def test_rows_that_somebody_else_has_locked_are_left_out_and_not_waited_for(conn, db, store) -> None:
    ids = await insert(conn, 3)
    async with conn.transaction():
        await conn.execute("select from actiond.action where id = $1 for update", ids[0])
        assert [row.id for row in (await claim(store)).rows] == ids[1:]
    assert [row.id for row in (await claim(store)).rows] == ids[:1]


async def test_a_daemon_under_a_new_id_does_not_end_the_runs_of_its_old_one(conn, pool, store) -> None:
    """Their rows are not settled by it either, and only an open run is rescued."""
    await insert(conn, 2)
    answer = await claim(store)
    assert answer.daemon == store.daemon
    renewed = store_of(pool, 2)
    ended = [EndedRun(answer.run_id, "{2}", "{2}")]
    assert len((await renewed.step(Parcel(outcomes(answer), ended), None)).fenced) == 2
    assert (await run_row(conn, answer.run_id))["finished_at"] is None
    await store.step(Parcel(outcomes(answer), ended), None)
    assert (await run_row(conn, answer.run_id))["finished_at"] is not None
