"""Whole daemons whose handlers kill, freeze and outlast them, or the worker processes that run them."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import asyncpg
import pytest

from support.database import eventually
from support.faults import alone, handlers
from support.impatient import IMPATIENT
from support.rows import ask, completed_once, events, look, nothing_claimed, until

pytestmark = pytest.mark.slow


async def test_when_a_loop_counts_as_blocked_can_be_set(db, conn, start, processor_file) -> None:
    file = processor_file(handlers())
    for setting, heard in (("0.25", 1), ("30", 0)):
        daemon = await start(db.dsn, file, env={"ACTIOND_LOOP_BLOCKED_S": setting}).ready()
        await until(conn, await ask(conn, "in_loop", {"blocks": 1.2}), "completed")
        daemon.signal(signal.SIGTERM)
        assert await daemon.ends() == 0
        assert len(daemon.heard("loop_blocked")) == heard


RETRIED = """
@processor("retried", executor="process", retries=2, retry_interval="0.1 s")
def retried(action):
    if action.data["dies"] >= action.attempt:
        os._exit(1)
    return action.attempt
"""


async def test_a_row_whose_worker_died_has_the_retries_of_its_policy(db, conn, start, processor_file) -> None:
    await start(db.dsn, processor_file(RETRIED)).ready()
    ids = await ask(conn, "retried", {"dies": 0}, {"dies": 1}, {"dies": 9})
    rows = await until(conn, ids, "completed", "failed")
    assert [(row["status"], row["attempts"], row["crashes"]) for row in rows] == [
        *(("completed", 1, 0), ("completed", 2, 0), ("failed", 3, 0))
    ]
    assert await events(conn, ids[2]) == ["retried", "retried", "failed"]


@pytest.mark.parametrize(
    ("processor", "how"), [("in_loop", "_exit"), ("in_thread", "SIGSEGV"), ("in_thread", "SIGKILL")]
)
async def test_a_daemon_that_a_handler_kills_is_found_dead_and_the_row_set_aside(
    server, template, start, processor_file, processor, how
) -> None:
    async with server.fresh(template) as db:
        conn = await db.connect()
        file = processor_file(IMPATIENT + handlers())
        ids = await ask(conn, processor, {}, {"dies": how}, {})
        others = await ask(conn, "in_process", {}, {})
        for _ in range(3):
            assert await start(db.dsn, file).ends() != 0
        daemon = await start(db.dsn, file).ready()
        rows = await until(conn, ids, "completed", "failed")
        assert [row["status"] for row in rows] == ["completed", "failed", "completed"]
        assert (rows[1]["error"], rows[1]["crashes"]) == ("quarantined: daemon died", 3)
        await until(conn, others, "completed")
        daemon.signal(signal.SIGTERM)
        assert await daemon.ends() == 0
        await conn.close()


# what takes too long

SLOW = """
import atexit, ctypes, re

if folder := os.environ.get("GOODBYES"):
    atexit.register(lambda: open(f"{folder}/{os.getpid()}", "w").close())


@processor("slow_in_loop")
async def slow_in_loop(action):
    await asyncio.sleep(action.data)


@processor("slow_in_thread")
def slow_in_thread(action):
    time.sleep(action.data)


@processor("slow_in_process", executor="process")
def slow_in_process(action):
    time.sleep(action.data)


@processor("hangs_in_loop", retries=0, timeout="0.3 s")
async def hangs_in_loop(action):
    await asyncio.get_running_loop().create_future()


@processor("hangs_in_thread", retries=0, timeout="0.3 s")
def hangs_in_thread(action):
    time.sleep(1.5)


@processor("hangs_in_process", executor="process", retries=0, timeout="0.3 s", concurrency=3)
def hangs_in_process(action):
    match action.data:
        case "waits": time.sleep(600)
        case "computes":
            while True: pass
        case "matches": re.match(r"(a+)+$", "a" * 64 + "b")  # longer than anybody lives, and holds the interpreter
        case "in C": ctypes.PyDLL(None).sleep(600)
        case "deaf":
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            while True:
                try: time.sleep(600)
                except BaseException: pass
    return os.getpid()


