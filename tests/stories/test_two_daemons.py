"""Several daemons on one database share the work, take over from each other, and follow the same policy."""

from __future__ import annotations

import signal

import asyncpg
import pytest

from support.daemon import Daemon
from support.database import eventually
from support.impatient import IMPATIENT
from support.proxy import running_proxy
from support.rows import ask, completed_once, events, look, nothing_claimed, until

pytestmark = pytest.mark.slow

WORK = """
@processor("shared", history="all", concurrency=4, batch_size=10)
async def shared(action):
    await asyncio.sleep(0.01)


@processor("limited", concurrency=5, global_concurrency=3)
async def limited(action):
    with open(action.data, "ab", buffering=0) as file:
        file.write(b"+")
        await asyncio.sleep(0.03)
        file.write(b"-")


@processor("ordered", concurrency=1, batch_size=1)
async def ordered(action):
    with open(action.data["file"], "a") as file:
        file.write(action.data["name"])


@processor("gated", history="all", concurrency=4)
async def gated(action):
    while not os.path.exists(action.data):
        await asyncio.sleep(0.01)
    return os.getpid()


@processor("nightly", run_on_insert=False)
async def nightly(action):
    pass


@batch_processor("sized", batch_size=100)
async def sized(batch):
    batch.complete()
    for action in batch:
        action.complete(len(batch))


@processor("retried", retries=1, retry_interval="0.7 s")
async def retried(action):
    if action.attempt == 1:
        raise RuntimeError("once")
"""


@pytest.fixture
async def daemon(db, start, processor_file) -> Daemon:
    return await start(db.dsn, processor_file(WORK)).ready()


async def test_two_daemons_share_the_work_and_no_row_runs_twice(db, conn, start, processor_file) -> None:
    both = [start(db.dsn, processor_file(WORK)) for _ in range(2)]
    for each in both:
        await each.ready()
    ids = await ask(conn, "shared", *[{}] * 600)
    await until(conn, ids, "completed")
    await completed_once(conn, ids)
    assert {row["attempts"] for row in await look(conn, ids)} == {1}
    shares = await conn.fetch("select daemon, sum(completed)::int as rows from actiond.run group by daemon")
    assert len(shares) == 2
    assert min(share["rows"] for share in shares) >= 60
    both[0].signal(signal.SIGTERM)
    ids = await ask(conn, "shared", *[{}] * 100)
    assert await both[0].ends() == 0
    await until(conn, ids, "completed")
    await completed_once(conn, ids)


async def test_a_limit_over_all_daemons_holds(db, conn, start, processor_file, tmp_path) -> None:
    both = [start(db.dsn, processor_file(WORK)) for _ in range(2)]
    for each in both:
        await each.ready()
    log = tmp_path / "log"
    ids = await ask(conn, "limited", *[str(log)] * 60)
    await until(conn, ids, "completed")
    running = most = 0
    for sign in log.read_text():
        running += 1 if sign == "+" else -1
        most = max(most, running)
    assert running == 0
    assert 2 <= most <= 3


async def test_a_frozen_daemon_loses_its_rows_and_goes_on_under_a_new_id(
    db, conn, start, processor_file, tmp_path
) -> None:
    gate, env = tmp_path / "gate", {"ACTIOND_LEASE_S": "3"}
    frozen = await start(db.dsn, processor_file(WORK), env=env).ready()
    ids = await ask(conn, "gated", *[str(gate)] * 3)
    await until(conn, ids, "running")
    frozen.signal(signal.SIGSTOP)
    other = await start(db.dsn, processor_file(WORK), env=env).ready()
    await other.says("rows_rescued", rows=3)
    await eventually(lambda: conn.fetchval("select exists (select from actiond.action_list where daemon = 2)"))
    gate.touch()
    await until(conn, ids, "completed")
    frozen.signal(signal.SIGCONT)
    await frozen.says("lease_lost")
    await frozen.says("daemon_registered", daemon_id=3)
    await completed_once(conn, ids)
    assert {row["result"] for row in await look(conn, ids)} == {str(other.process.pid)}
    other.signal(signal.SIGTERM)
    assert await other.ends() == 0
    [row] = await until(conn, await ask(conn, "gated", str(gate)), "completed")
    assert row["result"] == str(frozen.process.pid)
    assert await conn.fetch("select id, ended from actiond.daemon order by id") == [
        (1, "died"),
        (2, "stopped"),
        (3, None),
    ]


