"""What takes long, and daemons that are killed under it: `make bench-kills`, some minutes.

A cursor step walks over a million rows while the daemon that has it is killed ten times: each row must have been
visited, and what the step keeps from run to run must be exact. Then a parent makes 100,000 children; one in ten of them
fails the first time, an operator cancels a thousand, daemons are killed: its second run must happen once, after the
last child.
What must be is checked; how long it takes is told.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from pathlib import Path

import asyncpg
from tests.bench.figure import Figure, table
from tests.bench.place import ACTIOND, BUILD, Place, Process, prepared, running_server

from actiond.host.private_postgres import PrivatePostgres

PROCESSORS = Path(__file__).with_name("killed_processors.py")
ROWS, CHILDREN, CANCELED = 1_000_000, 100_000, 1_000
WALK_KILLS, FAMILY_KILLS = 10, 5
LONGEST_S = 900
LOOK_S = 0.05

ITEMS = """
create table public.item (id int primary key, amount int not null, visits int not null default 0)
  with (fillfactor = 50);
insert into public.item select n, n % 1000 from generate_series(1, {rows}) n;
create table public.second_run (action_id bigint not null, at timestamptz not null default clock_timestamp());
"""
DONE = """
select status, coalesce((state ->> 'done')::int, 0) as done, result::text as result from actiond.action where id = $1
"""
VISITED = "select count(*) filter (where visits > 0) as rows, sum(visits)::bigint as visits from public.item"
SUM = "select sum(amount)::bigint from public.item"
HOLDER = "select d.pid from actiond.daemon d join actiond.action a on d.id = a.claimed_by where a.id = $1"
ENDED = "select count(*) from actiond.action where parent_id = $1 and status not in ('pending', 'held')"
CANCEL = """
select count(*) from actiond.cancel(array(select id from actiond.action
  where parent_id = $1 and status = 'pending' order by id desc limit $2), 'not wanted')
"""
LAST_CHILD = "select max(finished_at) from actiond.action where parent_id = $1"


class Pair:
    """Two daemons; whoever is killed is replaced."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._daemons = [self._start(), self._start()]
        self.kills = 0

    def _start(self) -> Process:
        command = [*ACTIOND, "run", "--log-format", "json", "--processors", str(PROCESSORS)]
        return Process(command, self._dsn, longest_s=LONGEST_S)

    async def ready(self) -> None:
        for daemon in self._daemons:
            await daemon.says("daemon_ready")

    async def kill(self, pid: int | None) -> None:
        """This one, or any; another one is ready when this returns."""
        killed = next((each for each in self._daemons if each.pid == pid), self._daemons[0])
        killed.process.kill()
        killed.stop()
        self._daemons.remove(killed)
        self._daemons.append(self._start())
        self.kills += 1
        await self._daemons[-1].says("daemon_ready")

    def stop(self) -> None:
        for daemon in self._daemons:
            daemon.stop()


async def walk(place: Place, rows: int, rng: random.Random) -> Figure:
    """A cursor step over all rows."""
    pair = Pair(place.dsn)
    try:
        await pair.ready()
        id_ = await place.connection.fetchval("select actiond.enqueue('killed_walk', '{}')")
        began_s = time.monotonic()
        at = sorted(rng.sample(range(rows // 50, rows - rows // 50), WALK_KILLS))
        while (row := await place.connection.fetchrow(DONE, id_))["status"] == "pending":
            if at and row["done"] >= at[0]:
                at.pop(0)
                await pair.kill(await place.connection.fetchval(HOLDER, id_))
            await asyncio.sleep(LOOK_S)
        took_s = time.monotonic() - began_s
    finally:
        pair.stop()
    visited = await place.connection.fetchrow(VISITED)
    result, total = json.loads(row["result"] or "null"), await place.connection.fetchval(SUM)
    exact = (row["status"], visited["rows"], result) == (
        "completed",
        rows,
        {"sum": total, "walked": rows, "reported": True},
    )
    if not exact or pair.kills != WALK_KILLS:
        raise RuntimeError(f"{row['status']}: {visited}, {result}, {total} is right; {pair.kills} kills")
    repeated = visited["visits"] - rows
    return Figure(
        "killed_walk", took_s, f"{rows:,} rows, {pair.kills} kills, {repeated:,} visited again; the sum is exact"
    )


async def family(place: Place, children: int, rng: random.Random) -> Figure:
    """A parent that waits for all of them."""
    connection, pair = place.connection, Pair(place.dsn)
    try:
        await pair.ready()
        id_ = await connection.fetchval(
            "select actiond.enqueue('killed_parent', $1)", json.dumps({"children": children})
        )
        began_s = time.monotonic()
        at = sorted(rng.sample(range(children // 50, children - children // 10), FAMILY_KILLS))
        canceled = 0
        while await connection.fetchval("select status in ('pending', 'held') from actiond.action where id = $1", id_):
            ended = await connection.fetchval(ENDED, id_)
            if at and ended >= at[0]:
                at.pop(0)
                await pair.kill(None)
                canceled += await connection.fetchval(CANCEL, id_, CANCELED // FAMILY_KILLS)
            await asyncio.sleep(LOOK_S)
        took_s = time.monotonic() - began_s
    finally:
        pair.stop()
    runs = await connection.fetch("select at from public.second_run where action_id = $1", id_)
    last = await connection.fetchval(LAST_CHILD, id_)
    result = json.loads(await connection.fetchval("select result::text from actiond.action where id = $1", id_))
    if len(runs) != 1 or runs[0]["at"] < last or result != {"children": children, "open": 0}:
        raise RuntimeError(f"{len(runs)} second runs, the last child ended at {last}, {result}")
    said = f"{children:,} children, {canceled:,} canceled, {pair.kills} kills; one second run, after the last child"
    return Figure("killed_family", took_s, said)


async def measure(server: PrivatePostgres, options: argparse.Namespace) -> list[Figure]:
    rng = random.Random(options.seed)
    async with asyncio.timeout(LONGEST_S), prepared(server) as place:
        await place.connection.execute(ITEMS.format(rows=options.rows), timeout=120)
        await place.connection.execute("vacuum (analyze) public.item", timeout=60)
        figures = []
        for measured, many in ((walk, options.rows), (family, options.children)):
            figures.append(await measured(place, many, rng))
            print("  ".join(cell for cell in figures[-1].cells() if cell), flush=True)
        return figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.killed", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--children", type=int, default=CHILDREN)
    parser.add_argument("--seed", type=int, default=1)
    try:
        with running_server() as server:
            figures = asyncio.run(measure(server, parser.parse_args()))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except (RuntimeError, asyncpg.PostgresError) as wrong:
        print(f"FAIL: {wrong}", file=sys.stderr)
        return 1
    (BUILD / "bench-kills.json").write_text(
        json.dumps({"figures": [each.as_json() for each in figures]}, indent=1) + "\n"
    )
    print(f"\n{table(figures)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
