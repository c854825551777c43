"""Handlers that block, leak, exit, crash, print, return garbage, raise anything: in the loop, a thread, a process.

What a fault may cost is said in docs/reliability.md, which names the tests of this file. A loop and a thread are inside
the daemon, so what kills a process kills the daemon there, and its rows take the way of rescue and quarantine; a worker
process dies alone.
"""

from __future__ import annotations

import asyncio
import builtins
import re
import sys
from collections.abc import Iterator

import asyncpg
import pytest

from support.daemon import Daemon, daemons, outlived
from support.database import Database, Server, eventually
from support.faults import EXECUTORS, alone, handlers
from support.rows import ask, events, nothing_claimed, until
from support.sources import USUAL_IMPORTS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def db(server: Server, template: str) -> Iterator[Database]:
    with server.kept(template) as database:
        yield database


@pytest.fixture(scope="module")
def daemon(db: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    path = tmp_path_factory.mktemp("executors") / "handlers.py"
    path.write_text(USUAL_IMPORTS + handlers())
    with daemons() as start:
        yield asyncio.run(start(db.dsn, path, env={"ACTIOND_WORKERS": "2"}).ready())


@pytest.fixture(autouse=True)
async def _nothing_is_left_behind(daemon: Daemon, conn: asyncpg.Connection):
    async with outlived(daemon):
        yield
    await eventually(lambda: nothing_claimed(conn), within_s=3)


RAISED = [
    *sorted(
        name
        for name, kind in vars(builtins).items()
        if isinstance(kind, type) and issubclass(kind, BaseException) and name == kind.__name__
    ),
    "Unprintable",
]


@pytest.mark.parametrize("processor", EXECUTORS)
async def test_whatever_can_be_raised_fails_its_action_alone(conn, daemon, processor) -> None:
    assert len(RAISED) > 60
    rows = await alone(conn, processor, *({"raises": name} for name in RAISED))
    for name, row in zip(RAISED, rows, strict=True):
        assert (row["status"], row["attempts"]) == ("failed", 1), name
        assert name in row["error"], name


GARBAGE = ["object", "class", "set", "bytes", "function", "module", "generator", "nan", "nul", "surrogate", "digits"]
GARBAGE += ["deep", "circle", "odd", "key", "large"]


@pytest.mark.parametrize("processor", EXECUTORS)
async def test_a_result_that_cannot_be_kept_fails_its_action_alone(conn, daemon, processor) -> None:
    rows = await alone(conn, processor, *({"returns": name} for name in GARBAGE))
    for name, row in zip(GARBAGE, rows, strict=True):
        assert row["status"] == "failed", name
        assert "stored" in row["error"], name
        assert len(row["error"]) <= 1000


@pytest.mark.parametrize("processor", EXECUTORS)
async def test_megabytes_of_prints_disturb_neither_the_log_nor_the_outcome(conn, daemon, processor) -> None:
    rows = await alone(conn, processor, {"prints": 1}, {"prints": 2})
    assert {row["status"] for row in rows} == {"completed"}
    [asked] = await ask(conn, processor, {"raises": "KeyError"})
    await daemon.says("action_failed", action_id=asked)  # a line of the log is still one line


@pytest.mark.parametrize("processor", EXECUTORS)
async def test_what_a_handler_leaks_harms_no_other(conn, daemon, processor) -> None:
    rows = await alone(conn, processor, *[{"leaks": n} for n in range(20)])
    assert {row["status"] for row in rows} == {"completed"}


@pytest.mark.parametrize("processor", EXECUTORS)
async def test_a_handler_that_wants_too_much_memory_fails_alone(conn, daemon, processor) -> None:
    [row] = await alone(conn, processor, {"hogs": 1})
    assert (row["status"], row["error"]) == ("failed", "MemoryError")


@pytest.mark.parametrize("processor", ["in_loop", "in_loop_at_once"])
async def test_a_handler_that_holds_the_loop_is_named_with_its_stack(conn, daemon, processor) -> None:
    [asked] = await ask(conn, processor, {"blocks": 1.5})
    line = await daemon.says("loop_blocked", processor=processor)
    assert line["action_id"] == asked
    assert re.fullmatch(r"hold \(.*handlers\.py:\d+\)", line["where"])
    names = [frame.split()[0] for frame in line["frames"].split(" < ")]
    assert names == ["hold", "blocks", "does", processor]
    await until(conn, [asked], "completed")


async def test_a_task_that_a_handler_started_is_named_with_its_handler(conn, daemon) -> None:
    [asked] = await ask(conn, "in_loop", {"blocks_in_a_task": 1.5})
    await until(conn, [asked], "completed")
    lines = [line for line in daemon.heard("loop_blocked") if "later (" in line["frames"]]
    assert len(lines) == 1
    if sys.version_info >= (3, 12):  # before, nobody can ask a task what it inherited
        assert (lines[0]["processor"], lines[0]["action_id"]) == ("in_loop", asked)


@pytest.mark.parametrize("processor", ["in_thread", "in_process", "in_process_waiting"])
async def test_elsewhere_a_handler_holds_nobody_up(conn, daemon, processor) -> None:
    slow = await ask(conn, processor, {"blocks": 1.5})
    await until(conn, await ask(conn, "in_loop", *[{}] * 20), "completed")
    await until(conn, slow, "completed")
    assert daemon.heard("loop_blocked", processor=processor) == []


# what kills a process


@pytest.mark.parametrize("how", ["_exit", "SIGKILL", "SIGSEGV", "SIGABRT"])
async def test_a_worker_process_dies_alone_and_its_row_says_of_what(conn, daemon, how) -> None:
    [row] = await alone(conn, "in_process", {"dies": how})
    said = "ended with exit code 1" if how == "_exit" else f"was ended by {how}"
    assert row["status"] == "failed"
    assert row["error"].startswith(f"WorkerDied: The worker process of this action died: it {said}")
    line = await daemon.says("worker_died", processor="in_process", action_id=row["id"])
    assert said in line["error"]
    assert await events(conn, row["id"]) == ["failed"]
