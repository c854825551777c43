"""How this daemon comes to its database, found out once at its start.

Claims may go through any pooler. LISTEN and the liveness lock belong to a session, so they need a way that keeps one;
a daemon that only polls does without both, and is found dead when its lease ends.
"""

from __future__ import annotations

from dataclasses import dataclass

from actiond.host.log import get_logger
from actiond.host.settings import Settings
from actiond.postgres import migrate
from actiond.postgres.connection import first_connect
from actiond.postgres.statements import Statements
from actiond.postgres.way import Way, find_way
from actiond.words.errors import SettingInvalid
from actiond.words.log_lines import LogLine

log = get_logger()


@dataclass(frozen=True, slots=True)
class Entrance:
    """The ways of the two DSNs."""

    work: Way = Way.DIRECT
    presence: Way = Way.DIRECT

    @property
    def pooled(self) -> bool:
        """Claims, outcomes and handlers go through a pooler."""
        return self.work is not Way.DIRECT

    @property
    def presence_pooled(self) -> bool:
        """Presence does."""
        return self.presence is not Way.DIRECT

    @property
    def locks(self) -> bool:
        """Presence has a session of its own, which can hold a lock."""
        return self.presence is not Way.TRANSACTION


async def enter(settings: Settings, statements: Statements) -> Entrance:
    """The schema fits, and the ways are known; or an error that says what to do."""
    for variable, hosts in settings.trusted_unseen.items() if settings.tls == "warn" else ():
        log.warning(LogLine.HOST_UNVERIFIED, connection=variable, hosts=hosts)
    connection = await first_connect(settings.work_dsn, writes=True)
    try:
        await migrate.check(connection)
        major = connection.get_server_version().major
    finally:
        connection.terminate()
    found = await _ways(settings, statements)
    if settings.listen and not found.locks:
        which = "ACTIOND_LISTEN_DSN" if settings.listen_dsn else "ACTIOND_DSN"
        raise SettingInvalid(
            f"{which} leads through a pooler in transaction mode, where LISTEN hears nothing and locks do not hold. "
            "Give a direct way in ACTIOND_LISTEN_DSN (claims may stay behind the pooler), or set ACTIOND_LISTEN=false: "
            "rows are then found by looking every ACTIOND_POLL_INTERVAL_S."
        )
    mode = "listen" if settings.listen else "poll"
    log.info(LogLine.CLAIM_MODE, server_version=major, mode=mode, reason=_reason(settings, found))
    return found


async def _ways(settings: Settings, statements: Statements) -> Entrance:
    if settings.pooled == "no":
        return Entrance()
    work = Way.TRANSACTION
    if settings.pooled == "auto":
        work = await find_way(settings.work_dsn, statements, "ACTIOND_DSN")
    if settings.listen_dsn is None:
        return Entrance(work, work)
    return Entrance(work, await find_way(settings.presence_dsn, statements, "ACTIOND_LISTEN_DSN"))


def _reason(settings: Settings, found: Entrance) -> str:
    said = [f"claims: {found.work.value}", f"presence: {found.presence.value}"]
    if not settings.listen:
        said.insert(0, "ACTIOND_LISTEN is off")
    if not found.locks:
        said.append(f"no liveness lock, so a death is found after {settings.lease_s:g} s")
    return "; ".join(said)
