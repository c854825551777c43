"""What the demo is made of: Postgres, the daemon and the producer, three processes.

It promises that all three end with the block, however that is left, and when the demo itself is killed; and
that nothing of them stays but, where something went wrong, a copy of their logs.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio

from actiond.demo.child import child
from actiond.demo.files import Asked
from actiond.host.private_postgres import PostgresUnavailable, PrivatePostgres
from actiond.host.settings import PREFIX
from actiond.postgres.migrate import migrate
from actiond.words.errors import OperatorError

_SAID_MAX = 300  # characters of the last line of a log


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs."""

    server: PrivatePostgres
    dsn: str
    daemon: subprocess.Popen[bytes]
    producer: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """OperatorError if the daemon has ended, or the producer without having done its work."""
        for name, process in (("daemon", self.daemon), ("producer", self.producer)):
            if process.poll() is not None and (process is self.daemon or process.returncode != 0):
                raise self.trouble(f"the {name} ended with code {process.returncode}{_last_words(self.log)}")

    def trouble(self, what: str) -> OperatorError:
        """The error to raise: what is wrong, and where to read more."""
        number, copy = tempfile.mkstemp(prefix="actiond-demo-", suffix=".log")
        with os.fdopen(number, "wb") as logs:
            logs.writelines(log.read_bytes() for log in (self.server.root / "log", self.log))
        return OperatorError(f"{what}; the logs are in {copy}")

    def asked(self) -> Asked | None:
        """What the producer asked for; None while it works."""
        if self.producer.poll() is None:
            return None
        assert self.producer.stdout is not None
        return Asked(**json.loads(self.producer.stdout.read()))


@contextmanager
def stage() -> Iterator[Stage]:
    """Start everything; end everything."""
    with _server() as server:
        dsn, log = server.dsn("postgres"), server.root / "demo.log"
        anyio.run(migrate, dsn)
        # What is set for a daemon of the user's own is not meant for this one.
        ours = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        ours |= {f"{PREFIX}DSN": dsn, f"{PREFIX}LISTEN_DSN": dsn}
        run = ("actiond", "run", "--processors", "actiond.demo.fingerprint")
        produce = ("actiond.demo.files", str(server.root / "late.txt"))
        with child(*run, environment=ours, log=log) as daemon, child(*produce, environment=ours, log=log) as producer:
            yield Stage(server, dsn, daemon, producer, log)


@contextmanager
def _server() -> Iterator[PrivatePostgres]:
    server = PrivatePostgres()
    try:
        server.start()
    except PostgresUnavailable as unavailable:
        raise OperatorError(str(unavailable)) from None
    try:
        yield server
    finally:
        server.stop()


def _last_words(log: Path) -> str:
    """The last thing said beside log lines: why a process could not go on."""
    lines = log.read_text(errors="replace").splitlines()
    said = [line for line in lines if re.search(r"\w", line) and not line.startswith("{")]
    return f": {said[-1][:_SAID_MAX]}" if said else ""
