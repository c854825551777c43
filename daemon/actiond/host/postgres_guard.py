"""The guard of a private Postgres: a small program, started by the owner, that is the parent of the server.

It promises that the server ends when the owner does, even by SIGKILL, and that the folders named in the job
end with it. It never looks for a server by its pid: only its own child is signalled, and a child keeps its pid
until its parent has waited for it, so no stranger can be hit. It outlives its owner by that work and no more;
signals meant for the whole family of processes are left to the owner. If the guard itself is killed the server
stays: see `PrivatePostgres.stop`.

The owner sends single bytes to standard input and reads one line of JSON, [pid, problem], for each.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

#: A file in every data directory made here. In SQL: pg_stat_file('actiond-private', true) is not null.
MARKER = "actiond-private"
START, HALT, KILL = b"s", b"h", b"k"

READY_S = 60.0
POLL_S = 0.005
OWNER_LOOK_S = 1.0
ORPHANS_S = 10.0
GENTLY = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))  # fast, immediate, none at all
AT_ONCE = ((signal.SIGKILL, 5.0),)


class Job(TypedDict):
    """All a guard knows; its owner passes it on the command line."""

    owner: int
    data: str
    initdb: list[str]
    server: list[str]
    user: tuple[int, int] | None
    remove: list[str]


class GuardTrouble(Exception):
    """What was asked could not be done; the server's log has more."""


def postmaster(data: Path) -> tuple[int, str] | None:
    """What postmaster.pid says: the pid of the last server that ran on these data, and its state."""
    with suppress(OSError, ValueError, IndexError):  # it may be missing, or empty for a moment
        lines = (data / "postmaster.pid").read_text().splitlines()
        return int(lines[0]), lines[7].strip() if len(lines) > 7 else "starting"
    return None


def birth(pid: int) -> str:
    """When this process began, in the words of the system; empty if there is none, or only its zombie."""
    with suppress(OSError):
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if state == "Z" else fields[18]
    with suppress(OSError):
        told = subprocess.run(["/bin/ps", "-o", "lstart=", "-p", str(pid)], check=False, capture_output=True, text=True)
        return told.stdout.strip()
    return ""


class Guard:
    def __init__(self, job: Job) -> None:
        self._job = job
        self._data = Path(job["data"])
        self._server: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None
        self._how: dict[str, Any] = {"cwd": "/", "stdin": subprocess.DEVNULL, "stdout": sys.stderr}
        if user := job["user"]:
            self._how |= {"user": user[0], "group": user[1], "extra_groups": []}

    def serve(self) -> None:
        do: dict[bytes, Callable[[], None]] = {
            START: self._start,
            HALT: lambda: self._end(GENTLY),
            KILL: lambda: self._end(AT_ONCE),
        }
        try:
            while order := self._next_order():
                problem = ""
                try:
                    do[order]()
                except (GuardTrouble, OSError) as trouble:
                    problem = str(trouble)
                pid = self._server.pid if self._server and self._server.poll() is None else None
                os.write(sys.stdout.fileno(), json.dumps([pid, problem]).encode() + b"\n")
        except BrokenPipeError:
            pass  # the owner died while it waited for the answer
        finally:
            with suppress(GuardTrouble, OSError):
                if self._server is not None and self._server.poll() == -signal.SIGKILL:
                    self._start()  # only a start on the same data removes the shared memory that a kill leaves
                self._end(GENTLY)
            for folder in self._job["remove"]:
                shutil.rmtree(folder, ignore_errors=True)

    def _next_order(self) -> bytes:
        # The pipe's end says at once that the owner is gone, but a process it forked may hold the pipe open.
        while os.getppid() == self._job["owner"]:
            if select.select([sys.stdin], [], [], OWNER_LOOK_S)[0]:
                return os.read(sys.stdin.fileno(), 1)
        return b""

    def _start(self) -> None:
        if self._server is not None and self._server.poll() is None:
            return
        self._await_orphans()
        if not (self._data / "PG_VERSION").exists():
            self._make_data()
        self._lifeline, theirs = os.pipe()
        try:
            self._server = subprocess.Popen(self._job["server"], pass_fds=[theirs], start_new_session=True, **self._how)
        finally:
            os.close(theirs)
        self._await_ready(self._server)

    def _make_data(self) -> None:
        """Made beside its place and moved there when complete: a data directory is never half made."""
        fresh = Path(tempfile.mkdtemp(prefix="new-", dir=self._data.parent))
        try:
            user = self._job["user"] or (-1, -1)
            os.chown(fresh, *user, follow_symlinks=False)
            made = subprocess.run([*self._job["initdb"], "-D", str(fresh)], check=False, **self._how)
            if made.returncode != 0:
                raise GuardTrouble(f"initdb failed with code {made.returncode}")
            with (fresh / MARKER).open("x") as marker:
                marker.write("Made by actiond, started and stopped by it alone.\n")
                os.fchown(marker.fileno(), *user)
            fresh.rename(self._data)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _await_ready(self, server: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            if server.poll() is not None:
                raise GuardTrouble(f"the server ended at once with code {server.returncode}")
            # The file of a server that was killed says ready, too, but names another pid.
            if postmaster(self._data) == (server.pid, "ready"):
                return
            time.sleep(POLL_S)
        self._end(AT_ONCE)
        raise GuardTrouble(f"the server was not ready after {READY_S:g} s")

    def _end(self, steps: tuple[tuple[signal.Signals, float], ...]) -> None:
        if self._server is not None:
            for how, patience_s in steps:
                self._server.send_signal(how)  # does nothing to a child that is known to have ended
                with suppress(subprocess.TimeoutExpired):
                    self._server.wait(patience_s)
                    break
        self._await_orphans()

    def _await_orphans(self) -> None:
        """The server and all its children hold the other end of the lifeline: it closes with the last one."""
        if self._lifeline is None:
            return
        if not select.select([self._lifeline], [], [], ORPHANS_S)[0]:
            raise GuardTrouble("processes of the killed server are still at work")
        os.close(self._lifeline)
        self._lifeline = None


if __name__ == "__main__":
    for meant_for_all in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A handler, not SIG_IGN: the server would inherit that.
        signal.signal(meant_for_all, lambda *_: None)
    Guard(json.loads(sys.argv[1])).serve()