async def test_outcomes_of_a_daemon_that_does_not_know_yet_that_it_was_given_up_are_fenced(
    db, conn, start, processor_file, tmp_path
) -> None:
    gate = tmp_path / "gate"
    async with running_proxy(db.dsn) as proxy:
        env = {"ACTIOND_LISTEN_DSN": proxy.dsn}
        late = await start(db.dsn, processor_file(IMPATIENT + WORK), env=env).ready()
        rescuer = IMPATIENT + "@processor('none')\nasync def none(action): ...\n"
        other = await start(db.dsn, processor_file(rescuer)).ready()
        ids = await ask(conn, "gated", *[str(gate)] * 3)
        await until(conn, ids, "running")
        proxy.hole()
        await conn.execute("update actiond.daemon set lease_until = actiond.now() - interval '1 s' where id = 1")
        await other.says("rows_rescued", rows=3)
        gate.touch()
        await eventually(lambda: _fenced(conn, ids))
        proxy.heal()
        await late.says("daemon_registered", times=2)
        await until(conn, ids, "completed")
        await completed_once(conn, ids)
        assert (await events(conn, ids[0])).count("fenced") == 1
    await eventually(lambda: nothing_claimed(conn))


async def _fenced(conn: asyncpg.Connection, ids: list[int]) -> bool:
    fenced: int = await conn.fetchval(
        "select count(*) from actiond.history where event = 'fenced' and action_id = any($1::bigint[])", ids
    )
    return fenced == len(ids)


async def test_urgent_rows_come_first(db, conn, start, processor_file, tmp_path) -> None:
    path = str(tmp_path / "order")
    for name, priority in [("c", 2), ("d", 3), ("a", 0), ("b", 1), ("C", 2), ("A", 0)]:
        await ask(conn, "ordered", {"file": path, "name": name}, priority=priority)
    ids = [row["id"] for row in await conn.fetch("select id from actiond.action")]
    await start(db.dsn, processor_file(WORK)).ready()
    await until(conn, ids, "completed")
    assert (tmp_path / "order").read_text() == "aAbcCd"


async def test_rows_that_wait_for_a_wake_do_so(conn, daemon) -> None:
    [first] = await ask(conn, "nightly")
    await until(conn, await ask(conn, "shared"), "completed")
    assert (await look(conn, [first]))[0]["attempts"] == 0
    await conn.execute("select actiond.wake('nightly')")
    await until(conn, [first], "completed")
    [second] = await ask(conn, "nightly")
    await conn.execute("notify actiond_wake, 'shared, nightly'")
    await until(conn, [second], "completed")
    [third] = await ask(conn, "nightly")
    await conn.execute("notify actiond_wake")
    await until(conn, [third], "completed")


async def test_a_wake_that_nobody_heard_counts_at_the_next_start(db, conn, start, processor_file) -> None:
    daemon = await start(db.dsn, processor_file(WORK)).ready()
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends() == 0
    before = await ask(conn, "nightly", {}, {})
    await conn.execute("select actiond.wake('nightly')")
    after = await ask(conn, "nightly")
    await start(db.dsn, processor_file(WORK)).ready()
    await until(conn, before, "completed")
    await until(conn, await ask(conn, "shared"), "completed")
    assert (await look(conn, after))[0]["attempts"] == 0


