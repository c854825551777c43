"""Another role for a handler's statements, inside one transaction.

What a handler writes is then done with the rights of that role, and the row level security of its tables applies to
it. The role is that of the transaction alone, and is given back before the outcomes are written: those are the
daemon's. It keeps mistakes in, and is no prison: a statement may say RESET ROLE.
"""

from __future__ import annotations

from collections.abc import Iterable

import asyncpg

from actiond.contract.processor import Processor
from actiond.postgres.connection import Pool, Pooled
from actiond.postgres.statements import Statements
from actiond.words.errors import RoleRefused

_sql = Statements()


async def take(connection: Pooled, role: str) -> str:
    """From now on, in the transaction that is open here; gives the role to go back to. RoleRefused."""
    try:
        before: str = await connection.fetchval(_sql["take_role"], role)
    except asyncpg.InvalidParameterValueError:
        raise RoleRefused(f"there is no role {role!r} in this database: create it") from None
    except asyncpg.InsufficientPrivilegeError:
        raise RoleRefused(f"the login of the daemon is no member of {role!r}: grant {_quoted(role)} to it") from None
    return before


async def leave(connection: Pooled, before: str) -> None:
    """Back. What was deferred to the commit takes place before, still as the role."""
    await connection.execute(_sql["check_constraints"])
    await connection.execute(_sql["take_role"], before)


async def check(pool: Pool, processors: Iterable[Processor]) -> None:
    """Can those that run as another role take it? RoleRefused names the processor."""
    for processor in processors:
        if processor.run_as is None:
            continue
        async with pool.acquire() as connection, connection.transaction():
            try:
                await take(connection, processor.run_as)
            except RoleRefused as refused:
                said = f"{processor.name!r} runs as {processor.run_as!r}, but {refused.args[0]}"
                raise RoleRefused(said) from None


def _quoted(role: str) -> str:
    """As a person writes it."""
    return '"' + role.replace('"', '""') + '"'
