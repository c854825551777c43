"""One session that says: this daemon is here, and listens.

It holds the liveness lock, beats every second, LISTENs, and holds the doorbell locks of processors that
sleep. (Behind a pooler without sessions it only beats: see way.py.) It never opens a transaction, or it would
hold back vacuum and the notification queue of everybody. When the session is lost so are all its locks: what it
held is forgotten with the Session object, the next one takes the liveness lock again, LISTENs, and tells
everyone to look (notifications were missed).

The beat runs on this very session, so a dead listener is found by its own heartbeat.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import asyncpg

from actiond.postgres.connection import Connection, connect, in_words, queue_is_full
from actiond.postgres.statements import Statements

BEAT_S = 1.0
BEAT_TIMEOUT_S = 5.0  # a server that answers later than this counts as gone
SILENCE_S = 2.5  # not seen for this long, and the lock free: dead
LEASE_MARGIN = 1 / 6  # of the lease: a daemon gives up this long before others may take its rows
RECONNECT_S = (0.05, 1.0)  # back-off, first and longest: shorter than SILENCE_S, so that a restart kills nobody

WAKE, POLICY, WITHDRAWN = "actiond_wake", "actiond_policy", "actiond_withdrawn"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a daemon tells about itself."""

    host: str
    pid: int
    version: str
    processors: list[str]
    lease_s: float  # frozen or cut off for this long: dead
    pooled: bool = False  # presence itself goes through a pooler
    locks: bool = True  # its session is its own, so it can hold the liveness lock


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What presence tells; each is called in the thread of presence and must return at once."""

    heard: Callable[[str, str], None]  # channel, payload
    registered: Callable[[int], None]  # new daemon id
    beaten: Callable[[list[int]], None]  # renewed; ids of dead peers
    declared_dead: Callable[[int], None]  # the daemon id that is no longer ours
    session: Callable[[bool, str], None]  # up or down, why


#: How a session is opened; see connection.connect. Raises what asyncpg raises.
Connect = Callable[..., Awaitable[Connection]]


class Session:
    """One connection and what it holds. Gone with it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.since_s = time.monotonic()
        self.locked = False  # the liveness lock
        self.sentinels: set[str] = set()
        self.bells: set[str] = set()
        self.ended = asyncio.Event()

    def check(self) -> None:
        """Raises ConnectionError if it has ended: whoever waited for a turn on it would wait for a second silence."""
        if self.ended.is_set():
            raise ConnectionError("the session has ended")


