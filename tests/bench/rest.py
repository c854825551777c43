"""A daemon at rest, and one with a million rows before it.

Queries are the statements that the server logs in twelve seconds (the counters of Postgres are up to
ten seconds late), from a daemon with several processors and nothing to do. Memory is the largest VmRSS seen
while one daemon drains with a million rows waiting.
"""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

from tests.bench.figure import Figure
from tests.bench.place import OURS, PROCESSORS, Place, cpu_s

from actiond.host.discovery import load

LOGGED = re.compile(rb"LOG:  (?:execute|statement)\b")
SETTLE_S = 3.0
WATCH_S = 12.0
MILLION = 1_000_000
DRAIN_S = 5.0


async def idle(place: Place) -> list[Figure]:
    await place.clear()
    await place.connection.execute("alter database bench set log_statement = 'all'")  # for sessions from now on
    async with place.daemons() as daemons:
        await asyncio.sleep(SETTLE_S)
        began_s, busy_s, logged = time.monotonic(), cpu_s(daemons[0].pid), place.log.stat().st_size
        await asyncio.sleep(WATCH_S)
        took_s, busy_s = time.monotonic() - began_s, cpu_s(daemons[0].pid) - busy_s
        queries = len(LOGGED.findall(place.log.read_bytes()[logged:]))
    await place.connection.execute("alter database bench reset log_statement")
    return [
        Figure("idle_queries", queries / took_s, f"{len(load(str(PROCESSORS)))} processors"),
        Figure("idle_cpu", 100 * busy_s / took_s),
    ]


async def memory(place: Place, rows: int = MILLION) -> list[Figure]:
    await place.clear("bench_500", enabled=False)
    async with place.daemons() as daemons:
        at_rest = resident_mb(daemons[0].pid)
        await place.fill(OURS, "bench_500", rows)
        await place.connection.execute("update actiond.processor set enabled = true where name = 'bench_500'")
        until_s, largest = time.monotonic() + DRAIN_S, 0.0
        while time.monotonic() < until_s:
            largest = max(largest, resident_mb(daemons[0].pid))
            await asyncio.sleep(0.1)
    await place.clear()
    return [Figure("memory_million_waiting", largest, f"{at_rest:.0f} MB before, {rows:,} rows, draining")]


def resident_mb(pid: int) -> float:
    """Of one process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/{pid}/status says no VmRSS")
