"""A server without room on its disk: nothing is claimed, the log says why, and with room again everything goes on."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from actiond.host.private_postgres import PrivatePostgres
from support.database import eventually
from support.rows import ask, completed_once, nothing_claimed, until
from support.servers import (
    LOOKED_AT,
    WORK,
    Ready,
    at_most_once_a_minute,
    given_to_the_server,
    own_server,
)

pytestmark = pytest.mark.slow

ROWS = 4_000
NO_ROOM = "No space left on device"


@pytest.fixture
def disk() -> Iterator[Path]:
    """A small disk, in memory."""
    with tempfile.TemporaryDirectory(prefix="actiond-disk-") as folder:
        given_to_the_server(Path(folder))
        small = ["mount", "-t", "tmpfs", "-o", "size=200m", "actiond-test", folder]
        if os.geteuid() != 0 or subprocess.run(small, capture_output=True, check=False).returncode:
            pytest.skip("this machine lets nobody mount a small disk here, and only that can be full")
        try:
            given_to_the_server(Path(folder))
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> Path:
    """One file with all the room there is."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    with suppress(OSError), ballast.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(1 << 10))
    return ballast


def log_elsewhere(server: PrivatePostgres, folder: Path) -> None:
    """Its write-ahead log moves to another disk, and it starts there."""
    place = server.root / "data" / "pg_wal"
    server.stop()
    shutil.move(place, folder / "pg_wal")
    place.symlink_to(folder / "pg_wal")
    given_to_the_server(place, folder, *folder.rglob("*"))
    server.start()


async def waiting_rows(server: PrivatePostgres, start, processor_file):
    """A daemon that is paused, and rows for it."""
    conn = await asyncpg.connect(server.dsn("postgres"))
    daemon = await start(server.dsn("postgres"), processor_file(WORK), env=LOOKED_AT).ready()
    await conn.execute("insert into actiond.setting (name, value) values ('paused', 'true')")
    await daemon.says("doorbell_armed", processor="one")
    ids = await ask(conn, "one", *[{}] * ROWS)
    await conn.execute("checkpoint")
    return conn, daemon, ids


async def test_without_room_for_data_nothing_is_claimed_until_there_is(disk, start, processor_file, measured) -> None:
    with tempfile.TemporaryDirectory(prefix="actiond-wal-") as wal:
        async with own_server(disk / "home", max_wal_size="64MB", min_wal_size="32MB") as server:
            await asyncio.to_thread(log_elsewhere, server, Path(wal))
            conn, daemon, ids = await waiting_rows(server, start, processor_file)
            ballast = await asyncio.to_thread(fill, disk)
            await conn.execute("delete from actiond.setting")
            await eventually(lambda: any(NO_ROOM in line["error"] for line in daemon.heard("connection_lost")))
            await Ready(daemon).is_(503, NO_ROOM)
            assert daemon.process.poll() is None
            left = await conn.fetchval("select count(*) from actiond.action where status = 'pending'")
            assert left > 0
            ballast.unlink()
            room_s = time.monotonic()
            await eventually(lambda: fewer(conn, left))
            measured(first_outcome_s=round(time.monotonic() - room_s, 2), done_without_room=ROWS - left)
            await until(conn, ids, "completed")
            await completed_once(conn, ids)
            await eventually(lambda: nothing_claimed(conn))
            await Ready(daemon).is_(200)
            at_most_once_a_minute(daemon)
            await conn.close()


async def fewer(conn: asyncpg.Connection, than: int) -> bool:
    left: int = await conn.fetchval("select count(*) from actiond.action where status = 'pending'")
    return left < than


async def test_without_room_for_its_log_the_server_ends_and_the_daemon_waits(
    disk, start, processor_file, measured
) -> None:
    async with own_server(disk / "home", max_wal_size="64MB", min_wal_size="32MB") as server:
        conn, daemon, ids = await waiting_rows(server, start, processor_file)
        ballast = await asyncio.to_thread(fill, disk)
        while not conn.is_closed():  # more log than there is room for: a PANIC, which ends every session
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await conn.execute("select pg_switch_wal(), pg_logical_emit_message(true, 'x', repeat('x', 1000000))")
        await daemon.says("connection_lost")
        await Ready(daemon).is_(503)
        assert daemon.process.poll() is None
        ballast.unlink()
        await asyncio.to_thread(server.kill)  # if it has not ended by itself: it does not always get that far
        await asyncio.to_thread(server.start)
        room_s = time.monotonic()
        conn = await asyncpg.connect(server.dsn("postgres"))
        await conn.execute("delete from actiond.setting")
        await until(conn, ids, "completed")
        measured(all_done_s=round(time.monotonic() - room_s, 2))
        await completed_once(conn, ids)
        await eventually(lambda: nothing_claimed(conn))
        await Ready(daemon).is_(200)
        at_most_once_a_minute(daemon)
        await conn.close()
