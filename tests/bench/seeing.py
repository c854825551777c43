"""Does seeing cost little? Every view and every command with 5,000,000 finished and 200,000 waiting rows.

`make bench-views` makes the rows on a private, durable Postgres (a minute or two), folds the runs as a daemon would,
then asks everything: views and functions on an open connection, at most 100 ms; commands as a person starts them,
Python and all, at most a second. Each is the median of five (commands: three) after one that is not counted, and no
daemon runs meanwhile. Beside others on the machine commands take longer: command_help is what starting Python costs
there and then, without a database, and the detail says what CPU a command used. Writes build/bench-views.json; exit
code 1 if a figure missed its target.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

import asyncpg
from tests.bench.figure import Figure, table
from tests.bench.many_rows import FINISHED, WAITING, fold, make
from tests.bench.place import ACTIOND, BUILD, running_server

from actiond.host.private_postgres import PrivatePostgres
from actiond.postgres.migrate import migrate

LONGEST_S = 900
JSON = BUILD / "bench-views.json"
_A_COMMAND_S = 60
FOUND = (1, 2)  # exit codes of the doctor: nobody serves these processors, and the running rows are nobody's

VIEWS = {
    "view_action_list": "select * from actiond.action_list order by id desc limit 100",
    "view_recent_actions": "select * from actiond.recent_actions limit 100",
    "view_pending_actions": "select * from actiond.pending_actions limit 100",
    "view_running_actions": "select * from actiond.running_actions",
    "view_failed_actions": "select * from actiond.failed_actions limit 100",
    "view_held_actions": "select * from actiond.held_actions limit 100",
    "view_related": "select * from actiond.related('order 77')",
    "view_orphans": "select * from actiond.orphans",
    "view_recent_failures": "select * from actiond.recent_failures()",
    "view_stuck": "select * from actiond.stuck()",
    "view_stats_processor": "select * from actiond.stats_processor",
    "view_stats_errors": "select * from actiond.stats_errors",
    "view_stats_retries": "select * from actiond.stats_retries",
    "view_throughput": "select * from actiond.throughput",
}
COMMANDS = {
    "command_help": "--help",  # no database: what starting Python costs here and now
    "command_status": "status",
    "command_top_once": "top --once",
    "command_ls": "ls",
    "command_ls_failed": "ls --status failed",
    "command_ls_held": "ls --status held",
    "command_ls_running": "ls --status running",
    "command_ls_rare": "ls --processor rare",
    "command_ls_since": "ls --since 30s",
    "command_ls_error": "ls --error nowhere",
    "command_failures": "failures",
    "command_failures_error": "failures --error declined --since 30d",
    "command_errors": "errors",
    "command_stuck": "stuck",
    "command_stats": "stats",
    "command_stats_hours": "stats --hours --since 7d",
    "command_stats_retries": "stats --retries",
    "command_history": "history",
    "command_history_one": "history 77",
    "command_show": "show 77",
    "command_explain": "explain {due}",
    "command_explain_later": "explain {later}",
    "command_doctor": "doctor",
}


async def _views(connection: asyncpg.Connection, tell: Callable[[Figure], None]) -> None:
    for name, query in VIEWS.items():
        took_ms, rows = [], 0
        for _ in range(6):
            began_s = time.monotonic()
            rows = len(await connection.fetch(query, timeout=60))
            took_ms.append(1000 * (time.monotonic() - began_s))
        tell(Figure(name, median(took_ms[1:]), f"{rows} rows"))


def _commands(dsn: str, finished: int, tell: Callable[[Figure], None]) -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ACTIOND_", "PG"))}

    environment = {**inherited, "ACTIOND_DSN": dsn, "COLUMNS": "200"}
    for name, template in COMMANDS.items():
        words = template.format(due=finished + 5, later=finished + 4)
        took_ms, cpu_s, lines = [], _cpu_s(), 0
        for _ in range(4):
            began_s = time.monotonic()
            done = subprocess.run(
                [*ACTIOND, *words.split()], env=environment, capture_output=True, check=False, timeout=_A_COMMAND_S
            )
            if done.returncode not in (0, *FOUND):
                raise RuntimeError(f"actiond {words} ended with {done.returncode}: {done.stderr.decode()[-2000:]}")
            took_ms.append(1000 * (time.monotonic() - began_s))
            lines = len(done.stdout.splitlines())
        detail = f"actiond {words}: {lines} lines, {250 * (_cpu_s() - cpu_s):.0f} ms of CPU"
        tell(Figure(name, median(took_ms[1:]), detail))


def _cpu_s() -> float:
    """Of all commands so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Bench:
    """One run."""

    def __init__(self, finished: int, waiting: int) -> None:
        self.figures: list[Figure] = []
        self._finished, self._waiting = finished, waiting
        self._began_s = time.monotonic()
        self._machine: dict[str, object] = {
            "finished": finished,
            "waiting": waiting,
            "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1),
        }

    def say(self, line: str) -> None:
        print(f"{time.monotonic() - self._began_s:6.1f} s  {line}", flush=True)

    def tell(self, figure: Figure) -> None:
        self.figures.append(figure)
        self.say("  ".join(cell for cell in figure.cells() if cell))

    async def prepared(self, server: PrivatePostgres) -> str:
        admin = await asyncpg.connect(server.dsn("postgres"))
        await admin.execute("create database bench")
        await admin.close()
        dsn = server.dsn("bench")
        await migrate(dsn)
        connection = await asyncpg.connect(dsn)
        version = connection.get_server_version()
        self._machine |= {"postgres": f"{version.major}.{version.minor}", "python": platform.python_version()}
        self.say("  ".join(f"{name} {value}" for name, value in self._machine.items()))
        await make(connection, self._finished, self._waiting)
        self.say("the rows are there")
        began_s = time.monotonic()
        folded = await fold(connection)
        for command in ("vacuum (analyze) actiond.run_hour", "checkpoint"):
            await connection.execute(command, timeout=60)
        self.tell(Figure("folding", folded / (time.monotonic() - began_s), f"{folded:,} runs"))
        await _views(connection, self.tell)
        await connection.close()
        return dsn

    def write(self) -> None:
        machine = self._machine | {"took_s": round(time.monotonic() - self._began_s, 1)}
        JSON.write_text(
            json.dumps({"machine": machine, "figures": [each.as_json() for each in self.figures]}, indent=1) + "\n"
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.seeing", description=__doc__)
    parser.add_argument("--finished", type=int, default=FINISHED, help="finished rows (default: %(default)s)")
    parser.add_argument("--waiting", type=int, default=WAITING, help="waiting rows (default: %(default)s)")
    options = parser.parse_args()
    bench = Bench(options.finished, options.waiting)
    try:
        with running_server() as server:
            dsn = asyncio.run(asyncio.wait_for(bench.prepared(server), LONGEST_S))
            _commands(dsn, options.finished, bench.tell)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    bench.write()
    print(f"\n{table(bench.figures)}\n\nwritten to {JSON}")
    return 0 if all(figure.passed is not False for figure in bench.figures) else 1


if __name__ == "__main__":
    sys.exit(main())
