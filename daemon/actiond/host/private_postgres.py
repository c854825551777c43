"""A private Postgres for trying out, developing and testing: found, started, watched over, cleaned up.

Two processes: the owner, who holds a PrivatePostgres, and its guard, the parent of the server. Four files:
postgres_binaries (the programs), postgres_home (the folders), postgres_guard, and this one, the owner's side.

It promises that only who may enter a 0700 directory reaches the server (unix socket, trust) or, with `port`,
who knows a generated password, on 127.0.0.1; and that `stop()` leaves no process and nothing of a temporary
root. It never adds a user, never opens a directory to others, never imports the packages that bring the
programs, never touches a data directory without MARKER.

When the owner dies, even by SIGKILL, the guard does what `stop()` would have done. When the guard dies,
`stop()` ends the server itself. When both are killed at once the server stays, and the next start on its root
names its pid. Every call blocks until its work is done: where there is an event loop, call from a thread.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from actiond.host import postgres_guard
from actiond.host.postgres_binaries import (
    Binaries,
    PostgresUnavailable,
    ServerUser,
    binaries_in,
    find_binaries,
    folder_for,
    preferred_binaries,
    server_user,
)
from actiond.host.postgres_guard import HALT, KILL, MARKER, START, birth
from actiond.host.postgres_home import Home, check_data, make_home, open_log, socket_of

__all__ = ["MARKER", "Binaries", "PostgresUnavailable", "PrivatePostgres", "binaries_in", "find_binaries"]

LOG_LINES = 12  # that many last ones are told when the server does not start
UNGUARDED_STOP_S = 60.0
POLL_S = 0.005
# Not synchronous_commit: without a disk to wait for it costs little, and off it would let kill() lose commits.
FORGETFUL = {"fsync": "off", "full_page_writes": "off"}


def dsn_of_running(root: Path) -> str | None:
    """The DSN of the database postgres of a durable server that somebody runs with this root; None if nobody does."""
    socket = socket_of(root / "data")
    return None if socket is None else _dsn("postgres", socket)


def _dsn(quoted_name: str, socket: Path) -> str:
    # Clients that find no port in a DSN take PGPORT, even for the name of a socket.
    port = "&port=5432" if os.environ.get("PGPORT", "5432") != "5432" else ""
    return f"postgresql://postgres@/{quoted_name}?host={quote(str(socket))}{port}"


class PrivatePostgres:
    """One server. `root` is its home, made if missing; without it a temporary one, removed when it stops.

    Unless `durable`, nothing waits for a disk: data outlive a crash of the server, but not of the machine.
    `settings` are the server's own, and win over what is chosen here.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        temporary_in: Path | None = None,
        binaries: Binaries | None = None,
        durable: bool = False,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._given_root = root.absolute() if root else None
        self._temporary_in = temporary_in
        self._binaries = binaries
        self._durable = durable
        self._port = port
        self._settings = dict(settings or {})
        self._home: Home | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._born = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> str:
        """Start, or start again after kill(); returns the DSN of the database postgres."""
        try:
            if self._guard is None:
                self._guard = self._prepare()
            self._order(START)
        except BaseException:
            self.stop()
            raise
        return self.dsn("postgres")

    def stop(self) -> None:
        """Fast shutdown; a temporary root is removed. Stopping what does not run does nothing."""
        guard, self._guard = self._guard, None
        if guard is not None:
            for pipe in (guard.stdin, guard.stdout):
                if pipe is not None:
                    pipe.close()
            if guard.wait() != 0:
                self._end_unguarded()
        if self._home is not None:
            self._home.remove_temporary()
        self._home = self._pid = None

    def restart(self) -> str:
        """Fast shutdown and start, on the same data."""
        self._order(HALT)
        return self.start()

    def kill(self) -> None:
        """SIGKILL to the postmaster, like a crash; returns when the last of its children has ended, too."""
        self._order(KILL)

    def dsn(self, database: str) -> str:
        """For a server that was started; it is another one after each start of a temporary root."""
        name, home = quote(database, safe=""), self._started_home()
        if self._port is not None:
            password = home.password_file.read_text()
            return f"postgresql://postgres:{password}@127.0.0.1:{self._port}/{name}"
        return _dsn(name, home.socket)

    @property
    def pid(self) -> int | None:
        """The postmaster's; None while it does not run."""
        return self._pid

    @property
    def root(self) -> Path:
        return self._started_home().root

    @property
    def psql(self) -> str | None:
        """A command line for a person, if there is a psql."""
        beside = (self._binaries or preferred_binaries()).folder / "psql"
        psql = str(beside) if beside.is_file() else shutil.which("psql")
        return shlex.join([psql, self.dsn("postgres")]) if psql else None

    def _started_home(self) -> Home:
        if self._home is None:
            raise PostgresUnavailable("this server was not started: call start()")
        return self._home

    def _prepare(self) -> subprocess.Popen[bytes]:
        binaries = self._binaries or preferred_binaries()
        try:
            user = server_user(self._given_root / "data" if self._given_root else None)
            programs = folder_for(user, binaries)
            self._home = make_home(self._given_root, self._temporary_in, user)
            check_data(self._home.data, binaries)
            return self._start_guard(self._home, programs, user)
        except OSError as problem:
            where = self._given_root or self._temporary_in or tempfile.gettempdir()
            raise PostgresUnavailable(f"cannot use {where}: {problem}; choose a folder of your own") from problem

    def _start_guard(self, home: Home, programs: Path, user: ServerUser | None) -> subprocess.Popen[bytes]:
        options = {
            "listen_addresses": "" if self._port is None else "127.0.0.1",
            "port": str(self._port or 5432),
            "unix_socket_directories": str(home.socket),
            "max_connections": "200",
            **({} if self._durable else FORGETFUL),
            **self._settings,
        }
        login = ["-U", "postgres", "--auth-local=trust", "--auth-host=scram-sha-256"]
        kind = ["-E", "UTF8", "--locale=C", "--no-instructions", *([] if self._durable else ["--no-sync"])]
        job: postgres_guard.Job = {
            "owner": os.getpid(),
            "data": str(home.data),
            "initdb": [str(programs / "initdb"), *login, f"--pwfile={home.password_file}", *kind],
            "server": [
                *(str(programs / "postgres"), "-D", str(home.data)),
                *(f"--{name}={value}" for name, value in options.items()),
            ],
            "user": (user.uid, user.gid) if user else None,
            "remove": [str(folder) for folder in home.temporary],
        }
        # Nothing that is meant for clients, and English messages.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        log = open_log(home)
        try:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", postgres_guard.__file__, json.dumps(job)],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd="/",
                env=environment | {"LC_ALL": "C"},
                start_new_session=True,
            )
        finally:
            os.close(log)

    def _order(self, order: bytes) -> None:
        """Ask the guard for one thing and wait for its answer."""
        guard, log = self._guard, self._started_home().log
        assert guard is not None
        assert guard.stdin is not None
        assert guard.stdout is not None
        said_before = log.stat().st_size
        answer = b""
        with suppress(BrokenPipeError):
            guard.stdin.write(order)
            answer = guard.stdout.readline()
        problem = "the guard of this server has ended: call stop(), then start()"
        if answer:
            self._pid, problem = json.loads(answer)
            self._born = birth(self._pid) if self._pid else ""
        if problem:
            said = log.read_bytes()[said_before:].decode(errors="replace").splitlines()
            raise PostgresUnavailable("\n".join([f"{problem}; the log ends with:", *said[-LOG_LINES:]]))

    def _end_unguarded(self) -> None:
        """The guard was killed. Its child lives on under the same pid, unless that was born again since."""
        pid, deadline = self._pid, time.monotonic() + UNGUARDED_STOP_S
        if pid is not None and self._born and birth(pid) == self._born:
            os.kill(pid, signal.SIGINT)
            while birth(pid) == self._born and time.monotonic() < deadline:
                time.sleep(POLL_S)
