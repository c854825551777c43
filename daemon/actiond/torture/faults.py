"""What goes wrong, drawn from a seed.

A fault on an idle daemon proves nothing: the daemon is stopped first, looked at, and killed only if it holds
rows; otherwise it goes on and the fault is tried again. Frozen daemons come in two kinds, by turns. A zombie
loses its liveness session and is overtaken, but wakes up before its own clock tells it that its lease is over:
only the fence stops what it says. A sleeper wakes up past its lease and must notice that by itself. Both are left
alone until they have said what they had to say.
"""

from __future__ import annotations

import random
import signal
import subprocess
from dataclasses import dataclass
from typing import Any

import anyio

from actiond.postgres import verbs
from actiond.postgres.connection import Connection
from actiond.postgres.statements import Statements
from actiond.torture.stage import LEASE_S, Stage
from actiond.words.errors import OperatorError
from actiond.words.status import Verb

_TRIES = 40  # to find a daemon with work
_ZOMBIE_S = 4.3  # silence, the beat that notices, the rescue; less than the lease and its margin
_SLEEPER_S = LEASE_S + 3.0  # lease, the beat that notices, the rescue
_RECENT = "2 s"  # what a bulk verb is about: failures of the last moments
_sql = Statements()


@dataclass(slots=True)
class Tally:
    """What happened."""

    kills: int = 0
    kills_in_flight: int = 0
    freezes: int = 0
    freezes_in_flight: int = 0
    pg_kills: int = 0
    cuts: int = 0
    by_hand: int = 0
    bulk_verbs: int = 0
    rows_in_flight: int = 0  # at kills, freezes and kills of Postgres: what may have run more than once

    @property
    def faults(self) -> int:
        """Done so far."""
        return self.kills + self.freezes + self.pg_kills


class Faults:
    """Does what the schedule says, one after the other."""

    def __init__(self, stage: Stage, rng: random.Random, tally: Tally) -> None:
        self._stage = stage
        self._rng = rng
        self._tally = tally
        self._frozen: set[int] = set()

    def schedule(self, kills: int, freezes: int, pg_kills: int) -> list[str]:
        """The names of all faults, in random order; small ones (cuts, operators) in between."""
        names = ["kill"] * kills + ["freeze"] * freezes + ["kill_postgres"] * pg_kills
        self._rng.shuffle(names)
        return [step for name in names for step in (name, self._rng.choice(["cut", "by_hand", "by_hand", "bulk"]))]

    async def do(self, name: str, tasks: anyio.abc.TaskGroup) -> None:
        """One fault."""
        if name == "kill":
            await self._kill()
        elif name == "freeze":
            await self._freeze(tasks)
        elif name == "kill_postgres":
            await self._kill_postgres()
        else:
            await self._gently(name)

    async def _kill(self) -> None:
        daemon, held = await self._stopped_with_work()
        daemon.kill()
        daemon.wait()
        self._tally.kills += 1
        self._tally.kills_in_flight += held > 0
        self._tally.rows_in_flight += held
        self._stage.replace(daemon)

    async def _freeze(self, tasks: anyio.abc.TaskGroup) -> None:
        daemon, held = await self._stopped_with_work()
        self._tally.freezes += 1
        self._tally.freezes_in_flight += held > 0
        self._tally.rows_in_flight += held
        self._frozen.add(daemon.pid)
        zombie = self._tally.freezes % 2 == 1
        if zombie:
            await self._execute("torture_cut_presence", daemon.pid)
        tasks.start_soon(self._thaw, daemon, _ZOMBIE_S if zombie else _SLEEPER_S)

    async def _thaw(self, daemon: subprocess.Popen[bytes], after_s: float) -> None:
        await anyio.sleep(after_s)
        daemon.send_signal(signal.SIGCONT)
        await anyio.sleep(3.0)  # its late outcomes
        self._frozen.discard(daemon.pid)

    async def _kill_postgres(self) -> None:
        await self._stage.prove_ours()
        self._tally.rows_in_flight += await self._in_flight_of_all()
        self._stage.server.kill()
        await anyio.to_thread.run_sync(self._stage.server.start)
        self._tally.pg_kills += 1

    async def _gently(self, name: str) -> None:
        """Cut connections, or act as an operator; if the server is away just now, so be it."""
        try:
            connection = await self._stage.connect()
        except Exception:  # the boundary of a connection, which is cut on purpose
            return
        try:
            if name == "cut":
                whose = self._rng.choice(["actiond work", "actiond presence"])
                await connection.execute(_sql["torture_cut"], whose)
                self._tally.cuts += 1
            elif name == "bulk":
                filter_ = {"status": ["failed"], "finished_since": _RECENT}
                await verbs.start(connection, Verb.RETRY, filter_, "torture", held=False)
                self._tally.bulk_verbs += 1
            else:
                await self._by_hand(connection)
        finally:
            connection.terminate()

    async def _by_hand(self, connection: Connection) -> None:
        few, offset = self._rng.randint(1, 8), self._rng.randint(0, 60)
        for before, after in (
            (["pending"], self._rng.choice(["canceled", "held"])),
            (["held"], "pending"),
            (["failed", "canceled"], "pending"),
        ):
            rows = await connection.fetch(_sql["torture_operator"], before, after, few, offset)
            self._tally.by_hand += len(rows)

    async def _stopped_with_work(self) -> tuple[subprocess.Popen[bytes], int]:
        """A daemon, stopped while it held rows; after many tries, one that does not."""
        attempt = 0
        while attempt < _TRIES:
            awake = [d for d in self._stage.daemons if d.pid not in self._frozen]
            if any(d.poll() is not None for d in awake):
                raise OperatorError("a daemon ended by itself; its log says why")
            if len(awake) > 1:  # somebody must be left to rescue
                attempt += 1
                daemon = self._rng.choice(awake)
                daemon.send_signal(signal.SIGSTOP)
                held = await self._in_flight(daemon.pid)
                if held or attempt == _TRIES:
                    return daemon, held
                daemon.send_signal(signal.SIGCONT)
            await anyio.sleep(0.1)
        raise AssertionError("unreachable: the last try takes any daemon")

    async def _in_flight(self, pid: int) -> int:
        return await self._execute("torture_in_flight", pid) or 0

    async def _execute(self, statement: str, *arguments: object) -> Any:
        """Its value; None if the server is away just now."""
        try:
            connection = await self._stage.connect()
            value = await connection.fetchval(_sql[statement], *arguments)
            connection.terminate()
        except Exception:  # the boundary of a connection, which is cut on purpose
            return None
        return value

    async def _in_flight_of_all(self) -> int:
        return sum([await self._in_flight(daemon.pid) for daemon in self._stage.daemons])