@processor("holds_all", timeout="60 s", history="all")
async def holds_all(action):
    action.log.info("begun")
    if action.attempt == 1:
        await asyncio.sleep(0.1)
        ctypes.PyDLL(None).sleep(action.data)  # nothing else of this process runs, not even its threads


@processor("patient_in_process", executor="process", retries=0)
def patient_in_process(action):
    open(action.data, "w").write(str(os.getpid()))
    while not action.withdrawn:
        time.sleep(0.01)
    return "finished anyway"


@processor("stays_in_process", executor="process")
def stays_in_process(action):
    open(action.data["pid"], "w").write(str(os.getpid()))
    ctypes.PyDLL(None).sleep(600) if action.data.get("in_c") else time.sleep(action.data.get("for_s", 600))
    return "done"
"""

SHORT_LEASE = {"ACTIOND_LEASE_S": "3"}


async def test_a_handler_three_leases_long_is_run_once(db, conn, start, processor_file) -> None:
    file = processor_file(SLOW)
    both = [await start(db.dsn, file, env=SHORT_LEASE).ready() for _ in range(2)]
    ids = [id_ for where in ("loop", "thread", "process") for id_ in await ask(conn, f"slow_in_{where}", 9.5)]
    rows = await until(conn, ids, "completed", within_s=30)
    assert {(row["attempts"], row["crashes"]) for row in rows} == {(1, 0)}
    assert [line for daemon in both for line in daemon.heard("lease_lost") + daemon.heard("peer_died")] == []


async def test_a_daemon_that_a_handler_freezes_loses_its_lease_and_never_counts_twice(
    db, conn, start, processor_file
) -> None:
    file = processor_file(SLOW)
    both = [await start(db.dsn, file, env=SHORT_LEASE).ready() for _ in range(2)]
    ids = await ask(conn, "holds_all", 9)
    begun = await eventually(lambda: [daemon for daemon in both if daemon.heard("begun", action_id=ids[0])])
    [frozen], [other] = begun, [daemon for daemon in both if daemon not in begun]
    await other.says("rows_rescued", rows=1)
    await until(conn, ids, "completed", within_s=20)
    await frozen.says("lease_lost", within_s=20)
    await frozen.says("daemon_registered", times=2)  # it lives on, under another id
    await completed_once(conn, ids)
    assert [(row["attempts"], row["crashes"]) for row in await look(conn, ids)] == [(2, 1)]


@pytest.mark.parametrize("where", ["loop", "thread"])
async def test_a_handler_that_never_ends_fails_at_its_timeout(db, conn, start, processor_file, where) -> None:
    daemon = await start(db.dsn, processor_file(SLOW)).ready()
    ids = await ask(conn, f"hangs_in_{where}", 1)
    [row] = await until(conn, ids, "failed")
    assert row["error"].startswith("timed out after ")
    assert daemon.heard("handler_runaway") == []


async def test_in_a_process_a_timeout_ends_whatever_it_is(db, conn, start, processor_file) -> None:
    daemon = await start(db.dsn, processor_file(SLOW), env={"ACTIOND_WORKERS": "2"}).ready()
    ways = ["waits", "computes", "matches", "in C", "deaf"]
    rows = await alone(conn, "hangs_in_process", *ways)
    assert {row["status"] for row in rows} == {"failed"}
    assert all(row["error"].startswith("timed out after ") for row in rows)
    assert len(daemon.heard("handler_timed_out")) == len(ways)
    assert daemon.heard("handler_runaway") + daemon.heard("loop_blocked") + daemon.heard("worker_died") == []


async def test_a_handler_in_a_process_sees_that_its_action_was_canceled(
    db, conn, start, processor_file, tmp_path
) -> None:
    await start(db.dsn, processor_file(SLOW)).ready()
    begun = tmp_path / "begun"
    ids = await ask(conn, "patient_in_process", str(begun))
    await eventually(begun.exists)
    await conn.execute("update actiond.action set status = 'canceled' where id = $1", ids[0])
    await eventually(lambda: _fenced(conn, ids[0]))
    assert [row["status"] for row in await look(conn, ids)] == ["canceled"]


async def _fenced(conn: asyncpg.Connection, id_: int) -> bool:
    return "fenced" in await events(conn, id_)


# the end of a daemon


def runs(pid: int) -> bool:
    """A process that is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


