"""The server and the way to it: what a daemon asks of its pool and of its presence session, and what can go wrong.

A question travels, is answered at one instant, and the answer travels back. On the way it may be lost, before the
statement was applied, after it, or while it is still on its way and will be applied after all; or it is slow, or
refused for now. Locks belong to sessions and end with them; notifications come in order, some late, some never.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import asyncpg

from actiond.postgres.connection import COMMAND_S
from actiond.postgres.presence import WAKE, WITHDRAWN
from actiond.rules.pace import LEVELS
from simulation.loop import VirtualLoop
from simulation.rows import Record
from simulation.store import Store

if TYPE_CHECKING:
    from simulation.clients import Session

EPOCH_US = 1_800_000_000_000_000
STALE_S = 12.0  # at most, until the server notices that a client is gone whose end it was not told


@dataclass
class Weather:
    """Shares of questions and notifications that something happens to."""

    lost: float = 0.0
    slow: float = 0.0
    busy: float = 0.0
    late: float = 0.0  # notifications
    deaf: float = 0.0  # notifications that never arrive


@dataclass
class Peer:
    """Of actiond.daemon."""

    seen: int
    lease_until: int
    ended: str | None = None


class Names:
    """Statements by name, as sql/ would have their texts."""

    def __getitem__(self, name: str) -> str:
        return name


class Server:
    """Its clock is the loop's, from EPOCH_US on."""

    def __init__(self, loop: VirtualLoop, chance: random.Random, note: Callable[..., None]) -> None:
        self.store = Store(lambda: EPOCH_US + round(loop.now_s * 1e6))
        self.loop, self.chance, self.note = loop, chance, note
        self.weather = Weather()
        self.up = True
        self.life = 0  # one more at each restart
        self.peers: dict[int, Peer] = {}
        self.sessions: list[Session] = []
        self.alive: dict[int, Session] = {}  # liveness locks
        self.sentinels: dict[str, Session] = {}
        self.bells: dict[str, Session] = {}
        self.inserting: Counter[str] = Counter()  # who holds a bell shared, until the commit
        self._outside = Context()  # of no process

    def later(self, delay_s: float, do: Callable[..., Any], *arguments: Any) -> asyncio.TimerHandle:
        return self.loop.call_later(delay_s, do, *arguments, context=self._outside)

    def latency_s(self) -> float:
        return self.chance.uniform(0.0002, 0.002)

    async def ask(self, question: Callable[[], Any], within_s: float, reached: Callable[[], bool]) -> Any:
        """The answer, or what asyncpg raises."""
        weather, fate, life = self.weather, self.chance.random(), self.life
        answer = self.loop.create_future()
        there_s = self.latency_s()
        if self.chance.random() < weather.slow:
            there_s += self.chance.uniform(0.1, 1.3 * COMMAND_S)

        def give(result: Any) -> None:
            if not answer.done() and reached():
                away = self.life != life or (weather.lost / 2 < fate < weather.lost)
                if away or isinstance(result, BaseException):
                    answer.set_exception(lost() if away else result)
                else:
                    answer.set_result(result)

        def arrive() -> None:
            result: Any = lost()
            if self.up and self.life == life and reached():
                try:
                    result = _busy() if fate > 1 - weather.busy else question()
                except asyncpg.PostgresError as refused:
                    result = refused
            self.later(self.latency_s(), give, result)

        sent = self.later(there_s, arrive)
        if fate < weather.lost / 2:  # it does not arrive, or arrives although nobody believes it
            if self.chance.random() < 0.5:
                sent.cancel()
            self.later(self.chance.uniform(0.0, 2 * there_s), lambda: answer.done() or answer.set_exception(lost()))
        try:
            async with asyncio.timeout(within_s):
                return await answer
        except BaseException:
            if self.chance.random() < 0.5:
                sent.cancel()
            raise

    def restart(self, away_s: float) -> None:
        """Every session ends; nobody is let in for so long."""
        self.up, self.life = False, self.life + 1
        for session in list(self.sessions):
            self.drop(session)
        self.later(away_s, setattr, self, "up", True)

    def drop(self, session: Session) -> None:
        """A session ends, and with it its locks."""
        if session in self.sessions:
            self.sessions.remove(session)
            for locks in (self.alive, self.sentinels, self.bells):
                for key in [key for key, holder in locks.items() if holder is session]:
                    del locks[key]
        session.over()

    def notify(self, channel: str, payload: str, by: Session | None = None) -> None:
        for session in self.sessions:
            if channel not in session.listeners or self.chance.random() < self.weather.deaf:
                continue
            late_s = self.chance.uniform(0.0, 3.0) if self.chance.random() < self.weather.late else 0.0
            session.heard_s = max(session.heard_s, self.loop.now_s + self.latency_s() + late_s)
            for _ in range(1 + (self.chance.random() < self.weather.late)):  # or twice
                self.later(session.heard_s - self.loop.now_s, session.hear, by, channel, payload)

    # what people do

    def insert(self, rows: Sequence[tuple[str, dict[str, Any]]], commit_in_s: float) -> None:
        """One transaction: the bells are asked now, the rows are there and the notifications sent at the commit."""
        at, names = self.store.now(), sorted({name for name, _ in rows})
        rung = [name for name in names if name in self.bells]
        quiet = [name for name in names if name not in self.bells]
        self.inserting.update(quiet)

        def commit() -> None:
            ids = [self.store.insert(name, columns.pop("due", at), **columns).id for name, columns in rows]
            self.inserting.subtract(quiet)
            self.note("producer", "committed", ids=ids, rung=rung)
            for name in rung:
                self.notify(WAKE, name)

        self.later(commit_in_s, commit)

    def act(self, verb: str, ids: Sequence[int]) -> None:
        for before, after in self.store.act(verb, ids):
            if before.claimed_by and not after.claimed_by:
                self.notify(WITHDRAWN, f"{before.claimed_by} {before.run_id} {before.id}")
            if after.waits and (after.processor in self.bells or verb == "run_now"):
                self.notify(WAKE, after.processor)

    # statements about daemons and bells; those that need a session take it first

    def register_daemon(self, session: Session, *about: Any) -> list[Record]:
        me, now = len(self.peers) + 1, self.store.now()
        self.peers[me] = Peer(now, now + round(about[4] * 1e6))
        self.alive[me] = session
        return [Record(id=me, locked=True)]

    def take_daemon_lock(self, session: Session, daemon: int) -> list[Record]:
        return [Record(locked=self.alive.setdefault(daemon, session) is session)]

    def beat(self, session: Session, daemon: int, lease_s: float, silence_s: float, watching_s: float) -> list[Record]:
        now, me = self.store.now(), self.peers.get(daemon)
        alive = me is not None and me.ended is None
        if alive:
            me.seen, me.lease_until = now, now + round(lease_s * 1e6)
        dead = [
            each
            for each, peer in self.peers.items()
            if peer.ended is None and each != daemon and watching_s >= silence_s
            if peer.lease_until < now or (peer.seen < now - silence_s * 1e6 and each not in self.alive)
        ]
        return [Record(alive=alive, dead=dead)]

    def doorbell_take(self, session: Session, name: str, have: bool) -> list[Record]:
        got = have or self.sentinels.setdefault(name, session) is session
        if got and name not in self.bells and not self.inserting[name]:
            self.bells[name] = session
        return [Record(sentinel=got, bell=self.bells.get(name) is session)]

    def doorbell_leave(self, session: Session, name: str, had_bell: bool) -> list[Record]:
        if had_bell and self.bells.get(name) is session:
            del self.bells[name]
        if self.sentinels.get(name) is session:
            del self.sentinels[name]
        self.notify(WAKE, name, session)
        return [Record(done=True)]

    def ring(self, session: Session | None, names: Sequence[str]) -> list[Record]:
        self.notify(WAKE, ",".join(names), session)
        return []

    def end_daemon(self, session: None, daemon: int, how: str) -> list[Record]:
        peer = self.peers.get(daemon)
        if peer is None or peer.ended is not None or self.store.open_runs(daemon, 1):
            return []
        peer.ended = how
        return [Record(id=daemon)]

    def left_behind(self, session: None) -> list[Record]:
        living = {daemon for daemon, peer in self.peers.items() if peer.ended is None}
        lost = {run.daemon for run in self.store.runs.values() if not run.finished} - living
        return [Record(daemon=daemon) for daemon in sorted(lost)]

    def serve(self, *_: Any) -> list[Record]:
        return []

    def poll(self, session: None) -> list[Record]:
        now, rows = self.store.now(), self.store.rows.values()
        due = {
            name: [r for r in rows if r.processor == name and r.waits and r.due <= now] for name in ("each", "batch")
        }
        no = {"uses": None, "woken_at": None, "breaker_left_s": None, "config": None, "settings": "{}"}
        no |= {"now": datetime.fromtimestamp(now / 1e6, UTC), "queue": 0.0}
        answer = []
        for name, those in due.items():
            levels = [[(r.due, r.id) for r in those if r.priority == level] for level in LEVELS]
            firsts = [min(each, default=(None, None)) for each in levels]
            times = [at and datetime.fromtimestamp(at / 1e6, UTC) for at, _ in firsts]
            answer.append(Record(name=name, due_times=times, due_ids=[id_ for _, id_ in firsts], **no))
        return answer

    def waiting_names(self, session: None) -> list[Record]:
        return [Record(name=name) for name in sorted({row.processor for row in self.store.rows.values() if row.waits})]

    def run(self, session: Session | None, name: str, arguments: tuple[Any, ...]) -> list[Record]:
        of_rows = getattr(self.store, name, None)
        return of_rows(*arguments) if of_rows else getattr(self, name)(session, *arguments)


def lost() -> Exception:
    """What asyncpg says of a connection that went away."""
    return asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")


def _busy() -> Exception:
    return asyncpg.LockNotAvailableError("canceling statement due to lock timeout")
