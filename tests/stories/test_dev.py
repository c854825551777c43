"""`actiond dev`: a private Postgres that keeps its data, and code that is read again when it changes."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from support.command import actiond
from support.daemon import COMMAND, Daemon
from support.database import eventually, memory

pytestmark = pytest.mark.slow

CODE = """
from actiond import processor

@processor("greet")
def greet(action):
    return "hello"
"""


class Dev(Daemon):
    """One `actiond dev` in a folder, with its data beside its code."""

    def __init__(self, folder: Path, *options: str, stdin: int = subprocess.DEVNULL, **environment: str) -> None:
        self.lines: list[dict[str, Any]] = []
        chosen = {"ACTIOND_PG_BIN": os.environ["ACTIOND_TEST_PG"]} if "ACTIOND_TEST_PG" in os.environ else {}
        inherited = {name: value for name, value in os.environ.items() if name != "ACTIOND_DSN"}
        self.process = subprocess.Popen(
            [*COMMAND, "dev", *options],
            cwd=folder,
            env={**inherited, **chosen, "XDG_DATA_HOME": str(folder), "ACTIOND_LOG_FORMAT": "json", **environment},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    async def connect(self) -> asyncpg.Connection:
        """To the server it says it has, once the daemon is ready."""
        await self.ready()
        assert self.process.stdout is not None
        dsn = next(line.split()[1].decode() for line in self.process.stdout if line.startswith(b"DSN"))
        return await asyncpg.connect(dsn)

    async def stops(self) -> int:
        """By Ctrl-C."""
        self.signal(signal.SIGINT)
        return await self.ends()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short enough for a socket, and open to the user whom root runs the server as; pytest's tmp_path is not."""
    path = Path(tempfile.mkdtemp(prefix="t-", dir=memory()))
    path.chmod(0o711)
    (path / "processors.py").write_text(CODE)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def dev(folder: Path) -> Iterator[Callable[..., Dev]]:
    started: list[Dev] = []

    def start(*options: str, **more: Any) -> Dev:
        started.append(Dev(folder, *options, **more))
        return started[-1]

    yield start
    for each in started:
        each.kill()
        if each.process.stdout is not None:
            each.process.stdout.close()


def has_data(folder: Path) -> bool:
    return any(folder.glob("actiond/dev-pg*/data/PG_VERSION"))


async def greeted(connection: asyncpg.Connection) -> str:
    """What a new action comes to."""
    asked = await connection.fetchval("select actiond.enqueue('greet')")
    sql = "select result #>> '{}' from actiond.action where id = $1 and status = 'completed'"
    return await eventually(lambda: connection.fetchval(sql, asked))


@pytest.mark.parametrize("executor", ["thread", "process"])
async def test_changed_code_serves_and_broken_code_leaves_the_old_one(
    dev: Callable[..., Dev], folder: Path, executor: str
) -> None:
    file = folder / "processors.py"
    code = CODE.replace('"greet"', f'"greet", executor={executor!r}')
    file.write_text(code)
    daemon = dev()
    connection = await daemon.connect()
    assert await greeted(connection) == "hello"
    file.write_text(code.replace("hello", "howdy"))  # of the same length, perhaps in the same second
    await daemon.says("processor_reloaded", processor="greet")
    assert await greeted(connection) == "howdy"
    file.write_text("def greet(:\n")
    await daemon.says("processor_reload_failed")
    assert await greeted(connection) == "howdy"
    file.write_text(code.replace("hello", "good morning"))
    await daemon.says("processor_reloaded", times=2, processor="greet")
    assert await greeted(connection) == "good morning"
    await connection.close()
    assert await daemon.stops() == 0


WITH_RESOURCE = """
from actiond import lifespan, processor

@lifespan
async def word():
    yield "hello"

@processor("greet")
def greet(action):
    return word.value
"""


async def test_a_resource_that_does_not_open_leaves_the_old_code_and_its_resource(
    dev: Callable[..., Dev], folder: Path
) -> None:
    file = folder / "processors.py"
    file.write_text(WITH_RESOURCE)
    daemon = dev()
    connection = await daemon.connect()
    assert await greeted(connection) == "hello"
    file.write_text(WITH_RESOURCE.replace('    yield "hello"', "    yield 1 / 0"))
    failed = await daemon.says("processor_reload_failed")
    assert "'word' at" in failed["error"]
    assert failed["error"].endswith("ZeroDivisionError: division by zero")
    assert await greeted(connection) == "hello"
    file.write_text(WITH_RESOURCE.replace("hello", "howdy"))
    await daemon.says("processor_reloaded", processor="greet")
    assert await greeted(connection) == "howdy"
    await daemon.says("resource_closed", resource="word")
    await connection.close()
    assert await daemon.stops() == 0


