"""Connecting, and what an error of the database means.

Every await on the database has a deadline. A connection that missed one is terminated, never closed: close()
waits for a server that does not answer. What the caller needs to know of an error is one of five things, see
Trouble.

Behind a pooler (`pooled`) a connection keeps nothing beyond a transaction: no prepared statement, and no setting,
which poolers refuse at the start. Timeouts of the server are then those of the role.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeAlias

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from actiond.words.errors import ActiondError, DatabaseUnreachable, OperatorError, SettingInvalid

# Generic in the stubs only: subscripted as text.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Pooled: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

CONNECT_S = 5.0
_NO_ANSWER = "no answer"
_READS_ONLY = "the server only reads"  # as a standby does until it is promoted
_MISCALLED = "the server expects"  # so many arguments: asyncpg has no class of its own for it
COMMAND_S = 10.0  # client side; a little above the server's own statement_timeout
_WRITES = (
    SessionAttribute.read_write
)  # sessions of a daemon: one on a standby would be there for ever, wherever the DSN leads by then
_SERVER_SETTINGS = {
    "search_path": "",  # every name in sql/ is qualified
    "statement_timeout": "9s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "10s",
    "timezone": "UTC",
}
_ABANDONED = {"client_connection_check_interval": "1s"}  # the server notices a client killed in a long statement
#: The step statement is planned once, for arrays of any size: without these Postgres replans it at each call,
#: or sorts and hashes, as if the arrays were large.
_PINNED = {
    "plan_cache_mode": "force_generic_plan",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_seqscan": "off",
    "jit": "off",
}


class Trouble(Enum):
    """What an exception on a connection means for the statement that was under way."""

    LOST = "the connection is gone; whether the statement committed is not known"
    REFUSED = "the database refuses these values, now and always"
    BUSY = "nothing committed; the same statement may succeed later"
    FULL = "nothing committed; the server has no room (connections, disk, memory, notifications)"
    MISFIT = "nothing committed; schema, rights or this program do not fit"


def trouble(error: BaseException) -> Trouble:
    """Classify. Anything unknown counts as a lost connection: reconnecting is always safe."""
    if not isinstance(error, asyncpg.PostgresError):
        return Trouble.MISFIT if _MISCALLED in str(error) else Trouble.LOST
    state = error.sqlstate or ""
    if queue_is_full(error):
        return Trouble.FULL
    if state[:2] in ("22", "23", "44", "54", "P0"):  # 44: a view's check; 54: beyond a limit; P0: a trigger said no
        return Trouble.REFUSED
    if state[:2] == "40" or state in ("55P03", "57014"):
        return Trouble.BUSY
    if state[:2] == "53":
        return Trouble.FULL
    if state[:2] in ("08", "57", "58", "XX") or isinstance(error, asyncpg.InterfaceError):
        return Trouble.LOST
    return Trouble.MISFIT


def queue_is_full(error: BaseException) -> bool:
    """The server keeps no more notifications, so a commit with one fails. Found by the place that says so, which is
    the same in all languages; the code is that of any limit."""
    return isinstance(error, asyncpg.PostgresError) and error.server_source_function == "PreCommit_Notify"


def in_words(error: BaseException) -> str:
    """One line for a log or a person. Not the details of Postgres: they quote whole rows."""
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return f"{_READS_ONLY}: it is a standby, or default_transaction_read_only is on"
    said = error.args[0] if isinstance(error, asyncpg.PostgresError) and error.args else error
    return f"{type(error).__name__}: {said}".strip(": ").replace("\n", " ")


def with_hint(error: asyncpg.PostgresError) -> str:
    """What Postgres or one of our functions says, and what it advises, in one line."""
    return f"{error.args[0]}. {error.hint}" if getattr(error, "hint", None) else str(error.args[0])


def passes(error: Exception) -> bool:
    """Worth waiting for: the server may answer again without anybody doing something."""
    if isinstance(error, DatabaseUnreachable):
        return str(error).startswith((_NO_ANSWER, _READS_ONLY))
    return (
        not isinstance(error, ActiondError)
        and trouble(error) in (Trouble.LOST, Trouble.BUSY, Trouble.FULL)
        and (isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError | asyncpg.InternalClientError | OSError))
    )


def for_people(error: Exception) -> OperatorError | None:
    """An error of the database in one line with what to do; None if it is no error of the database."""
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return OperatorError(f"this role may not do that: {error}")
    if isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "").startswith("AC"):  # one of our own
        return OperatorError(with_hint(error))
    if isinstance(error, asyncpg.PostgresError) and trouble(error) is not Trouble.LOST:
        return OperatorError(f"the database refused: {in_words(error)}")
    if isinstance(
        error, asyncpg.PostgresError | asyncpg.InterfaceError | asyncpg.InternalClientError | OSError | TimeoutError
    ):
        return DatabaseUnreachable(f"the connection was lost: {in_words(error)}. Try again.")
    return None


def patient(seconds: float) -> dict[str, str]:
    """For a session that asks what takes long, as `actiond check`: settings for `connect`. Give each fetch a timeout
    a little above, or COMMAND_S ends it."""
    return {"statement_timeout": f"{max(1, round(seconds * 1000))}ms"}


def realtime_s() -> float:
    """The clock of this host, to compare it with the server's, and for nothing else: when something happened is the
    database's word."""
    return time.clock_gettime(time.CLOCK_REALTIME)


