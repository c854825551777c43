"""The real PgBouncer before the server of a test. Ended with it."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
import pytest

from support.database import Database, eventually

CONFIG = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = {mode}
default_pool_size = {size}
max_client_conn = 200
server_lifetime = 3600
logfile = {folder}/log
pidfile = {folder}/pid
"""


def program() -> str:
    """Skips where there is none."""
    found = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if found is None:
        pytest.skip("pgbouncer is not installed here, and only it can say what works behind it")
    return found


def _started(command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """PgBouncer refuses to run as root. Another user must be able to come to its files."""
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        entry = pwd.getpwnam("postgres")
        user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        for path in (folder, *folder.iterdir()):
            os.chown(path, entry.pw_uid, entry.pw_gid)
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **user)


class Pooler:
    """One PgBouncer; `dsn` is the database through it."""

    def __init__(self, database: Database, folder: Path, mode: str, size: int) -> None:
        self._program = program()
        parts = urlsplit(database.dsn)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        query = parse_qs(parts.query)
        host = query.get("host", [parts.hostname or "127.0.0.1"])[0]
        user = unquote(parts.username or "postgres")
        self._config = folder / "pgbouncer.ini"
        server_port = parts.port or int(query.get("port", ["5432"])[0])
        self._config.write_text(
            CONFIG.format(host=host, port=server_port, listen=port, folder=folder, mode=mode, size=size)
        )
        (folder / "users").write_text(f'"{user}" "{unquote(parts.password or "")}"\n')
        self.dsn = f"postgresql://{user}@127.0.0.1:{port}{parts.path}?sslmode=disable"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Returns when it answers."""
        self._process = _started([self._program, str(self._config)], self._folder)
        await eventually(self._answers)

    async def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()
        try:
            connection = await asyncpg.connect(self.dsn, statement_cache_size=0)
        except (OSError, asyncpg.PostgresError):
            return False
        await connection.close()
        return True

    def stop(self) -> None:
        """At once: clients and servers lose their connections."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)


@asynccontextmanager
async def running_pooler(database: Database, mode: str = "transaction", size: int = 4) -> AsyncIterator[Pooler]:
    """With few connections to the server, so that clients really share them."""
    with tempfile.TemporaryDirectory(prefix="actiond-pooler-") as folder:
        pooler = Pooler(database, Path(folder), mode, size)
        try:
            await pooler.start()
            yield pooler
        finally:
            pooler.stop()
