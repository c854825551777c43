"""Which figures, in which order; the table and build/bench.json.

The whole takes under four minutes: when time is short, later rounds of the drains are left out. Exit code 0
says that every figure was measured, not that each met its target.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import sys
import time

from tests.bench import drain, inserts, latency, rest
from tests.bench.figure import Figure, table
from tests.bench.place import BUILD, LONGEST_S, Place, prepared, running_server

from actiond.host.private_postgres import PrivatePostgres

ROWS = 200_000
BUDGET_S = 225.0  # no round of drains begins that would end after this
JSON = BUILD / "bench.json"
GROUPS = ("idle", "latency", "inserts", "memory", "drain")


class Bench:
    """One run: what was measured so far, and since when."""

    def __init__(self, rows: int) -> None:
        self.figures: list[Figure] = []
        self.machine: dict[str, object] = {"rows": rows}
        self._rows = rows
        self._began_s = time.monotonic()

    @property
    def left_s(self) -> float:
        return self._began_s + BUDGET_S - time.monotonic()

    def tell(self, line: str) -> None:
        print(f"{time.monotonic() - self._began_s:6.1f} s  {line}", flush=True)

    async def run(self, place: Place, groups: tuple[str, ...]) -> None:
        version = place.connection.get_server_version()
        self.machine |= {
            "cores": os.cpu_count(),
            "postgres": f"{version.major}.{version.minor}",
            "python": platform.python_version(),
            "commit_ms": round(await place.commit_ms(), 2),
        }
        self.tell("  ".join(f"{name} {value}" for name, value in self.machine.items()))
        for group in groups:
            for figure in await self._measure(group, place):
                self.figures.append(figure)
                self.tell("  ".join(cell for cell in figure.cells() if cell))

    async def _measure(self, group: str, place: Place) -> list[Figure]:
        match group:
            case "idle":
                return await rest.idle(place)
            case "latency":
                return await latency.measure(place)
            case "inserts":
                return await inserts.measure(place, self.tell)
            case "memory":
                return await rest.memory(place)
            case _:
                return await drain.measure(place, self._rows, lambda: self.left_s, self.tell)

    def write(self) -> None:
        """The file, whole or not at all."""
        machine = self.machine | {"took_s": round(time.monotonic() - self._began_s, 1)}
        fresh = JSON.with_suffix(".new")
        fresh.write_text(
            json.dumps({"machine": machine, "figures": [each.as_json() for each in self.figures]}, indent=1) + "\n"
        )
        fresh.replace(JSON)


async def _within_bounds(bench: Bench, server: PrivatePostgres, groups: tuple[str, ...]) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with asyncio.timeout(LONGEST_S), prepared(server) as place:
        await bench.run(place, groups)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=GROUPS, help="measure this group of figures (repeatable)")
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of a drain (default: %(default)s)")
    options = parser.parse_args()
    groups = tuple(group for group in GROUPS if not options.only or group in options.only)
    bench = Bench(options.rows)
    try:
        with running_server() as server:
            asyncio.run(_within_bounds(bench, server, groups))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("stopped; build/bench.json is as it was", file=sys.stderr)
        return 130
    bench.write()
    print(f"\n{table(bench.figures)}\n\nwritten to {JSON}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
