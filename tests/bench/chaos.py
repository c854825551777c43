"""`make bench-chaos`: the scenarios that job queues are compared by, and some more, each on real daemons; a score.

In each of them two daemons (or one, where it says so) work off what a producer inserts at a steady rate; then comes
the fault. The scenario is passed if every acknowledged row was completed exactly once (and none that nobody asked for),
no invariant is broken, daemons end well, throughput came back, and the time that it measures is within its target.

All together take under eight minutes, with ten stops by SIGTERM; `--only sigterm --stops 200` is all of these. The
results are in build/bench-chaos.json. A full disk, a standby, a flood of notifications: see tests/faults.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import asyncpg
from tests.bench import chaos_daemons, chaos_database, chaos_network
from tests.bench.chaos_ledger import Measure, Result, longest_s, moments_s, recovered_s, result, values_s, watched_s
from tests.bench.chaos_stage import Stage
from tests.bench.figure import Figure, table
from tests.bench.place import BUILD, running_server

from actiond.host.private_postgres import PrivatePostgres
from actiond.postgres.migrate import migrate

STOPS = 10
LONGEST_S, STOP_S = 240.0, 10.0  # of one scenario, and more for each stop
JSON = BUILD / "bench-chaos.json"


def _possible() -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Scenario:
    """`play` does it, `measure` says how long what took, `missing` why it cannot be played here."""

    play: Callable[[Stage], Awaitable[None]]
    measure: Measure
    missing: Callable[[], str | None] = _possible


def scenarios(stops: int) -> dict[str, Scenario]:
    """By name, in order."""
    return {
        "idle_in_tx": Scenario(chaos_database.idle_in_tx, longest_s),
        "active_readers": Scenario(chaos_database.active_readers, longest_s),
        "sustained_high_load": Scenario(chaos_daemons.sustained_high_load, recovered_s),
        "event_burst": Scenario(chaos_daemons.event_burst, recovered_s),
        "crash_recovery": Scenario(chaos_daemons.crash_recovery, watched_s),
        "repeated_kills": Scenario(chaos_daemons.repeated_kills, watched_s),
        "pg_backend_kill": Scenario(chaos_database.pg_backend_kill, recovered_s),
        "postgres_restart": Scenario(chaos_database.postgres_restart, moments_s),
        "pool_exhaustion": Scenario(chaos_database.pool_exhaustion, recovered_s),
        "pooler": Scenario(chaos_database.pooler, recovered_s, chaos_database.pooler_missing),
        "half_open": Scenario(chaos_network.half_open, values_s),
        "cut_off": Scenario(chaos_network.cut_off, watched_s),
        "frozen": Scenario(chaos_daemons.frozen, watched_s),
        "clock_skew": Scenario(chaos_network.clock_skew, longest_s, chaos_network.compiler_missing),
        "blocked_loop": Scenario(chaos_daemons.blocked_loop, recovered_s),
        "sigterm": Scenario(partial(chaos_daemons.sigterm, stops=stops), values_s),
    }


async def played(name: str, scenario: Scenario, server: PrivatePostgres, longest_s: float) -> Result:
    """In a database of its own."""
    await _execute(server, f'create database "chaos_{name}"')
    stage = Stage(server, server.dsn(f"chaos_{name}"))
    try:
        await migrate(stage.dsn)
        try:
            async with asyncio.timeout(longest_s):
                await scenario.play(stage)
        except (TimeoutError, RuntimeError, OSError, asyncpg.PostgresError) as problem:
            stage.complaints.append(f"{type(problem).__name__}: {problem}"[:2000])
        return await result(name, stage, scenario.measure)
    finally:
        await asyncio.to_thread(stage.clear)
        await _execute(server, f'drop database "chaos_{name}" with (force)')  # after a crash every file there is synced


async def _execute(server: PrivatePostgres, command: str) -> None:
    admin = await asyncpg.connect(server.dsn("postgres"))
    try:
        await admin.execute(command)
    finally:
        await admin.close()


async def _all(
    chosen: dict[str, Scenario], server: PrivatePostgres, longest_s: float, tell: Callable[[str], None]
) -> list[Result]:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    results = []
    for name, scenario in chosen.items():
        if missing := scenario.missing():
            tell(f"{name}: left out, {missing}")
            continue
        results.append(await played(name, scenario, server, longest_s))
        tell(_line(results[-1]))
        for complaint in results[-1].complaints:
            tell(f"    {complaint}")
    return results


def _line(played: Result) -> str:
    before, during, after = played.rates
    rates = f"{before:.0f}, {during:.0f}, {after:.0f} rows/s"
    verdict = "PASS" if played.passed else "FAIL"
    value = f"{played.figure.value:.2f} s ({played.figure.target})"
    again = f"{played.repeated:,} run again"
    return f"{verdict}  {played.name:19}  {value:17}  {played.rows:,} rows, {again}; {rates}; {played.figure.detail}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.chaos", description=__doc__)
    names = list(scenarios(STOPS))
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"one of {', '.join(names)}")
    parser.add_argument("--stops", type=int, default=STOPS, help="stops by SIGTERM (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="the results as JSON; what happens goes to stderr")
    options = parser.parse_args()
    if options.stops < 1:
        parser.error("--stops must be at least 1")
    chosen = {n: each for n, each in scenarios(options.stops).items() if not options.only or n in options.only}
    began_s, out = time.monotonic(), sys.stderr if options.json else sys.stdout

    def tell(line: str) -> None:
        print(f"{time.monotonic() - began_s:6.1f} s  {line}", file=out, flush=True)

    try:
        with running_server() as server:
            results = asyncio.run(_all(chosen, server, LONGEST_S + STOP_S * options.stops, tell))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("stopped", file=sys.stderr)
        return 130
    if not results:
        print("nothing could be played here", file=sys.stderr)
        return 1
    return _told(results, len(chosen) - len(results), time.monotonic() - began_s, as_json=options.json)


def _told(results: list[Result], left_out: int, took_s: float, *, as_json: bool) -> int:
    """The table or the JSON, and the file; 1 if something failed."""
    passed = sum(each.passed for each in results)
    said = f"{passed} of {len(results)} passed{f', {left_out} left out' if left_out else ''}"
    score = Figure("chaos_score", 100 * passed / len(results), said)
    load = round(os.getloadavg()[2], 1)
    text = json.dumps(
        {
            "took_s": round(took_s, 1),
            "load": load,
            "score": score.as_json(),
            "scenarios": [each.as_json() for each in results],
        },
        indent=1,
    )
    JSON.write_text(text + "\n")
    if as_json:
        print(text)
    else:
        print(f"\n{table([*(each.figure for each in results), score])}")
        print(f"\n{took_s:.0f} s, load of the machine {load}; written to {JSON}")
    return 0 if passed == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