async def pid_in(file: Path) -> int:
    """Once a handler has written it."""
    return int(await eventually(lambda: file.exists() and file.read_text()))


@pytest.mark.parametrize("in_c", [False, True], ids=["in Python", "in C"])
async def test_a_daemon_killed_leaves_no_worker(db, conn, start, processor_file, tmp_path, in_c) -> None:
    daemon = await start(db.dsn, processor_file(SLOW)).ready()
    idle = json.loads((await until(conn, await ask(conn, "hangs_in_process", ""), "completed"))[0]["result"])
    await ask(conn, "stays_in_process", {"pid": str(tmp_path / "pid"), "in_c": in_c})
    busy = await pid_in(tmp_path / "pid")
    assert runs(idle)
    assert runs(busy)
    daemon.signal(signal.SIGKILL)
    await eventually(lambda: not runs(idle) and not runs(busy))


async def test_a_daemon_that_stops_lets_its_workers_finish(db, conn, start, processor_file, tmp_path) -> None:
    daemon = await start(db.dsn, processor_file(SLOW), env={"GOODBYES": str(tmp_path)}).ready()
    idle = json.loads((await until(conn, await ask(conn, "hangs_in_process", ""), "completed"))[0]["result"])
    ids = await ask(conn, "stays_in_process", {"pid": str(tmp_path / "pid"), "for_s": 1})
    busy = await pid_in(tmp_path / "pid")
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends() == 0
    assert [(row["status"], row["attempts"]) for row in await look(conn, ids)] == [("completed", 1)]
    assert not runs(idle)
    assert not runs(busy)
    assert (tmp_path / str(idle)).exists()  # both came to the exit of Python
    assert (tmp_path / str(busy)).exists()
    assert await nothing_claimed(conn)


LEFT = """
import threading


@processor("in_loop")
async def in_loop(action):
    threading.Thread(target=time.sleep, args=(600,)).start()


@processor("in_thread")
def in_thread(action):
    threading.Thread(target=time.sleep, args=(600,)).start()


@processor("in_process", executor="process")
def in_process(action):
    threading.Thread(target=time.sleep, args=(600,)).start()
"""


async def test_threads_that_handlers_leave_behind_do_not_keep_a_daemon_from_ending(
    db, conn, start, processor_file
) -> None:
    daemon = await start(db.dsn, processor_file(LEFT)).ready()
    for processor in ("in_loop", "in_thread", "in_process"):
        await until(conn, await ask(conn, processor), "completed")
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends() == 0
    assert daemon.heard("daemon_stopped", exit_code=0)


EXITS_IN_A_TASK = """
import sys


async def leaves(kind):
    raise kind(3)


@processor("awaits_it", retries=0, concurrency=3)
async def awaits_it(action):
    async with asyncio.TaskGroup() as tasks:
        if action.data:
            tasks.create_task(leaves({"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt}[action.data]))


kept = []


@processor("forgets_it", retries=0)
async def forgets_it(action):
    kept.append(asyncio.create_task(leaves(SystemExit)))


@processor("in_process", executor="process", retries=0)
async def in_process(action):
    async with asyncio.TaskGroup() as tasks:
        if action.data:
            tasks.create_task(leaves(SystemExit))
"""


