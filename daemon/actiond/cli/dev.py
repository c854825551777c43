"""actiond dev."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import anyio
import click

import actiond
from actiond.cli import say
from actiond.host import discovery, log_start, settings
from actiond.host.postgres_binaries import preferred_binaries
from actiond.host.postgres_home import check_data
from actiond.host.private_postgres import Binaries, PostgresUnavailable, PrivatePostgres, dsn_of_running
from actiond.postgres.migrate import migrate
from actiond.rules.redaction import redact
from actiond.service import main_loop
from actiond.service.supervisor import Supervisor
from actiond.words.errors import MigrationEdited, OperatorError, SchemaNewer

DEFAULT = "processors.py"
LOOK_S = 0.25
_ROOT = "dev-pg{}"  # one for each version of the programs


@click.command("dev")
@click.option(
    "--processors",
    "sources",
    multiple=True,
    metavar="FILE|MODULE",
    help=f"Where processors are (repeatable; default: {DEFAULT} in this folder, as soon as there is one).",
)
@click.option("--reset", is_flag=True, help="Delete the data of the private Postgres first.")
@click.option("--yes", is_flag=True, help="Do not ask before --reset.")
@click.option("--show-dsn", is_flag=True, help="Print the DSN of the private Postgres of the one that runs; no more.")
def command(sources: tuple[str, ...], reset: bool, yes: bool, show_dsn: bool) -> int:
    """Run the daemon on a private Postgres that keeps its data; processor files are read again when they change.

    The data are in $XDG_DATA_HOME/actiond, or ~/.local/share/actiond (/var/lib/actiond for root). With ACTIOND_DSN
    that server is used instead. Ctrl-C ends the daemon and the private server.
    In other terminals: export ACTIOND_DSN="$(actiond dev --show-dsn)"
    """
    if show_dsn:
        say.line(_dsn_of_running())
        return 0
    chosen = settings.read()
    named = [*sources, *(part.strip() for part in chosen.processors.split(",") if part.strip())]
    if "dsn" in chosen.model_fields_set and not _is_private(chosen.work_dsn):
        if reset:
            raise click.UsageError("--reset is for the private Postgres, but ACTIOND_DSN names another server")
        say.line(f"DSN   {redact(chosen.work_dsn)}")
        return main_loop.leave(_serve(chosen, named))
    with _private_server(reset, yes) as server:
        dsn = server.dsn("postgres")
        say.block(f"data  {server.root}\nDSN   {dsn}")
        say.line('      in other terminals: export ACTIOND_DSN="$(actiond dev --show-dsn)"')
        if server.psql:
            say.line(f"psql  {server.psql}")
        try:
            code = _serve(settings.read(dsn=dsn, listen_dsn=dsn), named)
        except (MigrationEdited, SchemaNewer) as other:  # its data are of another version of this program
            raise type(other)(f"{other} Or begin with an empty database: `actiond dev --reset`.") from None
    return main_loop.leave(code)


@contextmanager
def _private_server(reset: bool, yes: bool) -> Iterator[PrivatePostgres]:
    try:
        binaries = preferred_binaries()
        root = _data_home() / "actiond" / _ROOT.format(binaries.major)
        if reset:
            _delete(root / "data", binaries, yes)
        server = PrivatePostgres(root, binaries=binaries, durable=True)
        server.start()
    except PostgresUnavailable as unavailable:
        raise OperatorError(str(unavailable)) from None
    try:
        yield server
    finally:
        server.stop()


def _dsn_of_running() -> str:
    for root in sorted(_data_home().glob(f"actiond/{_ROOT.format('*')}")):
        if dsn := dsn_of_running(root):
            return dsn
    raise OperatorError("no `actiond dev` runs here: start it, then ask again")


def _is_private(dsn: str) -> bool:
    """Is this what --show-dsn said? Then the server of it is the one to start."""
    (socket,) = parse_qs(urlsplit(dsn).query).get("host", [""])[:1]
    return Path(socket).parent.match(str(_data_home() / "actiond" / _ROOT.format("*")))


def _data_home() -> Path:
    given = os.environ.get("XDG_DATA_HOME", "")
    if given.startswith("/"):
        return Path(given)
    # Postgres does not run as root, and its user cannot enter root's home.
    return Path("/var/lib") if os.geteuid() == 0 else Path.home() / ".local/share"


def _delete(data: Path, binaries: Binaries, yes: bool) -> None:
    if not data.exists():
        return
    check_data(data, binaries)  # ours, and not in use
    if not yes:
        say.confirm(f"Delete {data} and every action in it?", err=False)
    shutil.rmtree(data)


def _serve(chosen: settings.Settings, named: Sequence[str]) -> int:
    files = [Path(source).expanduser() for source in named or [DEFAULT] if discovery.is_file(source)]
    say.line(f"code  {', '.join(named) or _default_in_words(files)}")
    # Bytecode knows the age of its source to the second only: of two versions within one, it would keep the first.
    sys.dont_write_bytecode = True
    log_start.begin(chosen)
    return main_loop.run(_run, chosen, named, files)


def _default_in_words(files: Sequence[Path]) -> str:
    return DEFAULT if files[0].is_file() else f"none yet: write {DEFAULT} here, or name a file with --processors"


async def _run(chosen: settings.Settings, named: Sequence[str], files: Sequence[Path]) -> int:
    await migrate(chosen.work_dsn)
    watch = Watch(files)
    supervisor = Supervisor(
        chosen,
        discovery.Sources(named)
        if named
        else lambda: discovery.find([file for file in map(str, files) if Path(file).is_file()]),
        actiond.__version__,
    )
    supervisor.also(lambda: watch.run(supervisor.reload, supervisor.stop))
    return await supervisor.run()


class Watch:
    """Notices that files have changed, once they have stopped changing."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._on_terminal = os.isatty(0)
        self._loaded = self._before = self._look()

    async def run(self, reload: Callable[[], Awaitable[None]], stop: Callable[[str], None]) -> None:
        """Until cancelled; or until the terminal is closed, which else would leave a daemon nobody sees."""
        while True:
            await anyio.sleep(LOOK_S)
            if self._on_terminal and not os.isatty(0):
                stop("the terminal was closed")
                return
            if self.changed():
                await reload()

    def changed(self) -> bool:
        """Is there something new that was the same at the last look, too? So nothing is read half written."""
        now, before = self._look(), self._before
        self._before = now
        if now != before or now == self._loaded:
            return False
        self._loaded = now
        return True

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_state(file) for file in self._files]


def _state(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
