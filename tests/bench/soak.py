"""Does anything grow? `make soak` runs two hours (`MINUTES=10` is a look), in a server of its own.

Two daemons do a little of everything at a low, steady rate. One of them lives from the beginning to the end and is
measured every ten seconds: resident memory, open files, threads, tasks; beside it the dead tuples of the queue and the
latency of single rows. The other one is killed 50 times an hour; the sessions of both are cut every five minutes, and
Postgres is killed every half hour. Finished rows are deleted after five minutes, and checked off against what was
acknowledged: in the end nothing may be missing.

The samples are in build/soak.jsonl, the figures in build/soak.json, the plot in build/soak.svg.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
from tests.bench.place import ACTIOND, BUILD, Process, prepared, running_server
from tests.bench.rest import resident_mb
from tests.bench.soak_report import Sample, figures, plot

from actiond.host.private_postgres import PrivatePostgres

PROCESSORS = Path(__file__).with_name("soak_processors.py")
SAMPLE_S = 10.0
PAUSE_S = (0.02, 0.08)  # between inserts
KILL_S, CUT_S, CRASH_S = 72.0, 300.0, 1800.0
END_S = 120.0  # for the last rows to end
#: A server that was killed in the middle of a statement; the last is how asyncpg may say it.
GONE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
#: What is inserted, how often, and how many rows at once.
MIX = {
    "soak_probe": (50, 1),
    "soak_batch": (4, 100),
    "soak_flaky": (5, 1),
    "soak_thread": (10, 1),
    "soak_process": (10, 1),
    "soak_late": (1, 1),
    "soak_family": (4, 1),
}
INSERT = "insert into actiond.action (processor, data) select $1, '{}' from generate_series(1, $2::int) returning id"
CENSUS = "insert into actiond.schedule (name, processor, every, data) values ('census', 'soak_census', '10 s', '{}')"
DELETE = """
delete from actiond.action a where a.id in (
  select id from actiond.action where status in ('completed', 'failed', 'canceled')
     and finished_at < now() - make_interval(secs => $1) order by id)
returning a.id, a.processor, a.status, a.result::text as result
"""
FORGET = "delete from actiond.run where started_at < now() - interval '15 minutes'"
STATE = """
select (select n_dead_tup from pg_stat_user_tables where relid = 'actiond.action'::regclass) as dead,
       pg_total_relation_size('actiond.action') as bytes,
       (select count(*) from actiond.action where status in ('pending', 'held')) as open
"""
PROBES = "select id, result::text as result from actiond.action where processor = 'soak_probe' and id = any ($1)"
TASKS = """
select result ->> 'tasks' from actiond.action
 where processor = 'soak_census' and (result ->> 'pid')::int = $1 order by id desc limit 1
