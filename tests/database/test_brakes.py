"""Rates and breakers in the database: whatever daemons claim and report at once, together they keep to them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from actiond.contract.policy import Policy
from actiond.postgres import verbs
from actiond.postgres.action_store import ActionStore, Answer, EndedRun, Parcel
from actiond.postgres.brake_store import BrakeStore
from actiond.postgres.connection import Pool
from actiond.postgres.processor_store import ProcessorStore
from actiond.postgres.statements import Statements
from actiond.rules.bounds import Bounds
from actiond.rules.breaker import Breaker, BreakerPolicy, Verdict
from actiond.rules.gate import Shut
from actiond.rules.rate import Rate, whole, written
from support.clock import set_now
from support.database import eventually
from support.one_loop import Daemon, looks
from support.work import a_claim, daemons_of, insert, look, outcomes, pool_of, settle, store_of

NOON = "2030-01-01 12:00:00+00"
POLICY = BreakerPolicy(share=0.5, outcomes=4, pause_s=10.0, max_pause_s=30.0)
BREAKER = Bounds(breaker=POLICY)
DAEMONS = 6


@pytest.fixture(autouse=True)
async def at_noon(conn: asyncpg.Connection) -> None:
    await conn.execute("insert into actiond.processor (name) values ('p')")
    await set_now(conn, NOON)


@pytest.fixture
async def stores(db) -> AsyncIterator[list[ActionStore]]:
    """One for each of several daemons."""
    async with pool_of(db, DAEMONS) as pool:
        yield [store_of(pool, daemon) for daemon in range(1, DAEMONS + 1)]


def brakes_of(pool: Pool) -> BrakeStore:
    return BrakeStore(pool, Statements())


async def later(conn: asyncpg.Connection, seconds: float) -> None:
    """It is so long after noon."""
    await set_now(
        conn, f"2030-01-01 {12 + int(seconds // 3600):02}:{int(seconds // 60 % 60):02}:{seconds % 60:09.6f}+00"
    )


async def bounded(store: ActionStore, bounds: Bounds, limit: int = 100) -> Answer:
    """One claim; again while another daemon is claiming."""
    while (answer := await store.step_within(Parcel(), a_claim(limit), bounds, False)).full:
        pass
    return answer


async def at_once(stores: list[ActionStore], bounds: Bounds, limit: int = 100) -> list[Answer]:
    """All of them claim."""
    return list(await asyncio.gather(*(bounded(store, bounds, limit) for store in stores)))


async def brake(conn: asyncpg.Connection) -> dict[str, Any]:
    row = await conn.fetchrow(
        "select tokens, recent, extract(epoch from open_until - actiond.now())::float8 as left_s, failed_probes,"
        " probe_run, opened_at from actiond.brake where processor = 'p'"
    )
    return dict(row)


# The rate


async def test_a_claim_takes_tokens_and_brings_no_more_rows_than_there_were(conn, store) -> None:
    await insert(conn, 10)
    bounds = Bounds(rate=Rate(per_s=0.5, burst=3))
    first, second = await bounded(store, bounds), await bounded(store, bounds)
    assert (len(first.rows), first.allowed, first.token_in_s) == (3, 3, 2.0)
    assert (len(second.rows), second.allowed, second.token_in_s) == (0, 0, 2.0)
    await later(conn, 4.5)
    third = await bounded(store, bounds)
    assert (len(third.rows), third.token_in_s) == (2, 1.5)
    await later(conn, 1000)
    assert len((await bounded(store, bounds)).rows) == 3


async def test_a_claim_that_finds_fewer_rows_takes_no_more_tokens_than_rows(conn, store) -> None:
    bounds = Bounds(rate=Rate(per_s=1.0, burst=5))
    assert (await bounded(store, bounds)).token_in_s == 0.0
    await insert(conn, 2)
    assert len((await bounded(store, bounds)).rows) == 2
    assert (await brake(conn))["tokens"] == 3.0
    await insert(conn, 10)
    assert len((await bounded(store, bounds, limit=1)).rows) == 1
    assert len((await bounded(store, bounds)).rows) == 2


async def test_daemons_that_claim_at_once_never_take_a_token_twice(conn, stores) -> None:
    bounds = Bounds(rate=Rate(per_s=7.0, burst=7))
    await insert(conn, 100)
    for second in range(4):
        await later(conn, second)
        answers = await at_once(stores, bounds, limit=3)
        answers += await at_once(stores, bounds, limit=3)
        assert sum(len(answer.rows) for answer in answers) == 7
        assert answers[-1].token_in_s > 0


async def test_tokens_and_rows_commit_together(conn, pool) -> None:
    await insert(conn, 2)
    text = Statements()["write_tokens"]
    broken = store_of(pool, sql=Statements().but(write_tokens=text.replace("($1, $3, $2)", "($1, $3 / 0, $2)")))
    with pytest.raises(asyncpg.DivisionByZeroError):
        await bounded(broken, Bounds(rate=Rate(1.0, 2)))
    assert (await look(conn, 1))["attempts"] == 0
    assert len((await bounded(store_of(pool), Bounds(rate=Rate(1.0, 2)))).rows) == 2


async def test_outcomes_are_written_also_when_the_rate_allows_no_row(conn, store) -> None:
    await insert(conn, 2)
    bounds = Bounds(rate=Rate(0.1, 1))
    first = await bounded(store, bounds)
    second = await store.step_within(Parcel(outcomes(first)), a_claim(), bounds, False)
    assert (second.rows, second.fenced) == ([], [])
    assert (await look(conn, 1))["status"] == "completed"


async def test_calls_at_once_and_rate_hold_together(conn, store) -> None:
    await insert(conn, 10)
    bounds = Bounds(calls=2, rate=Rate(1.0, 3))
    first = await bounded(store, bounds)
    assert (len(first.rows), (await brake(conn))["tokens"]) == (2, 1.0)
    full = await store.step_within(Parcel(), a_claim(), bounds, False)
    assert (full.full, full.rows) == (True, [])
    third = await store.step_within(Parcel(outcomes(first)), a_claim(), bounds, False)
    assert (len(third.rows), third.token_in_s) == (1, 1.0)


@pytest.mark.parametrize("tokens", [-1.5, 0.0, 0.25, 0.999, 1.0, 2.5])
async def test_people_are_shown_the_time_that_daemons_count(conn, pool, tokens: float) -> None:
    await conn.execute('update actiond.processor set declared = \'{"rate": "30/min", "burst": 3}\'')
    await conn.execute(
        "insert into actiond.brake (processor, tokens, tokens_at) values ('p', $1, actiond.now())", tokens
    )
    rate = Rate.of("30/min", 3)
    assert rate is not None
    for seconds in (0.0, 0.7, 2.0, 60.0):
        await later(conn, seconds)
        read = await brakes_of(pool).read(pool, "p")
        left = rate.filled(read.tokens, read.tokens_age_s)
        shown = await conn.fetchval("select token_in_s from actiond.brake_list where processor = 'p'")
        assert shown == pytest.approx(max(0.0, (1 - left) / rate.per_s))
        assert (shown == 0) == (whole(left) > 0)


RATES = ["10/s", "100/min", "1800/h", "5/d", "300/5 min", "9999999/99999 s"]


@pytest.mark.parametrize("text", RATES)
async def test_a_rate_means_the_same_in_the_database(conn, text: str) -> None:
    rate = Rate.of(text)
    assert rate is not None
    await conn.execute("update actiond.processor set rate = $1", written(text))
    shown = await conn.fetchval("select actiond.rate_per_s(p.rate) from actiond.processor p")
    assert shown == pytest.approx(rate.per_s)


@pytest.mark.parametrize(
    "text", ["", "10", "0/s", "-1/s", "1.5/s", "10/minute", "10 / s", "10/1min", "10/0 s", "10000000/s", "None"]
)
async def test_what_a_daemon_could_not_read_is_refused_as_an_override(conn, text: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await conn.execute("update actiond.processor set rate = $1", text)
    assert refused.value.constraint_name == "rate_is_a_count_in_a_time"


# The breaker


async def said(pool: Pool, signs: str, run_id: int = 1) -> tuple[Breaker, Breaker]:
    """A daemon reports these outcomes."""
    verdicts = [Verdict(run_id, {"+": True, "-": False, " ": None}[sign]) for sign in signs]
    return await brakes_of(pool).heard("p", POLICY, verdicts)


async def test_reports_of_several_daemons_open_one_breaker_and_none_is_lost(db, conn) -> None:
    policy = BreakerPolicy(share=1.0, outcomes=24, pause_s=10.0, max_pause_s=30.0)
    async with pool_of(db, DAEMONS) as pool:
        reports = (brakes_of(pool).heard("p", policy, [Verdict(run_id, False)] * 4) for run_id in range(DAEMONS))
        turned = await asyncio.gather(*reports)
    assert [(before.left_s, after.left_s) for before, after in turned if after.left_s is not None] == [(None, 10.0)]
    assert await brake(conn) == {
        "tokens": None, "recent": "-" * 24, "left_s": 10.0, "failed_probes": 0, "probe_run": None,
        "opened_at": datetime(2030, 1, 1, 12, tzinfo=UTC),
    }  # fmt: skip


async def test_outcomes_that_change_nothing_write_nothing(conn, pool) -> None:
    await said(pool, "++++")
    where = "select xmin, ctid from actiond.brake"
    before = await conn.fetchrow(where)
    assert await said(pool, "++") == (Breaker("++++"), Breaker("++++"))
    assert await conn.fetchrow(where) == before
    await said(pool, "-")
    assert await conn.fetchrow(where) != before


async def test_while_it_is_open_nothing_is_claimed_and_then_one_probe_over_all_daemons(conn, pool, stores) -> None:
    await insert(conn, 20)
    assert len((await bounded(stores[0], BREAKER, limit=5)).rows) == 5
    await said(pool, "----")
    await later(conn, 9.9)
    answers = await at_once(stores, BREAKER)
    assert [(answer.rows, answer.breaker and answer.breaker.room) for answer in answers] == [([], 0)] * DAEMONS
    await later(conn, 10)
    answers = await at_once(stores, BREAKER)
    (probe,) = [answer for answer in answers if answer.rows]
    assert (len(probe.rows), probe.probe, probe.allowed) == (1, True, 1)
    assert {answer.breaker.probing for answer in answers if answer.breaker} == {True}
    assert (await brake(conn))["probe_run"] == probe.run_id
    await later(conn, 3000)
    assert [answer.rows for answer in await at_once(stores, BREAKER)] == [[]] * DAEMONS  # however long it takes
    await said(pool, "+", probe.run_id)
    assert len((await bounded(stores[0], BREAKER)).rows) == 14


async def test_a_probe_that_fails_opens_it_again_for_longer_and_one_that_finds_no_row_changes_nothing(
    conn, pool, store
) -> None:
    await said(pool, "----")
    at_s = 10.0
    for pause_s in (20.0, 30.0, 30.0):
        await later(conn, at_s)
        assert (await bounded(store, BREAKER)).rows == []
        assert (await brake(conn))["probe_run"] is None
        await insert(conn)
        probe = await bounded(store, BREAKER)
        before, after = await said(pool, "-", probe.run_id)
        assert (before.left_s, after.left_s, (await brake(conn))["left_s"]) == (0.0, pause_s, pause_s)
        at_s += pause_s
    assert (await brake(conn))["opened_at"] == datetime(2030, 1, 1, 12, tzinfo=UTC)


async def test_a_daemon_that_dies_with_the_probe_leaves_it_to_another(conn, pool, stores) -> None:
    await insert(conn, 2)
    await said(pool, "----")
    await later(conn, 10)
    probe = await bounded(stores[0], BREAKER)
    await daemons_of(pool).rescue(1, probe.run_id, False)
    await later(conn, 14)
    assert (await bounded(stores[1], BREAKER)).rows == []  # its outcome may still be on the way
    await later(conn, 15)
    another = await bounded(stores[1], BREAKER)
    assert another.probe
    late = await said(pool, "+", probe.run_id)
    assert late[1].left_s is not None
    assert (await said(pool, "+", another.run_id))[1] == Breaker()


async def test_a_probe_that_says_nothing_is_followed_by_another_at_once(conn, pool, store) -> None:
    await insert(conn, 2)
    await said(pool, "----")
    await later(conn, 10)
    probe = await bounded(store, BREAKER)
    deferred = outcomes(probe, "deferred", delay_s=60.0)
    await store.step(Parcel(deferred, [EndedRun(probe.run_id, "{}", "{}")]), None)
    assert (await bounded(store, BREAKER)).rows == []
    await said(pool, " ", probe.run_id)
    assert (await bounded(store, BREAKER)).probe


async def test_an_open_breaker_takes_no_tokens(conn, pool, store) -> None:
    await insert(conn, 5)
    await said(pool, "----")
    bounds = Bounds(rate=Rate(1.0, 3), breaker=POLICY)
    answer = await bounded(store, bounds)
    assert (answer.rows, answer.token_in_s, (await brake(conn))["tokens"]) == ([], 0.0, None)
    await later(conn, 10)
    assert len((await bounded(store, bounds)).rows) == 1
    assert (await brake(conn))["tokens"] == 2.0


async def test_every_daemon_is_told_when_it_opens_fails_a_probe_and_closes_and_of_nothing_else(db, conn, pool) -> None:
    heard: list[str] = []
    listener = await db.connect()
    await listener.add_listener("actiond_policy", lambda *message: heard.append(message[3]))

    async def told() -> int:
        """How often, up to now."""
        await conn.execute("notify actiond_policy, 'mark'")
        await eventually(lambda: heard[-1:] == ["mark"])
        times = heard.count("")
        heard.clear()
        return times

    store = store_of(pool)
    await insert(conn, 4)
    await said(pool, "---")
    assert await told() == 0
    await said(pool, "-")
    assert await told() == 1
    await later(conn, 10)
    probe = await bounded(store, BREAKER)
    assert await told() == 0
    await said(pool, "-", probe.run_id)
    assert await told() == 1
    await later(conn, 30)
    await said(pool, "+", (await bounded(store, BREAKER)).run_id)
    assert await told() == 1
    await bounded(store, Bounds(rate=Rate(1.0, 5)))
    assert await told() == 0
    await listener.close()


async def test_daemons_learn_at_their_poll_how_it_stands(conn, pool) -> None:
    processors = ProcessorStore(pool, Statements())
    assert (await processors.poll()).processors["p"].breaker_left_s is None
    await conn.execute("update actiond.processor set rate = '5/s', breaker = 0.3, breaker_max_pause = '2 h'")
    await said(pool, "----")
    await later(conn, 4)
    standing = (await processors.poll()).processors["p"]
    assert standing.breaker_left_s == 6.0
    assert {name: value for name, value in standing.overrides.items() if value is not None} == {
        "rate": "5/s", "breaker": 0.3, "breaker_max_pause": 7200.0,
    }  # fmt: skip


# The loop of one processor


async def test_a_loop_without_tokens_sleeps_until_there_is_one_however_often_it_is_rung(conn, pool) -> None:
    await insert(conn, 5)
    daemon = Daemon(pool, 1, Policy(rate="2/h"))
    wait_s = await looks(daemon)
    assert wait_s is not None
    assert 1700 < wait_s <= 1800
    assert (daemon.got, daemon.asked) == ([(1, False)], 1)
    assert daemon.loop.shut() == [Shut.RATE]
    for _ in range(5):
        assert await looks(daemon) is not None
    assert daemon.asked == 1
    daemon.loop.brakes.new_policy()
    assert await looks(daemon) is not None
    assert (len(daemon.got), daemon.asked) == (1, 2)


async def test_rows_that_a_claim_brings_after_the_breaker_opened_go_back(conn, pool) -> None:
    await insert(conn, 5)
    daemon = Daemon(pool, 1, Policy(breaker=0.5, concurrency=10))
    daemon.meanwhile = daemon.loop.suspect_breaker
    await looks(daemon)
    assert (len(daemon.got), daemon.put_backs) == (5, 2)  # once for what was there, once for what came
    assert daemon.loop.shut() == [Shut.BREAKER]


async def test_a_loop_that_was_told_of_an_open_breaker_asks_when_its_pause_is_over_and_only_for_a_probe(
    conn, pool
) -> None:
    await insert(conn, 5)
    policy = Policy(breaker=0.5, breaker_outcomes=4, breaker_pause=10.0)
    daemon = Daemon(pool, 1, policy)
    await said(pool, "----")
    daemon.loop.breaker_stands(10.0)
    wait_s = await looks(daemon)
    assert wait_s is not None
    assert 9 < wait_s <= 10
    assert (daemon.loop.shut(), daemon.put_backs, daemon.asked) == ([Shut.BREAKER], 1, 0)
    daemon.loop.breaker_stands(0.0)
    wait_s = await looks(daemon)  # it asks, and hears that it was told too early
    assert wait_s is not None
    assert 9 < wait_s <= 10
    assert (daemon.got, daemon.asked, daemon.put_backs) == ([], 1, 1)
    await later(conn, 10)
    daemon.loop.breaker_stands(0.0)
    assert await looks(daemon) is not None
    assert (daemon.got, daemon.asked) == ([(1, True)], 2)
    daemon.loop.breaker_stands(None)
    await conn.execute("delete from actiond.brake")
    await looks(daemon)
    assert ([id_ for id_, _ in daemon.got], daemon.asked) == ([1, 2, 3, 4, 5], 2)  # closed: it claims freely


# People


async def test_history_keeps_when_and_why_it_opened_and_closed(conn, pool, store) -> None:
    await insert(conn, 4)
    await said(pool, "+---")
    await later(conn, 10)
    await said(pool, "-", (await bounded(store, BREAKER)).run_id)
    await later(conn, 30)
    await said(pool, "+", (await bounded(store, BREAKER)).run_id)
    rows = await conn.fetch(
        "select processor, event, verb, reason, before::text, after::text from actiond.history order by id"
    )
    opened, closed = '{"breaker": "open"}', '{"breaker": "closed"}'
    assert [tuple(row) for row in rows] == [
        ("p", "paused", None, "3 of the latest 4 outcomes are failures", closed, opened),
        ("p", "resumed", None, None, opened, closed),
    ]


async def test_an_operator_closes_it_by_hand(conn, pool, store) -> None:
    await insert(conn, 5)
    await said(pool, "----")
    (edit,) = await verbs.resume(conn, ["p"], "they are back")
    assert edit == {"name": "p", "before": None, "after": None, "breaker_closed": True}
    assert (await brake(conn))["left_s"] is None
    assert len((await bounded(store, BREAKER)).rows) == 5
    assert await verbs.resume(conn, ["p"], None) == [{"name": "p", "before": None, "after": None}]
    entry = await conn.fetchrow("select event, verb, reason from actiond.history order by id desc limit 1")
    assert tuple(entry) == ("resumed", "resume", "they are back")


async def test_a_claim_under_way_does_not_undo_what_an_operator_did(conn, db, pool) -> None:
    await said(pool, "----")
    await later(conn, 10)
    brakes, other = brakes_of(pool), await db.connect()
    async with other.transaction():  # as a claim does it
        assert await other.fetchval(Statements()["lock_slots"], "p")
        read = await brakes.read(other, "p")
        resuming = asyncio.create_task(verbs.resume(conn, ["p"], None))
        await eventually(lambda: _waits_or_is_done(pool, resuming))
        await brakes.turn(other, "p", read.at, read.breaker.probed_by(7))  # type: ignore[arg-type]
    (edit,) = await resuming
    assert edit["breaker_closed"] is True
    assert (await brake(conn))["left_s"] is None
    await other.close()


async def _waits_or_is_done(pool: Pool, task: asyncio.Task[Any]) -> bool:
    waits: bool = await pool.fetchval(
        "select exists (select from pg_locks where locktype = 'advisory' and not granted"
        " and database = (select oid from pg_database where datname = current_database()))"
    )
    return waits or task.done()


async def test_what_people_see_of_it(conn, pool, store) -> None:
    async def shown() -> tuple[Any, ...]:
        row = await conn.fetchrow(
            "select breaker, probe_in_s, failed, outcomes, failed_probes from actiond.brake_list where processor = 'p'"
        )
        return tuple(row) if row else ()

    await insert(conn, 2)
    await said(pool, "--+")
    assert await shown() == ()
    await conn.execute("update actiond.processor set breaker = 0.5")
    assert await shown() == ("closed", None, 2, 3, 0)
    await said(pool, "-")
    assert await shown() == ("open", 10.0, 3, 4, 0)
    await later(conn, 10)
    assert await shown() == ("open", 0.0, 3, 4, 0)
    probe = await bounded(store, BREAKER)
    assert await shown() == ("probing", 0.0, 3, 4, 0)
    await settle(store, outcomes(probe, "retried"))
    await said(pool, "-", probe.run_id)
    assert await shown() == ("open", 20.0, 3, 4, 1)
    facts = await conn.fetchval("select facts::text from actiond.explain(2) where reason = 'breaker'")
    assert {name: value for name, value in json.loads(facts).items() if name != "opened_at"} == {
        "failed": 3, "outcomes": 4, "failed_probes": 1, "probing": False, "probe_in_s": 20.0,
    }  # fmt: skip


async def test_a_processor_whose_row_was_deleted_keeps_to_its_rate(conn, store) -> None:
    await insert(conn, 3)
    await conn.execute("delete from actiond.processor")
    assert len((await bounded(store, Bounds(rate=Rate(1.0, 2)))).rows) == 2
