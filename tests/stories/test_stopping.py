"""Told to stop, a daemon claims no more, finishes what runs or gives it back, and ends in bounded time."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.database import eventually
from support.impatient import IMPATIENT
from support.rows import ask, events, look, nothing_claimed, until
from support.systemd import Systemd

pytestmark = pytest.mark.slow

SHORT = {"ACTIOND_DRAIN_S": "0.5"}
LONG = {"ACTIOND_DRAIN_S": "60"}

WORK = """
@processor("work", concurrency=5)
async def work(action):
    with open(action.data, "a") as file:
        file.write(f"{action.id}\\n")
    await asyncio.sleep(0.02)


@batch_processor("batches", batch_size=7, concurrency=3)
async def batches(batch):
    with open(batch[0].data, "a") as file:
        file.writelines(f"{action.id}\\n" for action in batch)
    await asyncio.sleep(0.02)
    batch.complete()


@processor("endless", concurrency=3)
async def endless(action):
    action.log.info("begun")
    await asyncio.sleep(600)


@batch_processor("half_done")
async def half_done(batch):
    batch[0].complete("before")
    batch[0].log.info("begun")
    await asyncio.sleep(600 if batch[0].attempt == 1 else 0)


@processor("stubborn", concurrency=2)
def stubborn(action):
    action.log.info("begun")
    time.sleep(600)


