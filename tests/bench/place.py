"""The server, its one database, and daemons as processes.

Postgres is durable (fsync on) and as it comes, but for three settings that both sides of every ratio share:
shared_buffers 512MB, and max_wal_size 16GB with checkpoint_timeout 1h, so that no checkpoint falls into a
measurement: `clear` makes them, between two. Autovacuum is on, as it comes.

One database for all figures; `clear` leaves it as if it were fresh. Every process started here ends with the
measurement that needed it, and by an alarm of its own if this one is killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median
from typing import IO

import asyncpg
from tests.bench import bare_loop

from actiond.host.private_postgres import PostgresUnavailable, PrivatePostgres
from actiond.postgres.migrate import migrate

SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "16GB", "checkpoint_timeout": "1h"}
PROCESSORS = Path(__file__).with_name("processors.py")
ACTIOND = [sys.executable, "-m", "actiond"]
BUILD = Path("build")
LONGEST_S = 290  # any process started here is over after this time, unless told otherwise
READY_S = 20.0
STOP_S = 20.0
COMMITS = 200

OURS = "actiond.action"
BARE = "bare.action"

FILL = """
insert into {table} (processor, data, next_eligible_at)
select $1, jsonb_build_object('n', n, 'to', 'user' || n || '@example.org'), now() from generate_series(1, $2::int) n
"""


@contextmanager
def running_server() -> Iterator[PrivatePostgres]:
    """In build/, or where its user can enter."""
    BUILD.mkdir(exist_ok=True)
    server = PrivatePostgres(durable=True, temporary_in=BUILD.absolute(), settings=SETTINGS)
    try:
        server.start()
    except PostgresUnavailable:
        server = PrivatePostgres(durable=True, settings=SETTINGS)
        server.start()
    with server:
        yield server


class Process:
    """A program in the background; what it says on stderr goes to a file that nobody sees unless it fails."""

    def __init__(
        self,
        command: list[str],
        dsn: str,
        stdin: int = subprocess.DEVNULL,
        longest_s: int = LONGEST_S,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ACTIOND_", "PG"))}
        self.process = subprocess.Popen(
            command,
            env={**inherited, "ACTIOND_DSN": dsn, **(env or {})},
            stdin=stdin,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            preexec_fn=lambda: signal.alarm(longest_s),  # survives the exec
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def said(self) -> str:
        """So far."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode(errors="replace")

    async def says(self, word: str, within_s: float = READY_S) -> None:
        """Wait for it."""
        deadline = asyncio.get_running_loop().time() + within_s
        while word not in self.said():
            if self.process.poll() is not None or asyncio.get_running_loop().time() > deadline:
                raise RuntimeError(f"{self.process.args!r} did not say {word!r}:\n{self.said()[-2000:]}")
            await asyncio.sleep(0.01)

    def tell(self, line: str) -> None:
        """For a program that reads its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that does not help."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        self._log.close()


class Place:
    """Where everything is measured."""

    def __init__(self, dsn: str, connection: asyncpg.Connection, log: Path) -> None:
        self.dsn = dsn
        self.connection = connection
        self.log = log  # the server's

    async def clear(self, processor: str = "", *, enabled: bool = True) -> None:
        """No actions, a checkpoint behind us; and this processor switched on or off before a daemon knows it."""
        await self.connection.execute("truncate actiond.action, actiond.run, actiond.history, bare.action")
        await self.connection.execute("truncate actiond.processor")
        if processor:
            await self.connection.execute(
                "insert into actiond.processor (name, enabled) values ($1, $2)", processor, enabled
            )
        await self.connection.execute("checkpoint")

    async def fill(self, table: str, processor: str, rows: int) -> None:
        """A backlog, all due now, and the table as autovacuum would have left it."""
        await self.connection.execute(FILL.format(table=table), processor, rows, timeout=120)
        await self.connection.execute(f"vacuum (analyze) {table}", timeout=120)

    async def wal_bytes(self) -> int:
        """Written so far."""
        return int(await self.connection.fetchval("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))

    async def commit_ms(self) -> float:
        """The least that a commit of one row takes here, as a median: mostly the disk."""
        took_s = []
        for _ in range(COMMITS):
            began_s = time.monotonic()
            await self.connection.execute("insert into bare.action (processor) values ('commit')")
            took_s.append(time.monotonic() - began_s)
        return 1000 * median(took_s)

    async def cpu(self, processes: Sequence[Process]) -> Counter[int]:
        """Seconds of CPU so far, of these processes and of every session but our own, by pid."""
        sessions = await self.connection.fetch(
            "select pid from pg_stat_activity where datname = 'bench' and backend_type = 'client backend' "
            "and pid <> pg_backend_pid()"
        )
        pids = [process.pid for process in processes] + [session["pid"] for session in sessions]
        return Counter({pid: cpu_s(pid) for pid in pids})

    @asynccontextmanager
    async def daemons(self, count: int = 1) -> AsyncIterator[list[Process]]:
        """So many, all ready."""
        command = [*ACTIOND, "run", "--log-format", "json", "--processors", str(PROCESSORS)]
        async with self._running(command, "daemon_ready", count) as daemons:
            yield daemons

    @asynccontextmanager
    async def bare_loop(self) -> AsyncIterator[Process]:
        """Ready to be told."""
        command = [sys.executable, "-m", "tests.bench.bare_loop", self.dsn]
        async with self._running(command, "ready", 1, stdin=subprocess.PIPE) as processes:
            yield processes[0]

    @asynccontextmanager
    async def _running(
        self, command: list[str], word: str, count: int, stdin: int = subprocess.DEVNULL
    ) -> AsyncIterator[list[Process]]:
        started: list[Process] = []
        try:
            for _ in range(count):
                started.append(Process(command, self.dsn, stdin))  # noqa: PERF401 - known when the next one fails
            for process in started:
                await process.says(word)
            yield started
        finally:
            for process in started:
                process.stop()


@asynccontextmanager
async def prepared(server: PrivatePostgres) -> AsyncIterator[Place]:
    """The database with both schemas in it."""
    admin = await asyncpg.connect(server.dsn("postgres"))
    await admin.execute("create database bench")
    await admin.close()
    dsn = server.dsn("bench")
    await migrate(dsn)
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(bare_loop.TABLE)
        yield Place(dsn, connection, server.root / "log")
    finally:
        connection.terminate()


def cpu_s(pid: int) -> float:
    """User and system time of a process: fields 14 and 15 of its stat, counted after the name in brackets."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
