"""What the trigger costs writers: single-row INSERTs, a commit each, from 32 clients.

Without our trigger (disabled), then with it, in turns of a second. Busy: nobody holds the bell, as while
daemons work; the trigger only takes a lock. Idle: a daemon sleeps with the bell held, and goes on sleeping
because the rows are due in an hour: every INSERT rings. That is the worst case; rows that are due wake the
daemon up, and it is busy then.

The clients are pgbench, where it lies beside the server or on the path, else 32 connections of asyncpg.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import asyncpg
from tests.bench.figure import Figure
from tests.bench.place import BUILD, Place

from actiond.host.postgres_binaries import preferred_binaries

CLIENTS = 32
TURN_S = 1
ROUNDS = 6

DUE = """insert into actiond.action (processor, data) values ('bench_inserts', '{"n": 1}')"""
LATER = """insert into actiond.action (processor, data, next_eligible_at)
values ('bench_inserts', '{"n": 1}', now() + interval '1 hour')"""


async def measure(place: Place, tell: Callable[[str], None]) -> list[Figure]:
    pgbench = _pgbench()
    client = "pgbench" if pgbench else "asyncpg"
    none, busy, none_later, idle = [], [], [], []
    for _ in range(ROUNDS):
        none.append(await _turn(place, pgbench, DUE, trigger=False))
        busy.append(await _turn(place, pgbench, DUE, trigger=True))
        tell(f"nobody sleeps: {none[-1]:,.0f} rows/s without, {busy[-1]:,.0f} with the trigger")
    async with place.daemons():
        for _ in range(ROUNDS // 2):
            none_later.append(await _turn(place, pgbench, LATER, trigger=False))
            idle.append(await _turn(place, pgbench, LATER, trigger=True))
            tell(f"a daemon sleeps: {none_later[-1]:,.0f} rows/s without, {idle[-1]:,.0f} with the trigger")
    await place.clear()
    return [
        Figure("inserts_no_trigger", median(none), f"{CLIENTS} clients of {client}"),
        Figure("inserts_busy", median(busy) / median(none), f"{median(busy):,.0f} rows/s, nobody sleeps"),
        Figure("inserts_idle", median(idle) / median(none_later), f"{median(idle):,.0f} rows/s, each INSERT rings"),
    ]


async def _turn(place: Place, pgbench: Path | None, insert: str, *, trigger: bool) -> float:
    """Rows a second."""
    await place.connection.execute("truncate actiond.action")
    switch = "enable" if trigger else "disable"
    await place.connection.execute(f"alter table actiond.action {switch} trigger action_inserted")
    try:
        return await (_by_pgbench(pgbench, place.dsn, insert) if pgbench else _by_asyncpg(place.dsn, insert))
    finally:
        await place.connection.execute("alter table actiond.action enable trigger action_inserted")


def _pgbench() -> Path | None:
    beside = preferred_binaries().folder / "pgbench"
    on_path = shutil.which("pgbench")
    return beside if beside.is_file() else Path(on_path) if on_path else None


async def _by_pgbench(pgbench: Path, dsn: str, insert: str) -> float:
    script = BUILD / "bench-insert.sql"
    script.write_text(" ".join(insert.split()) + ";\n")
    options = ["-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "2", "-T", str(TURN_S), "-f", str(script)]
    process = await asyncio.create_subprocess_exec(
        str(pgbench), *options, dsn, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(TURN_S + 20):
            said = (await process.communicate())[0].decode(errors="replace")
    finally:
        if process.returncode is None:
            process.kill()
        script.unlink(missing_ok=True)
    found = re.search(r"^tps = ([\d.]+)", said, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"pgbench says no tps:\n{said[-2000:]}")
    return float(found[1])


async def _by_asyncpg(dsn: str, insert: str) -> float:
    async def one(connection: asyncpg.Connection) -> int:
        statement, inserted = await connection.prepare(insert), 0
        while time.monotonic() < until_s:
            await statement.fetch()
            inserted += 1
        return inserted

    connections = [await asyncpg.connect(dsn) for _ in range(CLIENTS)]
    try:
        began_s = time.monotonic()
        until_s = began_s + TURN_S
        inserted = sum(await asyncio.gather(*map(one, connections)))
        return inserted / (time.monotonic() - began_s)
    finally:
        for connection in connections:
            connection.terminate()