"""
CUT = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name like 'actiond%'"


class Soak:
    """One run: what was acknowledged, what has ended, what was measured."""

    def __init__(self, server: PrivatePostgres, dsn: str, seconds: float, seed: int) -> None:
        self._server = server
        self._dsn = dsn
        self._seconds = seconds
        self._rng = random.Random(seed)
        self._began_s = time.monotonic()
        self._open: set[int] = set()  # acknowledged, not yet seen to have ended
        self._probes: dict[int, int] = {}  # id -> when its insert was acknowledged
        self.acknowledged = self.faults = 0
        self.samples: list[Sample] = []

    @property
    def at_s(self) -> float:
        return time.monotonic() - self._began_s

    async def run(self) -> None:
        """Until the time is over and everything has ended."""
        async with self._connection() as connection:
            await connection.execute(CENSUS)
        steady = self._start()
        try:
            await steady.says("daemon_ready")
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._produce())
                tasks.create_task(self._strike())
                tasks.create_task(self._measure(steady))
            await self._until_all_has_ended()
        finally:
            steady.stop()

    def _start(self) -> Process:
        command = [*ACTIOND, "run", "--log-format", "json", "--processors", str(PROCESSORS)]
        return Process(command, self._dsn, longest_s=int(self._seconds + 2 * END_S))

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self._dsn, timeout=10, command_timeout=60)
        try:
            yield connection
        finally:
            connection.terminate()

    async def _produce(self) -> None:
        names = list(MIX)
        weights = [MIX[name][0] for name in names]
        while self.at_s < self._seconds:
            try:
                async with self._connection() as connection:
                    while self.at_s < self._seconds:
                        name = self._rng.choices(names, weights)[0]
                        ids = [row["id"] for row in await connection.fetch(INSERT, name, MIX[name][1])]
                        self.acknowledged += len(ids)
                        self._open.update(ids)
                        if name == "soak_probe":
                            self._probes[ids[0]] = time.monotonic_ns()
                        await asyncio.sleep(self._rng.uniform(*PAUSE_S))
            except GONE:
                await asyncio.sleep(0.5)  # the server is away: on purpose

    async def _strike(self) -> None:
        """The other daemon is killed; now and then the connections, or the server."""
        cut_s, crash_s = CUT_S, CRASH_S
        while self.at_s < self._seconds:
            other = self._start()
            try:
                await asyncio.sleep(min(KILL_S, max(0.0, self._seconds - self.at_s)))
                if self.at_s >= crash_s:
                    crash_s += CRASH_S
                    self.faults += 1
                    await asyncio.to_thread(self._crash)
                elif self.at_s >= cut_s:
                    cut_s += CUT_S
                    self.faults += 1
                    async with self._connection() as connection:
                        await connection.execute(CUT)
            finally:
                other.process.kill()
                other.stop()
                self.faults += 1

    def _crash(self) -> None:
        self._server.kill()
        self._server.start()

    async def _measure(self, steady: Process) -> None:
        with (BUILD / "soak.jsonl").open("w") as out:
            due_s = SAMPLE_S
            while self.at_s < self._seconds:
                await asyncio.sleep(max(0.0, due_s - self.at_s))
                due_s += SAMPLE_S
                try:
                    async with self._connection() as connection:
                        sample = await self._sample(connection, steady.pid)
                        await self._check_off(connection, 300)
                except GONE:
                    continue  # the server is away: on purpose
                self.samples.append(sample)
                out.write(json.dumps(sample) + "\n")
                out.flush()
                if len(self.samples) % 30 == 0:
                    print(f"{self.at_s / 60:6.1f} min  {json.dumps(sample)}", flush=True)

    async def _sample(self, connection: asyncpg.Connection, pid: int) -> Sample:
        state = await connection.fetchrow(STATE)
        tasks = await connection.fetchval(TASKS, pid)
        waits_ms = await self._latencies_ms(connection)
        return {
            "at_s": round(self.at_s, 1),
            "memory_mb": round(resident_mb(pid), 2),
            "files": len(list(os.scandir(f"/proc/{pid}/fd"))),
            "threads": len(list(os.scandir(f"/proc/{pid}/task"))),
            "tasks": int(tasks) if tasks is not None else None,
            "dead_tuples": state["dead"],
            "queue_mb": round(state["bytes"] / 1e6, 2),
            "open": state["open"],
            "latency_p50_ms": _share(waits_ms, 0.5),
            "latency_p99_ms": _share(waits_ms, 0.99),
        }

    async def _latencies_ms(self, connection: asyncpg.Connection) -> list[float]:
        """Of the single rows since the last sample: from the answer to the INSERT until the handler started."""
        ended = [row for row in await connection.fetch(PROBES, list(self._probes)) if row["result"] is not None]
        return sorted((int(row["result"]) - self._probes.pop(row["id"])) / 1e6 for row in ended)

    async def _check_off(self, connection: asyncpg.Connection, after_s: float) -> None:
        for row in await connection.fetch(DELETE, after_s):
            self._open.discard(row["id"])
            self._probes.pop(row["id"], None)
        await connection.execute(FORGET)

    async def _until_all_has_ended(self) -> None:
        async with asyncio.timeout(END_S), self._connection() as connection:
            while self._open:
                await self._check_off(connection, 0.0)
                await asyncio.sleep(1)

    @property
    def lost(self) -> int:
        """Acknowledged, and never seen to have ended."""
        return len(self._open)


def _share(values: list[float], share: float) -> float | None:
    return round(values[min(len(values) - 1, int(len(values) * share))], 2) if values else None


async def _soak(server: PrivatePostgres, minutes: float, seed: int) -> Soak:
    async with prepared(server) as place:
        soak = Soak(server, place.dsn, minutes * 60, seed)
        try:
            await soak.run()
        except TimeoutError:
            print(f"{soak.lost} rows have not ended", file=sys.stderr)
        return soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    try:
        with running_server() as server:
            soak = asyncio.run(_soak(server, options.minutes, options.seed))
    except KeyboardInterrupt:
        print("stopped; what was measured is in build/soak.jsonl", file=sys.stderr)
        return 130
    measured = figures(soak.samples, soak.lost, f"{soak.acknowledged:,} acknowledged, {soak.faults} faults")
    said: dict[str, Any] = {"minutes": options.minutes, "seed": options.seed}
    (BUILD / "soak.json").write_text(json.dumps(said | {"figures": [each.as_json() for each in measured]}, indent=1))
    plot(soak.samples, BUILD / "soak.svg")
    return 0 if all(figure.passed is not False for figure in measured) else 1


if __name__ == "__main__":
    sys.exit(main())