@processor("deaf", concurrency=1)
async def deaf(action):
    action.log.info("begun")
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass
"""


@pytest.mark.parametrize("processor", ["work", "batches"])
async def test_under_load_what_runs_is_finished_and_the_rest_goes_back_untouched(
    db, conn, start, processor_file, tmp_path, processor
) -> None:
    begun = tmp_path / "begun"
    daemon = await start(db.dsn, processor_file(WORK)).ready()
    ids = await ask(conn, processor, *[str(begun)] * 3000)
    await eventually(lambda: begun.exists() and len(begun.read_text().split()) > 50)
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends(within_s=15) == 0
    assert await nothing_claimed(conn)
    called = sorted(map(int, begun.read_text().split()))
    rows = await look(conn, ids)
    assert [row["id"] for row in rows if row["status"] == "completed"] == called
    assert {tuple(row)[1:5] for row in rows if row["id"] not in called} == {("pending", 0, None, 0)}
    assert await conn.fetchval("select ended from actiond.daemon") == "stopped"
    await daemon.says("daemon_stopped", exit_code=0, reason="SIGTERM")


async def test_handlers_that_take_longer_than_the_drain_are_cut_short_and_their_rows_are_not_charged(
    db, conn, start, processor_file
) -> None:
    daemon = await start(db.dsn, processor_file(WORK), env=SHORT).ready()
    ids, half = await ask(conn, "endless", {}, {}), await ask(conn, "half_done", {}, {})
    await daemon.says("begun", times=3)
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends(within_s=15) == 0
    await daemon.says("drain_expired", batches=3)
    assert await nothing_claimed(conn)
    for row in [*await look(conn, ids), (await look(conn, half))[1]]:
        assert (row["status"], row["retries_left"], row["crashes"]) == ("pending", None, 0)
        assert row["error"] == "the daemon stopped while it ran"
    assert (await look(conn, half))[0]["result"] == '"before"'
    assert await conn.fetchval("select bool_and(next_eligible_at <= now()) from actiond.action")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_told_twice_it_hurries(db, conn, start, processor_file, number) -> None:
    daemon = await start(db.dsn, processor_file(WORK), env=LONG).ready()
    ids = await ask(conn, "endless", {})
    await daemon.says("begun")
    daemon.signal(number)
    await daemon.says("drain_started", batches=1)
    for _ in range(5):
        daemon.signal(number)
    assert await daemon.ends(within_s=15) == 0
    assert await nothing_claimed(conn)
    assert (await look(conn, ids))[0]["status"] == "pending"
    assert [line for line in daemon.lines if line["event"] is None] == []


async def test_it_waits_for_a_handler_within_its_drain(db, conn, start, processor_file, tmp_path) -> None:
    daemon = await start(db.dsn, processor_file(WORK), env=LONG).ready()
    await daemon.says("doorbell_armed", processor="work")  # no claim is under way
    await ask(conn, "endless", {})
    await daemon.says("begun")
    daemon.signal(signal.SIGTERM)
    await daemon.says("drain_started", batches=1)
    later = await ask(conn, "work", str(tmp_path / "begun"))
    assert daemon.process.poll() is None
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends(within_s=15) == 0
    assert (await look(conn, later))[0]["attempts"] == 0


async def test_a_thread_that_nothing_can_end_does_not_hold_up_the_end(db, conn, start, processor_file) -> None:
    daemon = await start(db.dsn, processor_file(WORK), env=SHORT).ready()
    ids = await ask(conn, "stubborn", {}, {}, {})
    await daemon.says("begun", times=2)
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends(within_s=15) == 75
    assert await nothing_claimed(conn)
    rows = await look(conn, ids)
    assert [(row["status"], row["retries_left"], row["crashes"]) for row in rows] == [("pending", None, 0)] * 3
    assert await conn.fetchval("select ended from actiond.daemon") == "stopped"


async def test_a_handler_that_ignores_its_cancellation_does_not_hold_up_the_end(
    db, conn, start, processor_file
) -> None:
    daemon = await start(db.dsn, processor_file(IMPATIENT + WORK), env=SHORT).ready()
    ids = await ask(conn, "deaf", {}, {})
    await daemon.says("begun")
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends(within_s=15) == 75
    assert await nothing_claimed(conn)
    rows = await look(conn, ids)
    assert [(row["status"], row["retries_left"]) for row in rows] == [("pending", None)] * 2


async def test_rows_that_wait_for_a_place_on_the_daemon_go_back_untouched(db, conn, start, processor_file) -> None:
    daemon = await start(db.dsn, processor_file(WORK), env={**SHORT, "ACTIOND_CONCURRENCY": "1"}).ready()
    ids = await ask(conn, "endless", *[{}] * 5)
    await daemon.says("begun")
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends(within_s=10) == 0
    assert await nothing_claimed(conn)
    assert sorted(row["attempts"] for row in await look(conn, ids)) == [0, 0, 0, 0, 1]


async def test_a_daemon_that_is_stopped_while_it_starts_ends_well(db, start, processor_file) -> None:
    daemon = start(db.dsn, processor_file(WORK))
    await daemon.says("claim_mode")
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends(within_s=10) in (0, -signal.SIGTERM)
    assert [line for line in daemon.lines if line["event"] is None] == []


VERSION = """
@processor("greet", concurrency=2)
async def greet(action):
    if action.data:
        while not os.path.exists(action.data):
            await asyncio.sleep(0.01)
    return {version}