async def test_data_stay_until_they_are_reset(dev: Callable[..., Dev]) -> None:
    for options, rows in ((), 0), ((), 1), (("--reset", "--yes"), 0):
        daemon = dev(*options)
        connection = await daemon.connect()
        assert await connection.fetchval("select count(*) from actiond.action") == rows
        assert await greeted(connection) == "hello"
        await connection.close()
        assert await daemon.stops() == 0


async def test_nothing_is_deleted_without_a_yes(dev: Callable[..., Dev], folder: Path) -> None:
    first = dev()
    await first.ready()
    assert await first.stops() == 0
    assert await dev("--reset").ends() == 130  # nobody is there to answer
    assert has_data(folder)


async def test_data_in_use_are_not_deleted(dev: Callable[..., Dev]) -> None:
    first = dev()
    connection = await first.connect()
    second = dev("--reset", "--yes")
    assert await second.ends() == 1
    await eventually(lambda: any("is in use by process" in line["text"] for line in second.heard(None)))
    assert await greeted(connection) == "hello"
    await connection.close()


async def test_a_file_that_comes_later_is_found(dev: Callable[..., Dev], folder: Path) -> None:
    (folder / "processors.py").rename(folder / "later.py")
    daemon = dev()
    connection = await daemon.connect()
    (folder / "later.py").rename(folder / "processors.py")
    await daemon.says("processor_registered", processor="greet")
    assert await greeted(connection) == "hello"
    await connection.close()


async def test_data_of_another_version_are_refused_with_the_way_out(dev: Callable[..., Dev]) -> None:
    first = dev()
    connection = await first.connect()
    await connection.execute("update actiond.migration set sha256 = '' where version = 1")
    await connection.close()
    assert await first.stops() == 0
    second = dev()
    assert await second.ends() == 4
    said = str(second.lines[-1])
    assert "migration 0001_core was edited" in said
    assert "begin with an empty database: `actiond dev --reset`." in said


async def test_a_server_of_ones_own_is_used_and_never_reset(db, dev: Callable[..., Dev], folder: Path) -> None:
    daemon = dev(ACTIOND_DSN=db.dsn)
    await daemon.ready()
    connection = await db.connect()
    assert await greeted(connection) == "hello"
    await connection.close()
    assert await daemon.stops() == 0
    assert not (folder / "actiond").exists()
    assert await dev("--reset", "--yes", ACTIOND_DSN=db.dsn).ends() == 2


async def test_other_terminals_are_told_where_it_is(dev: Callable[..., Dev], folder: Path) -> None:
    asked = {"XDG_DATA_HOME": str(folder)}
    nobody = await actiond("dev", "--show-dsn", env=asked)
    assert (nobody.code, nobody.out) == (1, "")
    assert nobody.line == "actiond: no `actiond dev` runs here: start it, then ask again"
    daemon = dev()
    connection = await daemon.connect()
    told = await actiond("dev", "--show-dsn", env=asked)
    assert (await actiond("enqueue", "greet", dsn=told.out.strip())).code == 0
    sql = "select result #>> '{}' from actiond.action where status = 'completed'"
    assert await eventually(lambda: connection.fetchval(sql)) == "hello"
    await connection.close()
    assert await daemon.stops() == 0
    assert (await actiond("dev", "--show-dsn", env=asked)).code == 1


async def test_what_it_has_told_means_itself(dev: Callable[..., Dev], folder: Path) -> None:
    first = dev()
    await first.ready()
    dsn = (await actiond("dev", "--show-dsn", env={"XDG_DATA_HOME": str(folder)})).out.strip()
    assert await first.stops() == 0
    again = dev(ACTIOND_DSN=dsn)  # in a terminal where it was exported
    connection = await again.connect()
    assert await greeted(connection) == "hello"
    await connection.close()


async def test_a_closed_terminal_ends_it(dev: Callable[..., Dev]) -> None:
    ours, its = pty.openpty()
    daemon = dev(stdin=its)
    os.close(its)
    await daemon.ready()
    os.close(ours)
    await daemon.says("daemon_stopping", reason="the terminal was closed")
    assert await daemon.ends() == 0
