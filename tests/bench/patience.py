"""What a daemon has to sit out: `make bench-patience`, a quarter of an hour.

A report keeps its snapshot while a daemon works off rows of one processor, until a million dead versions of rows lie
where its claims look: how long does a single row take from INSERT to handler then, and how long before?

Then Postgres is away for ten minutes (`--minutes 1` is a look) and comes back: what do CPU, log and memory of a daemon
say of that, and when is the first row done?
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable

from tests.bench import latency
from tests.bench.figure import Figure, table
from tests.bench.place import ACTIOND, BUILD, OURS, PROCESSORS, Place, Process, cpu_s, prepared, running_server
from tests.bench.rest import resident_mb

from actiond.host.private_postgres import PrivatePostgres
from actiond.postgres.connection import connect

DEAD, MINUTES = 1_000_000, 10.0
SETTLE_S = 30.0  # of an outage: what is lost at its beginning is lost
LONGEST_S = 1200
LOOK_S = 0.02
JSON = BUILD / "bench-patience.json"
OPEN = f"select count(*) from {OURS} where status = 'pending'"
DEAD_TUPLES = "select n_dead_tup from pg_stat_user_tables where relid = 'actiond.action'::regclass"


async def old_snapshot(place: Place, dead: int, tell: Callable[[str], None]) -> list[Figure]:
    """From INSERT to handler, without and with dead rows that nobody may remove."""
    await place.clear()
    report = await connect(place.dsn, settings={"idle_in_transaction_session_timeout": "0"})
    try:
        async with place.daemons():
            before = await latency.sampled(place)
            async with report.transaction(isolation="repeatable_read", readonly=True):
                await report.fetchval(OPEN)
                await place.fill(OURS, "bench_latency", dead // 2)  # a claim and an outcome leave one dead version each
                while await place.connection.fetchval(OPEN):
                    await asyncio.sleep(LOOK_S)
                await place.connection.execute(f"vacuum {OURS}")
                left = await place.connection.fetchval(DEAD_TUPLES)
                tell(f"{left:,} dead versions of rows stay")
                after = await latency.sampled(place)
    finally:
        report.terminate()
    p50, p99 = (latency.share(before.since_commit, each) for each in (0.5, 0.99))
    said = (
        f"{left:,} of them; median {latency.share(after.since_commit, 0.5):.2f}; without: {p99:.2f}, median {p50:.2f}"
    )
    return [Figure("dead_rows_p99", latency.share(after.since_commit, 0.99), said)]


async def away(server: PrivatePostgres, dsn: str, minutes: float, tell: Callable[[str], None]) -> list[Figure]:
    """Postgres is killed, and started again after so long."""
    daemon = Process(
        [*ACTIOND, "run", "--log-format", "json", "--processors", str(PROCESSORS)], dsn, longest_s=LONGEST_S
    )
    try:
        await daemon.says("daemon_ready")
        await asyncio.to_thread(server.kill)
        lines, began_s = daemon.said().count("\n"), time.monotonic()
        await asyncio.sleep(min(SETTLE_S, minutes * 30))
        measured_s, busy_s, memory = time.monotonic(), cpu_s(daemon.pid), resident_mb(daemon.pid)
        tell("Postgres is away")
        await asyncio.sleep(began_s + minutes * 60 - time.monotonic())
        cpu = 100 * (cpu_s(daemon.pid) - busy_s) / (time.monotonic() - measured_s)
        lines, more = daemon.said().count("\n") - lines, resident_mb(daemon.pid) - memory
        await asyncio.to_thread(server.start)
        back_s = await _first_row_s(dsn)
        said = f"{minutes:g} minutes"
        return [
            Figure("away_cpu", cpu, said),
            Figure("away_lines", lines, said),
            Figure("away_memory", more, f"from {memory:.0f}"),
            Figure("away_back", back_s, "from the first connection that the server accepts to the first row done"),
        ]
    finally:
        daemon.stop()


async def _first_row_s(dsn: str) -> float:
    while True:
        try:
            connection = await connect(dsn)
            break
        except OSError:
            await asyncio.sleep(LOOK_S)
    try:
        since_s = time.monotonic()
        row = await connection.fetchval(latency.INSERT)
        while await connection.fetchval(f"{OPEN} and id = $1", row):
            await asyncio.sleep(LOOK_S)
        return time.monotonic() - since_s
    finally:
        connection.terminate()


async def _measure(server: PrivatePostgres, dead: int, minutes: float, tell: Callable[[str], None]) -> list[Figure]:
    async with prepared(server) as place:
        figures = await old_snapshot(place, dead, tell)
        await place.clear()
    return figures + await away(server, place.dsn, minutes, tell)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.patience", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="that Postgres is away (default: %(default)s)")
    parser.add_argument("--dead", type=int, default=DEAD, help="dead versions of rows (default: %(default)s)")
    options = parser.parse_args()
    began_s = time.monotonic()

    def tell(line: str) -> None:
        print(f"{time.monotonic() - began_s:6.1f} s  {line}", flush=True)

    try:
        with running_server() as server:
            figures = asyncio.run(_measure(server, options.dead, options.minutes, tell))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("stopped", file=sys.stderr)
        return 130
    JSON.write_text(json.dumps([each.as_json() for each in figures], indent=1) + "\n")
    print(f"\n{table(figures)}\n\nwritten to {JSON}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