async def connect(
    dsn: str,
    *,
    name: str = "actiond",
    settings: Mapping[str, str] | None = None,
    pooled: bool = False,
    prepare: bool = True,
    writes: bool = False,
) -> Connection:
    """One connection with our settings. Raises what asyncpg raises; see `first_connect` for people.

    `prepare`: keep statements that were prepared, for the next time. `writes`: of all servers that the DSN names, only
    to one that does.
    """
    ours = {} if pooled else {**_SERVER_SETTINGS, **_ABANDONED, **(settings or {})}
    connection: Connection = await asyncpg.connect(
        dsn,
        timeout=CONNECT_S,
        command_timeout=COMMAND_S,
        server_settings={"application_name": name, **ours},
        statement_cache_size=_cached(prepare and not pooled),
        target_session_attrs=_WRITES if writes else None,
    )
    _keep_alive(connection)
    return connection


def _cached(keep: bool) -> int:
    """Statements to keep prepared. A name that is kept may be looked for on another connection of a pooler."""
    return 100 if keep else 0


async def first_connect(
    dsn: str,
    name: str = "actiond",
    settings: Mapping[str, str] | None = None,
    *,
    pooled: bool = False,
    variable: str = "ACTIOND_DSN",
    writes: bool = False,
) -> Connection:
    """For commands: connect, or say in one line why not and what to do. A pooler is found out by its refusal."""
    try:
        return await _connect_somehow(dsn, name, settings, pooled, writes)
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError) as refused:
        raise DatabaseUnreachable(f"the database refuses these credentials: {refused}. Check {variable}.") from None
    except asyncpg.InvalidCatalogNameError as missing:
        raise DatabaseUnreachable(f"{missing}. Create it, or correct {variable}.") from None
    except asyncpg.TargetServerAttributeNotMatched as standby:
        raise DatabaseUnreachable(
            f"{in_words(standby)}. Rows are claimed once it is promoted; where another server may become the primary, "
            f"name all in {variable}: postgresql://first,second/database"
        ) from None
    except (asyncpg.PostgresError, OSError, TimeoutError) as down:
        raise DatabaseUnreachable(
            f"{_NO_ANSWER} from the database ({in_words(down)}). Is the server running, and is {variable} right?"
        ) from None
    except (ValueError, asyncpg.InterfaceError) as wrong:
        raise SettingInvalid(f"{variable} cannot be read: {wrong}") from None


async def _connect_somehow(
    dsn: str, name: str, settings: Mapping[str, str] | None, pooled: bool, writes: bool
) -> Connection:
    try:
        return await connect(dsn, name=name, settings=settings, pooled=pooled, prepare=False, writes=writes)
    except asyncpg.PostgresError as refused:
        if "unsupported startup parameter" not in str(refused):
            raise
        return await connect(dsn, name=name, pooled=True, writes=writes)


def _keep_alive(connection: Connection) -> None:
    # asyncpg sets no keepalive: an idle connection through a dead NAT would hang for ever.
    transport = getattr(connection, "_transport", None)
    sock = transport.get_extra_info("socket") if transport else None
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    options = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 3, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 15_000}
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in options.items():
            if hasattr(socket, option):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


async def work_pool(dsn: str, size: int, pooled: bool = False, *, writes: bool = True) -> Pool:
    """For claims and outcomes. Connects when first used; nothing to reset between uses."""

    async def open_one(*args: Any, **kwargs: Any) -> Connection:
        return await connect(dsn, name="actiond work", settings=_PINNED, pooled=pooled, writes=writes)

    pool: Pool = asyncpg.create_pool(
        dsn, min_size=0, max_size=size, connect=open_one, reset=_no_reset, max_inactive_connection_lifetime=0
    )
    await pool  # min_size 0: opens nothing yet
    return pool


async def handler_pool(dsn: str, size: int, pooled: bool = False, *, writes: bool = True) -> Pool:
    """For batch.transaction(): the role's own search_path and timeouts, and reset after each use."""
    settings = {"application_name": "actiond handler", **({} if pooled else _ABANDONED)}
    pool: Pool = asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=size,
        timeout=CONNECT_S,
        server_settings=settings,
        statement_cache_size=_cached(not pooled),
        target_session_attrs=_WRITES if writes else None,
    )
    await pool
    return pool


async def _no_reset(connection: Any) -> None:
    return None


async def close_pool(pool: Pool, within_s: float = 2.0) -> None:
    """Close; after `within_s` tear down."""
    try:
        await asyncio.wait_for(pool.close(), within_s)
    except (TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        pool.terminate()