"""


async def test_a_reload_serves_new_code_and_keeps_the_old_when_it_does_not_load(
    db, conn, start, processor_file, tmp_path
) -> None:
    file, gate = processor_file(VERSION.format(version=1)), tmp_path / "gate"
    imports = file.read_text().split("@processor")[0]

    def changed_to(source: str) -> None:
        file.write_text(imports + source)
        daemon.signal(signal.SIGHUP)

    async def greeting() -> str:
        [row] = await until(conn, await ask(conn, "greet", ""), "completed")
        return row["result"]

    daemon = await start(db.dsn, file, env={"PYTHONDONTWRITEBYTECODE": ""}).ready()
    before = await ask(conn, "greet", str(gate))
    await until(conn, before, "running")
    changed_to(VERSION.format(version=2) + "\n\n@processor('another')\nasync def another(action): ...\n")
    await daemon.says("processor_reloaded", processor="greet")
    await daemon.says("daemon_reloaded", processors=["actiond.plan", "actiond.verb", "another", "greet"])
    assert await greeting() == "2"
    await until(conn, await ask(conn, "another"), "completed")
    changed_to("def broken(:\n")
    line = await daemon.says("processor_reload_failed")
    assert ": SyntaxError: invalid syntax" in line["error"]
    assert await greeting() == "2"
    changed_to("raise RuntimeError('at import')\n")
    await daemon.says("processor_reload_failed", times=2)
    assert await greeting() == "2"
    changed_to(VERSION.format(version=3))
    await daemon.says("processor_reloaded", times=2, processor="greet")
    assert await greeting() == "3"
    changed_to(VERSION.format(version=4))  # in the same second, of the same length
    await daemon.says("processor_reloaded", times=3, processor="greet")
    assert await greeting() == "4"
    gate.touch()
    [row] = await until(conn, before, "completed")
    assert row["result"] == "1"


async def test_an_override_survives_a_reload(db, conn, start, processor_file) -> None:
    file = processor_file(VERSION.format(version=1))
    await conn.execute("insert into actiond.processor (name, enabled) values ('greet', false)")
    daemon = await start(db.dsn, file).ready()
    ids = await ask(conn, "greet", *[""] * 10)
    for times in range(1, 4):
        file.write_text(file.read_text() + f"# {times}\n")
        daemon.signal(signal.SIGHUP)
        await daemon.says("daemon_reloaded", times=times)
    await conn.execute("update actiond.processor set batch_size = 5")
    await daemon.says("processor_policy_changed", knob="batch_size", after=5)
    assert {row["attempts"] for row in await look(conn, ids)} == {0}


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    listener = Systemd(tmp_path / "notify")
    yield listener
    listener.close()


async def test_systemd_hears_of_every_step_of_a_life(db, conn, start, processor_file, systemd) -> None:
    daemon = start(db.dsn, processor_file(WORK), env={**systemd.env, **SHORT})
    await eventually(lambda: systemd.hears("WATCHDOG=1", times=3))
    assert systemd.heard.index("READY=1") < systemd.heard.index("WATCHDOG=1")
    daemon.signal(signal.SIGHUP)
    await eventually(lambda: systemd.hears("READY=1", times=2))
    assert "RELOADING=1" in systemd.heard[: len(systemd.heard) - systemd.heard[::-1].index("READY=1")]
    await until(conn, await ask(conn, "endless"), "running")
    await eventually(lambda: systemd.hears("STATUS=8 processors, 1 calls running"))
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends(within_s=15) == 0
    assert systemd.hears("STOPPING=1")
    assert systemd.hears("EXTEND_TIMEOUT_USEC=")
    assert systemd.heard.count("STOPPING=1") == 1
    assert systemd.heard.index("STOPPING=1") > systemd.heard.index("RELOADING=1")


async def test_what_a_daemon_gives_back_is_found_at_once_by_one_that_sleeps(db, conn, start, processor_file) -> None:
    """Nobody rings for rows that come back, and here nobody polls for ten minutes."""
    first = await start(db.dsn, processor_file(WORK), env=SHORT).ready()
    ids = await ask(conn, "half_done", {}, {})
    await first.says("begun")
    second = await start(db.dsn, processor_file(WORK), env=SHORT).ready()
    await second.says("doorbell_armed", processor="half_done")
    first.signal(signal.SIGTERM)
    assert await first.ends() == 0
    [row] = await until(conn, ids[1:], "completed")
    assert row["attempts"] == 2


async def test_a_stopped_row_runs_again_at_the_next_start(db, conn, start, processor_file) -> None:
    first = await start(db.dsn, processor_file(WORK), env=SHORT).ready()
    ids = await ask(conn, "half_done", {}, {})
    await first.says("begun")
    first.signal(signal.SIGTERM)
    assert await first.ends() == 0
    await start(db.dsn, processor_file(WORK), env=SHORT).ready()
    [row] = await until(conn, ids[1:], "completed")
    assert row["attempts"] == 2
    assert await events(conn, ids[1]) == ["retried", "completed"]