async def test_a_pause_stops_everything_and_its_end_starts_it_again(db, conn, start, processor_file) -> None:
    await conn.execute("insert into actiond.setting (name, value) values ('paused', 'true')")
    early = await ask(conn, "shared", *[{}] * 20)
    daemon = await start(db.dsn, processor_file(WORK)).ready()
    await conn.execute("update actiond.processor set batch_size = 7 where name = 'shared'")
    await daemon.says("processor_policy_changed", knob="batch_size", after=7)
    assert {row["attempts"] for row in await look(conn, early)} == {0}
    await conn.execute("update actiond.setting set value = 'false' where name = 'paused'")
    await until(conn, early, "completed")
    await conn.execute("update actiond.setting set value = 'true' where name = 'paused'")
    await conn.execute("update actiond.processor set batch_size = 8 where name = 'shared'")
    await daemon.says("processor_policy_changed", knob="batch_size", after=8)
    late = await ask(conn, "shared", *[{}] * 20)
    await conn.execute("update actiond.processor set batch_size = 9 where name = 'shared'")
    await daemon.says("processor_policy_changed", knob="batch_size", after=9)
    assert {row["attempts"] for row in await look(conn, late)} == {0}
    await conn.execute("delete from actiond.setting where name = 'paused'")
    await until(conn, late, "completed")


async def test_a_processor_is_disabled_and_enabled_while_the_daemon_runs(db, conn, start, processor_file) -> None:
    await conn.execute("insert into actiond.processor (name, enabled) values ('shared', false)")
    ids = await ask(conn, "shared", *[{}] * 20)
    daemon = await start(db.dsn, processor_file(WORK)).ready()
    other = await ask(conn, "sized", {})
    await until(conn, other, "completed")
    assert {row["attempts"] for row in await look(conn, ids)} == {0}
    await conn.execute("update actiond.processor set enabled = null where name = 'shared'")
    await daemon.says("processor_policy_changed", knob="enabled", before=False, after=True)
    await until(conn, ids, "completed")
    await conn.execute("update actiond.processor set enabled = false where name = 'shared'")
    await daemon.says("processor_policy_changed", knob="enabled", before=True, after=False)
    ids = await ask(conn, "shared", *[{}] * 20)
    await until(conn, await ask(conn, "sized", {}), "completed")
    assert {row["attempts"] for row in await look(conn, ids)} == {0}


async def test_an_edited_batch_size_holds_for_the_next_batch(conn, daemon) -> None:
    await daemon.says("doorbell_armed", processor="sized")  # no claim is on its way
    await conn.execute("update actiond.processor set batch_size = 4 where name = 'sized'")
    await daemon.says("processor_policy_changed", processor="sized", knob="batch_size", before=100, after=4)
    rows = await until(conn, await ask(conn, "sized", *range(12)), "completed")
    assert {int(row["result"]) for row in rows} == {4}
    await conn.execute("delete from actiond.processor where name = 'sized'")
    await daemon.says("processor_policy_changed", processor="sized", knob="batch_size", before=4, after=100)
    rows = await until(conn, await ask(conn, "sized", *range(12)), "completed")
    assert max(int(row["result"]) for row in rows) == 12


async def _waited(conn: asyncpg.Connection, id_: int) -> float:
    waited: float = await conn.fetchval(
        "select extract(epoch from finished_at - next_eligible_at)::float8 from actiond.action where id = $1", id_
    )
    return waited


async def test_a_row_runs_by_itself_when_its_time_comes(conn, daemon) -> None:
    await daemon.says("doorbell_armed", processor="shared")
    later = await conn.fetchval("select actiond.enqueue('shared', due_in => '0.7 s')")
    again = await ask(conn, "retried")
    assert (await look(conn, [later]))[0]["status"] == "pending"
    await until(conn, [later, *again], "completed")
    assert await _waited(conn, later) >= 0
    assert await _waited(conn, again[0]) >= 0


async def test_a_row_that_is_pulled_forward_by_hand_runs_at_once(conn, daemon) -> None:
    later = await conn.fetchval("select actiond.enqueue('shared', due_in => '1 day')")
    held = await conn.fetchval("select actiond.enqueue('shared', held => true)")
    await daemon.says("doorbell_armed", processor="shared")
    await conn.execute("update actiond.action set next_eligible_at = actiond.now() where id = $1", later)
    await conn.execute("update actiond.action set status = 'pending' where id = $1", held)
    await until(conn, [later, held], "completed")
