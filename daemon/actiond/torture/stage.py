"""A private Postgres, a database with a nonce, and daemons as real processes.

Torture refuses any server it did not start itself: the data directory must carry the marker of the private
Postgres, and the database the nonce of this very run.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

from actiond.host.private_postgres import PrivatePostgres
from actiond.postgres.connection import Connection, connect
from actiond.postgres.migrate import migrate
from actiond.postgres.statements import Statements
from actiond.torture import effects
from actiond.words.errors import OperatorError

LEASE_S = 6.0  # short: a frozen daemon must be overtaken while somebody watches
#: How a daemon is started; tests put a broken one here.
COMMAND = (sys.executable, "-m", "actiond", "run")

_sql = Statements()


class Stage:
    """Everything that can be killed."""

    def __init__(self, server: PrivatePostgres, folder: Path, command: tuple[str, ...] = COMMAND) -> None:
        self.server = server
        self.dsn = ""
        self.daemons: list[subprocess.Popen[bytes]] = []
        self._folder = folder
        self._command = command
        self._nonce = secrets.token_hex(16)
        self._started = 0

    async def set(self, daemons: int) -> None:
        """Server, schema, daemons."""
        self.dsn = self.server.start()
        await migrate(self.dsn)
        connection = await self.connect()
        await connection.execute(_sql["torture_nonce"], self._nonce)
        connection.terminate()
        for _ in range(daemons):
            self.start_daemon()

    async def connect(self) -> Connection:
        """To the database of this run, and to no other."""
        return await connect(self.dsn, name="actiond torture")

    async def prove_ours(self) -> None:
        """OperatorError unless the server carries the nonce of this run."""
        connection = await self.connect()
        found = await connection.fetchval(_sql["torture_proof"])
        connection.terminate()
        if found != self._nonce:
            raise OperatorError("torture kills only a server that it started itself, and this is not the one")

    def start_daemon(self) -> subprocess.Popen[bytes]:
        """One more."""
        self._started += 1
        log = (self._folder / f"daemon-{self._started}.log").open("wb")
        environment = {
            **os.environ,
            "ACTIOND_DSN": self.dsn,
            "ACTIOND_LEASE_S": str(LEASE_S),
            "ACTIOND_DRAIN_S": "5",
            effects.EFFECTS: str(self._folder / "effects"),
        }
        arguments = [*self._command, "--processors", "actiond.torture.effects", "--log-format", "json"]
        process = subprocess.Popen(
            arguments, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        log.close()
        self.daemons.append(process)
        return process

    def replace(self, dead: subprocess.Popen[bytes]) -> None:
        """A new process in the place of a dead one."""
        self.daemons.remove(dead)
        self.start_daemon()

    def stop_daemons(self) -> list[int]:
        """SIGTERM to all; their exit codes."""
        for process in self.daemons:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        codes = [process.wait(40) for process in self.daemons]
        self.daemons = []
        return codes

    def clear(self) -> None:
        """Whatever is left."""
        for process in self.daemons:
            process.kill()
            process.wait()
        self.daemons = []
        self.server.stop()
