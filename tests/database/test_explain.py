"""`explain`: every reason that the database can see, provoked; the daemon's gate and SQL say the same."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from actiond.postgres import explain
from actiond.postgres.action_store import EndedRun, Parcel
from actiond.postgres.connection import connect
from actiond.rules.explanation import AHEAD_AT_MOST, REASONS, Reason
from actiond.rules.gate import Shut, name
from support.clock import move_now, set_now
from support.database import Database
from support.work import LEASE_S, claim, daemons_of, insert, outcomes, register, settle, store_of

NOON = "2030-01-01 12:00:00+00"
ONE_AT_A_TIME = '{"batch": false, "concurrency": 2}'


@dataclass
class Scene:
    """A database, who asks it, and what a daemon would do there."""

    conn: asyncpg.Connection
    asker: asyncpg.Connection
    db: Database
    pool: Any
    daemon: int = 0  # one that lives and serves p
    others: list[asyncpg.Connection] | None = None

    @property
    def store(self) -> Any:
        return store_of(self.pool, self.daemon)

    async def policy(self, sets: str) -> None:
        await self.conn.execute(f"update actiond.processor set {sets} where name = 'p'")

    async def reasons(self, id_: int) -> list[Reason]:
        """What the gate says of the facts; asserts that SQL says the same."""
        _, reasons = await explain.reasons(self.asker, id_)
        in_sql = await self.conn.fetch("select reason, meaning from actiond.explain($1)", id_)
        assert [tuple(row) for row in in_sql] == [(each.name, each.meaning) for each in reasons]
        return reasons

    async def beat(self) -> None:
        await self.conn.execute(
            "update actiond.daemon set seen_at = actiond.now(), lease_until = actiond.now() + interval '30 s'"
        )

    async def another_session(self) -> asyncpg.Connection:
        connection = await self.db.connect()
        assert self.others is not None
        self.others.append(connection)
        return connection


@pytest.fixture
async def scene(conn, db, pool) -> AsyncIterator[Scene]:
    """Processor p, which a daemon serves that lives as long as `conn`."""
    asker = await connect(db.dsn)
    await conn.execute("insert into actiond.processor (name, built_in) values ('p', $1)", ONE_AT_A_TIME)
    scene = Scene(conn, asker, db, pool, await register(conn, "p"), [])  # type: ignore[arg-type]
    yield scene
    for each in [asker, *(scene.others or [])]:
        each.terminate()


async def missing(s: Scene) -> int:
    return 4711


async def completed(s: Scene) -> int:
    (id_,) = await insert(s.conn)
    await settle(s.store, outcomes(await claim(s.store)))
    return id_


async def failed(s: Scene) -> int:
    (id_,) = await insert(s.conn)
    await settle(s.store, outcomes(await claim(s.store), "failed", error="card declined\nat line 3"))
    return id_


async def canceled(s: Scene) -> int:
    (id_,) = await insert(s.conn)
    await s.conn.execute("update actiond.action set status = 'canceled' where id = $1", id_)
    return id_


async def running(s: Scene) -> int:
    (id_,) = await insert(s.conn)
    await claim(s.store)
    return id_


async def held(s: Scene) -> int:
    (id_,) = await insert(s.conn)
    await s.conn.execute("update actiond.action set status = 'held' where id = $1", id_)
    return id_


async def waits(s: Scene) -> int:
    parent, child = await insert(s.conn), await insert(s.conn)
    (id_,) = await insert(s.conn, parent_id=parent[0], waits_on=child[0], waits_for="success", status="held")
    return id_


async def future(s: Scene) -> int:
    await set_now(s.conn, NOON)
    await s.beat()
    return (await insert(s.conn, next_eligible_at=datetime(2030, 1, 4, 14, 0, 0, tzinfo=UTC)))[0]


async def paused(s: Scene) -> int:
    await s.conn.execute("insert into actiond.setting (name, value) values ('paused', 'true')")
    return (await insert(s.conn))[0]


async def disabled(s: Scene) -> int:
    await s.policy("enabled = false")
    return (await insert(s.conn))[0]


async def flag_off(s: Scene) -> int:
    await s.policy("flag = 'new_checkout'")
    return (await insert(s.conn))[0]


async def no_daemon(s: Scene) -> int:
    return (await insert(s.conn, processor="pp"))[0]


async def window_closed(s: Scene) -> int:
    await set_now(s.conn, NOON)
    await s.beat()
    await s.policy("\"window\" = '22:00-06:00 Europe/Berlin'")
    return (await insert(s.conn))[0]


async def not_woken(s: Scene) -> int:
    await s.policy("run_on_insert = false")
    await s.conn.execute("select actiond.wake('p')")
    return (await insert(s.conn))[0]


async def breaker(s: Scene) -> int:
    await set_now(s.conn, NOON)
    await s.beat()
    await s.policy("breaker = 0.5")
    await s.conn.execute(
        "insert into actiond.brake (processor, recent, opened_at, open_until, failed_probes)"
        " select 'p', '+-+---', now - interval '3 min', now + interval '27 s', 2 from actiond.now() as now"
    )
    return (await insert(s.conn))[0]


async def locked(s: Scene) -> int:
    (id_,) = await insert(s.conn)
    other = await s.another_session()
    await other.execute("set application_name = 'somebody''s psql'; begin")
    await other.execute("update actiond.action set related = 'x' where id = $1", id_)
    return id_


async def rate(s: Scene) -> int:
    await set_now(s.conn, NOON)
    await s.beat()
    await s.policy("rate = '2/min'")
    await s.conn.execute(
        "insert into actiond.brake (processor, tokens, tokens_at) select 'p', 0.25, now - interval '0.5 s'"
        " from actiond.now() as now"
    )
    return (await insert(s.conn))[0]


async def global_limit(s: Scene) -> int:
    await s.policy("global_concurrency = 1")
    await insert(s.conn)
    await claim(s.store, limit=1)
    return (await insert(s.conn))[0]


async def concurrency(s: Scene) -> int:
    await insert(s.conn, 2)
    await claim(s.store, limit=2)
    return (await insert(s.conn))[0]


async def suspect(s: Scene) -> int:
    await s.conn.execute("insert into actiond.processor (name) values ('q')")
    await s.conn.execute("update actiond.daemon set processors = '{p,q}'")
    await insert(s.conn, processor="q")
    await s.conn.execute("update actiond.action set crashes = 1")
    await claim(s.store, processor="q")
    (id_,) = await insert(s.conn)
    await s.conn.execute("update actiond.action set crashes = 2 where id = $1", id_)
    return id_


async def start_delay(s: Scene) -> int:
    await s.policy("start_delay = '1 hour'")
    return (await insert(s.conn))[0]


async def behind(s: Scene) -> int:
    await insert(s.conn, 3)
    await insert(s.conn, priority=0)
    await insert(s.conn, 2, priority=3)  # these come later
    await insert(s.conn, priority=0, next_eligible_at=datetime.now(UTC) + timedelta(hours=1))  # not due
    (id_,) = await insert(s.conn)
    await insert(s.conn)
    return id_


PROVOKED: dict[str, tuple[Callable[[Scene], Any], str]] = {
    each.__name__: (each, said)
    for each, said in (
        (missing, "there is no action 4711"),
        (completed, "completed "),
        (failed, "at attempt 1: card declined"),
        (canceled, "ago by postgres (was pending)"),
        (running, "in run 1 on daemon 1 on here, pid 1; last heartbeat "),
        (waits, "it waits until action 2 has completed, which is pending"),
        (held, "ago by postgres"),
        (future, "due in 3 d 2 h, at 2030-01-04 14:00:00 UTC"),
        (paused, "everything is paused (setting paused)"),
        (disabled, "'p' is disabled"),
        (flag_off, "the flag 'new_checkout' of 'p' is off: nobody has ever set it (is the name right?)"),
        (no_daemon, "daemon 1 on here lives and serves p; no daemon ever declared 'pp': did you mean 'p'?"),
        (window_closed, "'p' runs only 22:00-06:00 Europe/Berlin; that begins in 9 h, at 2030-01-01 21:00 UTC"),
        (not_woken, "'p' runs only when it is woken (run_on_insert is off); the last wake was "),
        (
            breaker,
            "3 min ago, as 4 of the latest 6 outcomes were failures; 2 probes failed since; next probe in 27 s",
        ),
        (locked, " (somebody's psql) has changed the row and not committed"),
        (rate, "the rate of 'p' is 2/min over all daemons; the next row in 22 s"),
        (global_limit, "1 call of 'p' is open, global_concurrency is 1"),
        (concurrency, "2 calls of 'p' are open, and the daemons that serve it have 2 places"),
        (suspect, "a daemon died on it 2 times: such rows run alone, and another one runs now"),
        (start_delay, "are left of the start delay of 1 h"),
        (behind, "4 rows of 'p' come before it; none has ended in the last five minutes"),
    )
}


def test_every_reason_that_the_database_can_see_is_provoked() -> None:
    assert list(PROVOKED) == [name(each) for each in REASONS]
    assert set(Shut) - set(REASONS) == {Shut.STOPPING, Shut.CUT_OFF, Shut.UNSAVED}


@pytest.mark.parametrize("reason", list(PROVOKED))
async def test_a_reason_is_named_rightly_and_said_in_words(scene: Scene, reason: str) -> None:
    provoke, said = PROVOKED[reason]
    id_ = await provoke(scene)
    (found,) = await scene.reasons(id_)
    assert found.name == reason
    assert said in found.said


@pytest.mark.parametrize("children", [0, 1, 2])
async def test_children_that_are_waited_for_are_counted(scene: Scene, children: int) -> None:
    (id_,) = await insert(scene.conn, status="held", waits_for="children")
    if children:
        await insert(scene.conn, children, parent_id=id_)
    (found,) = await scene.reasons(id_)
    said = ("none of its children is open", "of which 1 is open", "of which 2 are open")
    assert found.name == "waits"
    assert said[children] in found.said


async def test_nothing_stands_in_the_way_of_a_row_that_is_next(scene: Scene) -> None:
    (id_,) = await insert(scene.conn)
    await insert(scene.conn, 3)
    assert await scene.reasons(id_) == []


async def test_all_reasons_are_told_the_deciding_one_first(scene: Scene) -> None:
    await scene.policy("enabled = false, global_concurrency = 1, run_on_insert = false, start_delay = '1 hour'")
    await paused(scene)
    await claim(scene.store, limit=1)
    await insert(scene.conn)
    await breaker(scene)
    await scene.policy("rate = '2/min', flag = 'x', \"window\" = '01:00-02:00 UTC'")
    await scene.conn.execute("update actiond.brake set tokens = 0, tokens_at = actiond.now()")
    id_ = await locked(scene)
    assert [each.name for each in await scene.reasons(id_)] == [
        "paused", "disabled", "flag_off", "window_closed", "not_woken", "breaker", "locked", "rate",
        "global_limit", "behind",
    ]  # fmt: skip
    await scene.others[-1].execute("rollback")  # type: ignore[index]
    await scene.conn.execute(
        "update actiond.action set status = 'held', next_eligible_at = actiond.now() + interval '1 hour'"
        " where id = $1", id_,
    )  # fmt: skip
    await scene.conn.execute("update actiond.daemon set ended_at = actiond.now(), ended = 'stopped'")
    assert [each.name for each in await scene.reasons(id_)] == [
        "held", "future", "paused", "disabled", "flag_off", "no_daemon",
    ]  # fmt: skip


# Who decided, and when


async def test_a_row_that_a_handler_canceled_says_why(scene: Scene) -> None:
    (id_,) = await insert(scene.conn)
    answer = await claim(scene.store)
    await settle(scene.store, outcomes(answer, "canceled", noted=True, detail="no such customer"))
    (reason,) = await scene.reasons(id_)
    assert reason.said.endswith("(no such customer)")


async def test_a_row_that_was_inserted_as_held_says_by_whom(scene: Scene) -> None:
    (id_,) = await insert(scene.conn, status="held")
    (reason,) = await scene.reasons(id_)
    assert (reason.name, reason.said) == ("held", "inserted as held by postgres")


async def test_a_retry_in_the_future_says_what_went_wrong(scene: Scene) -> None:
    (id_,) = await insert(scene.conn)
    await settle(scene.store, outcomes(await claim(scene.store), "retried", error="timed out", delay_s=3600.0))
    (reason,) = await scene.reasons(id_)
    assert reason.name == "future"
    assert reason.said.endswith("attempt 1 ended with: timed out")


# Daemons


async def test_without_any_daemon(scene: Scene) -> None:
    (id_,) = await insert(scene.conn)
    await scene.conn.execute("update actiond.daemon set ended_at = actiond.now(), ended = 'stopped'")
    (reason,) = await scene.reasons(id_)
    assert (reason.name, reason.said) == ("no_daemon", "no daemon is running")


async def test_a_daemon_whose_lock_is_free_and_that_is_silent_does_not_live(scene: Scene) -> None:
    (id_,) = await insert(scene.conn)
    await scene.conn.execute("update actiond.daemon set seen_at = actiond.now() - interval '5 s'")
    assert await scene.reasons(id_) == []  # slow, but its session is there
    await scene.conn.execute("select pg_advisory_unlock(actiond.lock_class('daemon'), 1)")
    (reason,) = await scene.reasons(id_)
    assert reason.name == "no_daemon"
    assert "daemon 1 on here serves 'p', but was last seen " in reason.said


async def test_a_row_of_a_dead_daemon_says_that_its_lease_is_over(scene: Scene) -> None:
    id_ = await running(scene)
    await scene.conn.execute("select pg_advisory_unlock(actiond.lock_class('daemon'), 1)")
    await move_now(scene.conn, f"{LEASE_S + 10} seconds")
    (reason,) = await scene.reasons(id_)
    assert reason.name == "running"
    assert reason.said.endswith("that daemon seems dead, its lease is over")


async def test_a_processor_made_of_a_built_in_is_served_by_any_daemon(scene: Scene) -> None:
    await scene.conn.execute("insert into actiond.processor (name, uses) values ('made', 'sql_function')")
    (id_,) = await insert(scene.conn, processor="made")
    assert await scene.reasons(id_) == []


# Limits


async def test_a_breaker_whose_pause_is_over_is_in_the_way_only_while_a_probe_is_under_way(scene: Scene) -> None:
    (id_,) = await insert(scene.conn)
    await breaker(scene)
    await set_now(scene.conn, "2030-01-01 12:00:28+00")
    await scene.beat()
    assert await scene.reasons(id_) == []
    await scene.conn.execute("update actiond.processor set concurrency = 10 where name = 'p'")
    await insert(scene.conn, priority=0)
    probe = await claim(scene.store, limit=1)
    await scene.conn.execute("update actiond.brake set probe_run = $1", probe.run_id)
    (reason,) = await scene.reasons(id_)
    assert (reason.name, reason.said.endswith("; a probe is under way")) == ("breaker", True)
    assert reason.remedy == "close it at once: `actiond resume p`"
    await scene.policy("breaker = 0")
    assert await scene.reasons(id_) == []


async def test_a_flag_that_is_on_and_a_window_that_is_open_are_in_nobodys_way(scene: Scene) -> None:
    id_ = await flag_off(scene)
    await scene.conn.execute("select actiond.set_flag('new_checkout', false)")
    (reason,) = await scene.reasons(id_)
    assert (reason.said, reason.remedy) == (
        "the flag 'new_checkout' of 'p' is off",
        "switch it on: `actiond flag on new_checkout`",
    )
    await scene.conn.execute("select actiond.set_flag('new_checkout', true)")
    assert await scene.reasons(id_) == []
    await window_closed(scene)
    await set_now(scene.conn, "2030-01-01 21:00+00")
    await scene.beat()
    assert await scene.reasons(id_) == []


async def test_a_run_of_a_plan_says_that_the_flag_of_its_plan_is_off(scene: Scene) -> None:
    await scene.conn.execute("insert into actiond.processor (name) values ('actiond.plan')")
    await scene.conn.execute("update actiond.daemon set processors = '{p,actiond.plan}'")
    (id_,) = await insert(scene.conn, processor="actiond.plan", data='{"plan": "monthly"}', state='{"flag": "new"}')
    (reason,) = await scene.reasons(id_)
    assert (reason.name, reason.said) == (
        "flag_off",
        "the flag 'new' of plan 'monthly' is off: nobody has ever set it (is the name right?)",
    )
    await scene.conn.execute("select actiond.set_flag('new', true)")
    assert await scene.reasons(id_) == []


async def test_a_wake_after_the_row_fell_due_lets_it_run(scene: Scene) -> None:
    id_ = await not_woken(scene)
    await scene.conn.execute("select actiond.wake('p')")
    assert await scene.reasons(id_) == []


async def test_a_call_of_a_batch_processor_is_one_call_however_many_rows_it_holds(scene: Scene) -> None:
    await scene.policy('global_concurrency = 2, built_in = \'{"batch": true, "concurrency": 2}\'')
    await insert(scene.conn, 5)
    await claim(scene.store, limit=5)
    (id_,) = await insert(scene.conn)
    assert await scene.reasons(id_) == []
    await scene.policy("global_concurrency = 1")
    assert [each.name for each in await scene.reasons(id_)] == ["global_limit"]


async def test_a_place_on_one_of_two_daemons_is_enough(scene: Scene) -> None:
    id_ = await concurrency(scene)
    await register(await scene.another_session(), "p")
    assert await scene.reasons(id_) == []


async def test_a_suspect_runs_where_no_other_one_does(scene: Scene) -> None:
    id_ = await suspect(scene)
    await register(await scene.another_session(), "p")
    assert await scene.reasons(id_) == []


async def test_a_row_that_is_rescued_again_and_again_says_who_died(scene: Scene) -> None:
    (id_,) = await insert(scene.conn)
    for _ in range(3):
        answer = await claim(scene.store)
        await daemons_of(scene.pool).rescue(scene.daemon, answer.run_id, False)
    (reason,) = await scene.reasons(id_)
    assert reason.name == "failed"
    assert "quarantined: daemon died" in reason.said


# The rows before it


async def test_the_rate_of_the_processor_says_how_long_that_takes(scene: Scene) -> None:
    await set_now(scene.conn, "2030-01-01 11:58:00+00")
    await insert(scene.conn, 240)
    answer = await claim(scene.store, limit=240)
    await set_now(scene.conn, NOON)
    await scene.store.step(Parcel(outcomes(answer), [EndedRun(answer.run_id, "{}", "{}")]), None)
    await scene.beat()
    await insert(scene.conn, 60)
    (id_,) = await insert(scene.conn)
    (reason,) = await scene.reasons(id_)
    assert reason.said == "60 rows of 'p' come before it; at 120 a minute that takes about 30 s"


async def test_rows_before_it_are_counted_up_to_a_bound(scene: Scene) -> None:
    await insert(scene.conn, AHEAD_AT_MOST)
    (id_,) = await insert(scene.conn)
    assert (await scene.reasons(id_))[0].said.startswith("10,000 rows of 'p' come before it")
    (id_,) = await insert(scene.conn)
    assert (await scene.reasons(id_))[0].said.startswith("more than 10,000 rows of 'p' come before it")


async def test_a_row_whose_daemon_is_forgotten(scene: Scene) -> None:
    id_ = await running(scene)
    await scene.conn.execute("delete from actiond.daemon")
    (reason,) = await scene.reasons(id_)
    assert reason.said.endswith("on daemon 1, of which nothing is known any more")


# However many rows there are


@pytest.mark.slow
async def test_it_looks_at_few_pages_however_many_rows_wait_and_have_ended(scene: Scene) -> None:
    await scene.conn.execute("alter table actiond.action set (autovacuum_enabled = off)")

    async def pages(id_: int) -> int:
        sql = f"explain (analyze, buffers, format json) select * from actiond.explain_facts({id_})"
        plan = json.loads(await scene.asker.fetchval(sql))[0]["Plan"]
        assert plan["Node Type"] == "Function Scan"
        return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]

    await insert(scene.conn, 2 * AHEAD_AT_MOST, "other")
    few = await insert(scene.conn, 2 * AHEAD_AT_MOST)
    before = await pages(few[-1])
    await scene.conn.execute("alter table actiond.action disable trigger user")
    await insert(scene.conn, 50_000, status="completed", finished_at=datetime.now(UTC))
    await insert(scene.conn, 50_000, "other")
    many = await insert(scene.conn, 50_000)
    assert await pages(few[-1]) <= before * 1.1
    assert await pages(many[-1]) <= before * 1.1
    await scene.conn.execute("analyze")
    assert await pages(many[-1]) <= before * 1.1