class Presence:
    """Runs in an event loop of its own; `take` and `leave` are called from other tasks of that loop."""

    def __init__(
        self,
        dsn: str,
        identity: Identity,
        callbacks: Callbacks,
        statements: Statements,
        listen: bool = True,
        connect: Connect = connect,
    ) -> None:
        self._dsn = dsn
        self._connect = connect
        self._identity = identity
        self._tell = callbacks
        self._sql = statements
        self._listen = listen
        self._daemon = 0
        self._session: Session | None = None
        self._ending = False
        self._owed: set[str] = set()  # peers counted on this daemon to ring for these when its session was lost
        self._turn = asyncio.Lock()  # one statement at a time on a connection

    async def run(self) -> None:
        """Until cancelled: connect, beat, and again."""
        pause_s = RECONNECT_S[0]
        while not self._ending:
            try:
                await self._live()
            except Exception as error:  # the boundary of a connection: whatever it was, connect again
                if not self._ending:
                    self._down(in_words(error))
            pause_s = RECONNECT_S[0] if self._was_up() else min(pause_s * 2, RECONNECT_S[1])
            await asyncio.sleep(pause_s * random.uniform(0.75, 1.0))  # noqa: S311 - jitter

    def _was_up(self) -> bool:
        session, self._session = self._session, None
        if session is not None:
            self._owed |= session.sentinels
        return session is not None

    def _down(self, why: str) -> None:
        if self._session is not None:
            self._session.connection.terminate()
        self._tell.session(False, why)

    async def _live(self) -> None:
        """One session, from connect to its end (always an exception)."""
        connection = await self._connect(self._dsn, name="actiond presence", pooled=self._identity.pooled, writes=True)
        try:
            session = Session(connection)
            connection.add_termination_listener(self._terminated)
            if self._listen:
                for channel in (WAKE, POLICY, WITHDRAWN):
                    await connection.add_listener(channel, self._heard)
            await self._identify(session)
            if self._owed:
                with _unheard():
                    await connection.execute(self._sql["ring"], sorted(self._owed))
                self._owed.clear()
            self._session = session
            self._tell.session(True, "")
            while True:
                await self._beat(session)
                await self._pause(session)
        finally:
            connection.terminate()

    def _terminated(self, connection: object) -> None:
        if self._session is not None and self._session.connection is connection:
            self._session.ended.set()

    async def _pause(self, session: Session) -> None:
        """Until the next beat, or the end of the connection."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(session.ended.wait(), BEAT_S)
            raise ConnectionError("the server closed the connection")

    async def _identify(self, session: Session) -> None:
        if self._daemon and not self._identity.locks:
            return
        if self._daemon:
            session.locked = await session.connection.fetchval(self._sql["take_daemon_lock"], self._daemon)
            return
        me = self._identity
        row = await session.connection.fetchrow(
            self._sql["register_daemon"], me.host, me.pid, me.version, me.processors, me.lease_s, me.locks
        )
        assert row is not None
        self._daemon, session.locked = row["id"], row["locked"]
        self._tell.registered(self._daemon)

    async def _beat(self, session: Session) -> None:
        watching_s = time.monotonic() - session.since_s
        async with self._turn:
            session.check()
            row = await session.connection.fetchrow(
                self._sql["beat"], self._daemon, self._identity.lease_s, SILENCE_S, watching_s, timeout=BEAT_TIMEOUT_S
            )
            assert row is not None
            if self._identity.locks and not session.locked:
                session.locked = await session.connection.fetchval(
                    self._sql["take_daemon_lock"], self._daemon, timeout=BEAT_TIMEOUT_S
                )
        if row["alive"]:
            self._tell.beaten(list(row["dead"]))
            return
        # Somebody took our rows: whatever runs here is fenced already. Start over under a new id.
        lost, self._daemon = self._daemon, 0
        self._tell.declared_dead(lost)
        raise ConnectionError("this daemon was declared dead")

    def _heard(self, connection: object, pid: int, channel: str, payload: object) -> None:
        if self._session is None or pid != self._session.connection.get_server_pid():
            self._tell.heard(channel, str(payload))

    # The doorbell: see sql/functions/030_ring.sql and loops/processor_loop.py.

    async def take(self, processor: str) -> tuple[bool, bool]:
        """Going to sleep: (is this daemon the one who may hold the bell, does it hold it)."""
        session = self._session
        if session is None:
            return False, False
        async with self._turn:  # after a `leave` that was asked for before
            if processor in session.bells:
                return True, True
            row = await self._certainly(session, "doorbell_take", processor, processor in session.sentinels)
        if row["sentinel"]:
            session.sentinels.add(processor)
        if row["bell"]:
            session.bells.add(processor)
        return row["sentinel"], row["bell"]

    async def leave(self, processor: str) -> None:
        """Waking up: let go, and ring once for peers that counted on us."""
        session = self._session
        if session is None or processor not in session.sentinels:
            return
        async with self._turn:
            if processor not in session.sentinels:
                return
            had_bell = processor in session.bells
            session.bells.discard(processor)
            session.sentinels.discard(processor)
            with _unheard():  # the locks are let go all the same
                await self._certainly(session, "doorbell_leave", processor, had_bell)

    async def _certainly(self, session: Session, statement: str, *arguments: object) -> asyncpg.Record:
        """Its row; or, because nobody knows then which locks the session holds, the end of the session."""
        session.check()
        try:
            row = await session.connection.fetchrow(self._sql[statement], *arguments, timeout=BEAT_TIMEOUT_S)
        except BaseException as error:
            if not queue_is_full(error):
                session.ended.set()
            raise
        assert row is not None
        return row

    async def leave_all(self) -> list[str]:
        """The main loop does not answer: others must be able to hold the bells. Gives whose were let go."""
        left = sorted(self._session.sentinels) if self._session else []
        for processor in left:
            await self.leave(processor)
        return left

    def renounce(self) -> None:
        """The lease could not be renewed in time: this id is given up, the next session registers a new one."""
        self._daemon = 0
        if self._session is not None:
            self._session.ended.set()

    def holds(self, processor: str) -> bool:
        """Does this daemon hold the bell? Safe to ask from any thread."""
        session = self._session
        return session is not None and processor in session.bells

    def sleeps(self, processor: str) -> bool:
        """Is this daemon the one that peers count on? Safe to ask from any thread."""
        session = self._session
        return session is not None and processor in session.sentinels

    async def end(self) -> None:
        """Let go of every bell and close; no reconnect after this."""
        self._ending = True
        await self.leave_all()
        if self._session is not None:
            await self._session.connection.close(timeout=2)


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Of a ring for others: when the server keeps no more notifications, they find their rows by the safety poll."""
    try:
        yield
    except asyncpg.PostgresError as error:
        if not queue_is_full(error):
            raise