async def test_a_task_that_exits_ends_its_handler_and_not_the_daemon(db, conn, start, processor_file) -> None:
    daemon = await start(db.dsn, processor_file(EXITS_IN_A_TASK)).ready()
    ids = await ask(conn, "awaits_it", None, "SystemExit", None, "KeyboardInterrupt", None)
    rows = await until(conn, ids, "completed", "failed")
    assert [row["status"] for row in rows] == ["completed", "failed", "completed", "failed", "completed"]
    assert (rows[1]["error"], rows[3]["error"]) == ("SystemExit: 3", "KeyboardInterrupt: 3")
    line = await daemon.says("exit_ignored", error="SystemExit: 3")
    assert re.fullmatch(r".*processors_0\.py:\d+", line["where"])
    await until(conn, await ask(conn, "forgets_it"), "completed")
    rows = await until(conn, await ask(conn, "in_process", None, 1, None), "completed", "failed")
    assert [(row["status"], row["error"]) for row in rows] == [
        *(("completed", None), ("failed", "SystemExit: 3"), ("completed", None))
    ]
    daemon.signal(signal.SIGINT)
    assert await daemon.ends() == 0


async def test_a_daemon_that_must_stop_ends_what_its_workers_do_and_gives_it_back(
    db, conn, start, processor_file, tmp_path
) -> None:
    daemon = await start(db.dsn, processor_file(SLOW), env={"ACTIOND_DRAIN_S": "0.3"}).ready()
    ids = await ask(conn, "stays_in_process", *[{"pid": str(tmp_path / f"pid{n}"), "in_c": True} for n in range(5)])
    pid = await pid_in(tmp_path / "pid0")
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends() == 0
    assert not runs(pid)
    rows = await look(conn, ids)
    assert {(row["status"], row["retries_left"], row["crashes"]) for row in rows} == {("pending", None, 0)}
    assert await nothing_claimed(conn)


# 3,000 malformed payloads


def malformed(place: int) -> str:
    """JSON that Postgres takes."""
    n = place // 9
    return [
        "[" * (500 + n) + "]" * (500 + n),
        "9" * (1000 + 20 * n),
        f"1e{300 + n}",
        f"-1e-{300 + n}",
        json.dumps("x" * (n * 500)),
        json.dumps("\u202e\u0007\ufeff\uffff" * n, ensure_ascii=True),
        json.dumps({"": {"": [None] * n}}),
        json.dumps({"unknown": n}),
        "null",
    ][place % 9]


STRICT = """
class Order(BaseModel):
    works: int


@processor("strict", executor="{executor}", retries=0)
{how} strict(action: Action[Order]):
    return action.data.works
"""


@pytest.mark.parametrize("executor", ["loop", "thread", "process"])
async def test_malformed_rows_end_with_a_reason_and_hold_up_no_other(db, conn, start, processor_file, executor) -> None:
    source = STRICT.format(executor=executor, how="async def" if executor == "loop" else "def")
    daemon = await start(db.dsn, processor_file(source)).ready()
    payloads = [malformed(place) if place % 3 else json.dumps({"works": place}) for place in range(3_000)]
    ids = [
        row["id"]
        for row in await conn.fetch(
            "insert into actiond.action (processor, data) select 'strict', p.data::jsonb from unnest($1::text[])"
            " with ordinality as p (data, place) order by p.place returning id",
            payloads,
        )
    ]
    rows = await until(conn, ids, "completed", "failed", within_s=60)
    assert [row["status"] for row in rows] == ["failed" if place % 3 else "completed" for place in range(3_000)]
    assert [json.loads(row["result"]) for row in rows[::3]] == list(range(0, 3_000, 3))
    assert all(row["error"].startswith("The payload does not fit: ") for row in rows if row["status"] == "failed")
    assert {row["attempts"] for row in rows} == {1}
    assert daemon.process.poll() is None
