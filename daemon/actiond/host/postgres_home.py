"""The folders of a private Postgres: its root, the data, the socket, the password, the log.

It promises that nobody but us and the server's user gets at data, socket or password, and that no data are
served that are not ours: made by actiond, of the right version, and not in use. It never changes owner or
mode of a directory it did not make, and never removes a postmaster.pid: whether that one is stale is for
Postgres to judge. A death in the middle leaves folders that the next start on the same root completes.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from actiond.host.postgres_binaries import Binaries, PostgresUnavailable, ServerUser, output_of
from actiond.host.postgres_guard import MARKER, postmaster

LONGEST_SOCKET_PATH = 103  # on macOS; Linux allows 107
EARLIER_OWNER_S = 3.0  # the guard of an owner killed a moment ago begins to stop the server within this time
STOPPING_S = 60.0  # and a server that is stopping ends within this time
POLL_S = 0.005


@dataclass(slots=True)
class Home:
    """Where one server lives. `temporary` folders go when it stops."""

    root: Path
    socket: Path
    temporary: list[Path] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def password_file(self) -> Path:
        return self.root / "password"

    def remove_temporary(self) -> None:
        for folder in self.temporary:
            shutil.rmtree(folder, ignore_errors=True)


def make_home(given: Path | None, temporary_in: Path | None, user: ServerUser | None) -> Home:
    """Make what is missing. `user` is whom the server runs as, if that is not ourselves."""
    root = given or Path(tempfile.mkdtemp(prefix="actiond-", dir=temporary_in))
    home = Home(root, root / "run", [] if given else [root])
    try:
        made = given is None or not root.exists()
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if user is not None:
            if made:
                root.chmod(0o711)  # the server's user passes through, to folders of its own that are 0700
            _must_enter(root, user)
        _make_socket_folder(home, user)
        _make_password(home.password_file, user)
    except BaseException:
        home.remove_temporary()
        raise
    return home


def _must_enter(root: Path, user: ServerUser) -> None:
    if output_of(["/bin/sh", "-c", 'cd "$0"', str(root)], user) is None:
        raise PostgresUnavailable(
            f"Postgres refuses to run as root, and user {user.name} cannot enter {root}: choose a folder that is "
            "not inside a closed one (TMPDIR if you gave none), or do not run as root"
        )


def _make_socket_folder(home: Home, user: ServerUser | None) -> None:
    longest = os.fsencode(home.socket / ".s.PGSQL.65535")
    # Postgres and its clients read a comma or a quote as part of a list.
    if len(longest) > LONGEST_SOCKET_PATH or any(special in str(home.socket) for special in ',"'):
        home.socket = Path(tempfile.mkdtemp(prefix="actiond-", dir="/tmp"))
        home.temporary.append(home.socket)
        os.chown(home.socket, *_ids(user), follow_symlinks=False)
    elif not home.socket.exists():
        home.socket.mkdir(mode=0o700)
        os.chown(home.socket, *_ids(user), follow_symlinks=False)
    found = home.socket.lstat()
    owners = {os.geteuid(), user.uid if user else os.geteuid()}
    if not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077 or found.st_uid not in owners:
        raise PostgresUnavailable(f"{home.socket} is open to others: remove it")


def _make_password(file: Path, user: ServerUser | None) -> None:
    """Once for all starts: initdb reads it from the file, and the data keep it."""
    with suppress(FileExistsError), file.open("x") as fresh:
        os.fchmod(fresh.fileno(), 0o600)
        os.fchown(fresh.fileno(), *_ids(user))
        fresh.write(secrets.token_urlsafe(24))


def _ids(user: ServerUser | None) -> tuple[int, int]:
    return (user.uid, user.gid) if user else (-1, -1)


def open_log(home: Home) -> int:
    """A fresh log; the one of the last time stays beside it."""
    with suppress(FileNotFoundError):
        home.log.replace(home.root / "log.1")
    return os.open(home.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)


def check_data(data: Path, binaries: Binaries) -> None:
    """Refuse data of others, of another version, or in use; wait until an earlier owner's guard is done."""
    if not data.exists() or not any(data.iterdir()):
        return
    if not (data / MARKER).exists():
        raise PostgresUnavailable(f"{data} was not made by actiond: choose another root")
    major = (data / "PG_VERSION").read_text().strip()
    if major != str(binaries.major):
        raise PostgresUnavailable(
            f"{data} belongs to PostgreSQL {major}, but {binaries.folder} is {binaries.major}: "
            f"set ACTIOND_PG_BIN to programs of version {major}, or choose another root"
        )
    began = time.monotonic()
    while (found := postmaster(data)) and _is_alive(found[0]):
        pid, state = found
        if time.monotonic() - began > (STOPPING_S if state == "stopping" else EARLIER_OWNER_S):
            raise PostgresUnavailable(
                f"{data} is in use by process {pid}: stop it (kill -INT {pid}), or choose another root"
            )
        time.sleep(POLL_S)


def socket_of(data: Path) -> Path | None:
    """The folder of the socket of the server that runs on these data; None if none does."""
    found = postmaster(data)
    if found is None or not _is_alive(found[0]):
        return None
    return Path((data / "postmaster.pid").read_text().splitlines()[4])  # where Postgres writes it down


def _is_alive(pid: int) -> bool:
    with suppress(ProcessLookupError, PermissionError):  # a process of others cannot be a server on our data
        os.kill(pid, 0)
        return True
    return False
