"""What a plan over a million rows costs: `make bench-plans`, two minutes.

The same rows, first by a bare INSERT ... SELECT into actiond.action, then by a run of a plan, in the same database: its
rate is a ratio of the two. Then a run whose daemon is killed with SIGKILL in the middle and succeeded by another one:
every row of the source must have exactly one action, or this fails. Nobody drains meanwhile (the processor is off).
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time

from tests.bench.figure import Figure, table
from tests.bench.place import ACTIOND, BUILD, Place, prepared, running_server
from tests.bench.rest import resident_mb

from actiond.host.private_postgres import PrivatePostgres

ROWS = 1_000_000
LONGEST_S = 600
JSON = BUILD / "bench-plans.json"
LOOK_S = 0.1

SOURCE = """
create table public.customer (id bigint primary key, name text, email text, country text);
insert into public.customer
select n, 'customer ' || n, 'c' || n || '@example.org', (array['DE', 'FR', 'US'])[1 + n % 3]
  from generate_series(1, {rows}) n;
"""
BARE = "insert into actiond.action (processor, data) select 'bench_500', to_jsonb(c) from public.customer c"
PLAN = (
    "insert into actiond.plan (name, source, key, processor) values ('customers', 'public.customer', 'id', 'bench_500')"
)
MADE = (
    "select coalesce((state ->> 'made')::int, 0) as made, state ? 'filled' as filled from actiond.action where id = $1"
)
EXACT = """
select count(*) as actions, count(distinct data -> 'id') as customers from actiond.action where parent_id = $1
"""


async def measure(server: PrivatePostgres, rows: int) -> list[Figure]:
    async with asyncio.timeout(LONGEST_S), prepared(server) as place:
        connection = place.connection
        await connection.execute(SOURCE.format(rows=rows), timeout=120)
        await connection.execute("vacuum (analyze) public.customer", timeout=60)
        figures = []

        def tell(figure: Figure) -> None:
            print("  ".join(cell for cell in figure.cells() if cell), flush=True)
            figures.append(figure)

        await place.clear("bench_500", enabled=False)
        began_s = time.monotonic()
        await connection.execute(BARE, timeout=240)
        bare = rows / (time.monotonic() - began_s)
        tell(Figure("bare_insert_select", bare))

        await place.clear("bench_500", enabled=False)
        await connection.execute(PLAN)
        tell(_preview(place.dsn))
        async with place.daemons() as (daemon,):
            before_mb = resident_mb(daemon.pid)
            per_s, most_mb = await _run(place, rows, daemon.pid)
        tell(Figure("plan_inserts", per_s / bare, f"{per_s:,.0f} rows/s"))
        tell(Figure("plan_memory", most_mb, f"{before_mb:.0f} MB before, {rows:,} rows, at most"))

        await place.clear("bench_500", enabled=False)
        tell(await _killed(place, rows))
        return figures


def _preview(dsn: str) -> Figure:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ACTIOND_", "PG"))}
    began_s = time.monotonic()
    command = [*ACTIOND, "plan", "preview", "customers", "--json"]
    done = subprocess.run(command, env={**inherited, "ACTIOND_DSN": dsn}, capture_output=True, check=True, timeout=60)
    return Figure(
        "plan_preview", time.monotonic() - began_s, f"actiond plan preview: {json.loads(done.stdout)['rows']:,} rows"
    )


async def _run(place: Place, rows: int, pid: int) -> tuple[float, float]:
    """Rows a second until the last one is made, and the most memory that the daemon had."""
    most_mb, began_s = 0.0, time.monotonic()
    run = await place.connection.fetchval("select actiond.plan_run('customers')")
    while not (so_far := await place.connection.fetchrow(MADE, run))["filled"]:
        most_mb = max(most_mb, resident_mb(pid))
        await asyncio.sleep(LOOK_S)
    per_s = so_far["made"] / (time.monotonic() - began_s)
    await _exact(place, run, rows)
    return per_s, most_mb


async def _killed(place: Place, rows: int) -> Figure:
    run = None
    async with place.daemons() as (first,):
        run = await place.connection.fetchval("select actiond.plan_run('customers')")
        while (await place.connection.fetchrow(MADE, run))["made"] < rows // 3:
            await asyncio.sleep(LOOK_S)
        first.process.kill()
    made = (await place.connection.fetchrow(MADE, run))["made"]
    async with place.daemons():
        while not (await place.connection.fetchrow(MADE, run))["filled"]:
            await asyncio.sleep(LOOK_S)
    await _exact(place, run, rows)
    return Figure("plan_killed", rows, f"actions for {rows:,} rows; its daemon was killed when {made:,} were made")


async def _exact(place: Place, run: int, rows: int) -> None:
    there = await place.connection.fetchrow(EXACT, run, timeout=120)
    if tuple(there) != (rows, rows):
        raise RuntimeError(f"{there['actions']:,} actions for {there['customers']:,} of {rows:,} rows")


def main() -> int:
    try:
        with running_server() as server:
            figures = asyncio.run(measure(server, ROWS))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    JSON.write_text(json.dumps({"figures": [each.as_json() for each in figures]}, indent=1) + "\n")
    print(f"\n{table(figures)}\n\nwritten to {JSON}")
    return 0 if all(figure.passed is not False for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
