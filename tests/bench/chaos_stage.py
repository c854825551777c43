"""Where one chaos scenario is played: its database, its daemons, a producer that goes on, and marks in time.

The producer inserts at a steady rate and keeps in this process, outside of the database, what was acknowledged. Where
the answer to an INSERT is lost nobody knows: its rows may be there or not, and both is right.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count, cycle
from pathlib import Path
from typing import Any

import asyncpg
from tests.bench.place import ACTIOND, Process

from actiond.host.private_postgres import PrivatePostgres

PROCESSORS = Path(__file__).with_name("chaos_processors.py")
#: 200 rows a second, where the machine keeps up.
CHUNK, PAUSE_S = 10, 0.05
BEFORE_S, AFTER_S = 3.0, 3.0
LATE_S = 1.0  # a row that waits for longer than this says that throughput is not back
CURRENT_S, END_S, READY_S = 60.0, 60.0, 60.0
LOOK_S = 0.05
LONGEST_S = 1800
#: What a client sees of a server that is away, full, or cuts it off.
AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

INSERT = """
insert into actiond.action (processor, data, related) select $1, $2, $3 from generate_series(1, $4::int) returning id
"""
LATE = """
select exists (select from actiond.action
  where status = 'pending' and created_at < clock_timestamp() - $1::text::interval)
"""
OPEN = "select count(*) from actiond.action where status in ('pending', 'held')"
HELD = """
select a.id from actiond.action a join actiond.daemon d on d.id = a.claimed_by
 where a.status = 'pending' and d.pid = $1 and d.ended_at is null
"""


class Producer:
    """What was acknowledged, and the tags of what may be there."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._tags = count()
        self._over = False
        self.acknowledged: set[int] = set()
        self.unknown: set[str] = set()

    async def insert(self, connection: asyncpg.Connection, processor: str, rows: int, data: str = "{}") -> list[int]:
        """Raises one of AWAY, and then nobody knows."""
        tag = str(next(self._tags))
        self.unknown.add(tag)
        ids = [row["id"] for row in await connection.fetch(INSERT, processor, data, tag, rows)]
        self.unknown.discard(tag)
        self.acknowledged.update(ids)
        return ids

    async def run(self) -> None:
        """Until `stop`."""
        connection: asyncpg.Connection | None = None
        turns = cycle(("chaos_one", "chaos_batch"))
        while not self._over:
            try:
                connection = connection or await asyncpg.connect(self._dsn, timeout=5, command_timeout=10)
                await self.insert(connection, next(turns), CHUNK)
            except AWAY:
                if connection is not None:
                    connection.terminate()
                connection = None
            await asyncio.sleep(PAUSE_S)
        if connection is not None:
            connection.terminate()

    def stop(self) -> None:
        self._over = True


@dataclass(frozen=True, slots=True)
class Way:
    """How a daemon comes to its database, and what else it finds in its environment."""

    dsn: str
    env: Mapping[str, str] = field(default_factory=dict)


class Stage:
    """One scenario. Moments are seconds of the wall clock, as the server's are: it is the same machine."""

    def __init__(self, server: PrivatePostgres, dsn: str) -> None:
        self.server = server
        self.dsn = dsn
        self.producer = Producer(dsn)
        self.daemons: list[Process] = []
        self.began_at = self.fault_at = self.over_at = self.ended_at = 0.0
        self.watched: list[tuple[float, list[int]]] = []  # since when these rows should end
        self.moments: list[float] = []  # since when any row should end
        self.values: list[float] = []  # measured in seconds by the scenario itself
        self.said: list[str] = []  # of what happened, for the reader
        self.complaints: list[str] = []

    def start(self, way: Way | None = None) -> Process:
        way = way or Way(self.dsn)
        command = [*ACTIOND, "run", "--log-format", "json", "--processors", str(PROCESSORS)]
        daemon = Process(command, way.dsn, longest_s=LONGEST_S, env=way.env)
        self.daemons.append(daemon)
        return daemon

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self.dsn, timeout=10, command_timeout=60)
        try:
            yield connection
        finally:
            connection.terminate()

    async def ask(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """Once the server answers."""
        while True:
            try:
                async with self.connected() as connection:
                    return list(await connection.fetch(query, *arguments))
            except AWAY:
                await asyncio.sleep(LOOK_S)

    @asynccontextmanager
    async def working(self, *ways: Way) -> AsyncIterator[None]:
        """Two daemons, or one for each way, and the producer. Inside is the fault; after it all must be well again."""
        for way in ways or (Way(self.dsn), Way(self.dsn)):
            self.start(way)
        for daemon in self.daemons:
            await daemon.says("daemon_ready", READY_S)
        producing = asyncio.create_task(self.producer.run())
        try:
            self.began_at = time.time()
            await asyncio.sleep(BEFORE_S)
            self.fault_at = time.time()
            yield
            self.over_at = self.over_at or time.time()
            await self._while_any(LATE, f"{LATE_S} s", within_s=CURRENT_S, what="rows waited for too long")
            await asyncio.sleep(AFTER_S)
            self.producer.stop()
            await producing
            self.ended_at = time.time()
            await self._while_any(OPEN, within_s=END_S, what="rows did not end")
            await self._all_stop()
        finally:
            producing.cancel()
            with suppress(asyncio.CancelledError):
                await producing

    async def _while_any(self, query: str, *arguments: Any, within_s: float, what: str) -> None:
        try:
            async with asyncio.timeout(within_s):
                while (await self.ask(query, *arguments))[0][0]:
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            self.complaints.append(f"{what}, {within_s:g} s after the fault")

    async def _all_stop(self) -> None:
        """Those that are left are told to; each must say that it did well."""
        for daemon in self.daemons:
            if daemon.process.poll() is None:
                daemon.process.terminate()
                code = await asyncio.to_thread(daemon.process.wait, 30)
                if code:
                    self.complaints.append(f"a daemon ended with {code}")

    def clear(self) -> None:
        """Nothing started here is left."""
        for daemon in self.daemons:
            if daemon.process.poll() is None:
                daemon.process.kill()
            daemon.stop()

    async def stopped_holding(self, daemon: Process) -> list[int]:
        """Stop this daemon (SIGSTOP) at a moment when it has rows in hand: a fault on an idle one proves nothing."""
        while True:
            daemon.process.send_signal(signal.SIGSTOP)
            if ids := [row["id"] for row in await self.ask(HELD, daemon.pid)]:
                return ids
            daemon.process.send_signal(signal.SIGCONT)
            await asyncio.sleep(LOOK_S)

    async def ended(self, ids: list[int]) -> None:
        """Wait until these have; the scenario has a bound."""
        open_ = "select count(*) from actiond.action where id = any ($1) and status in ('pending', 'held')"
        while (await self.ask(open_, ids))[0][0]:
            await asyncio.sleep(LOOK_S)
