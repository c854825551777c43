"""Bring the schema up to date: migrations once each, functions whenever their text changed.

sql/migrations/NNNN_name.sql are applied in order, each in a transaction of its own; an applied file may never
change, and its hash is kept to prove it. sql/functions/*.sql are applied as one set, in name order, whenever
the hash of the set differs. Everything is made by the owner of the schema, if this role may act as it. Where the
roles of deploy/roles.sql own it, that file is applied again after every change. Any number of starters may race:
one works, the others wait. The lock is polled and not waited for, because a waiting session would hold a snapshot.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from actiond.postgres.connection import Connection, Pooled, first_connect
from actiond.postgres.statements import FUNCTIONS, MIGRATIONS, Statements, deploy_folder, sql_folder
from actiond.words.errors import (
    DatabaseUnreachable,
    MigrationEdited,
    SchemaMissing,
    SchemaNewer,
    SchemaOutdated,
)

_WAIT_S = 60.0
_BOOKS = "0000_books.sql"
ROLES = "roles"
OWNER = "actiond_owner"  # by deploy/roles.sql

_sql = Statements()


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. Version 0 stands for the whole set of functions."""

    version: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        """Of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Step:
    """What stands between the database and this program."""

    migration: Migration
    applied: bool
    changed: bool = False  # applied, but with another text

    @property
    def due(self) -> bool:
        """Must it run?"""
        return not self.applied or (self.changed and self.migration.version == 0)


def files_of(folder: Path | None = None) -> list[Migration]:
    """The migrations of this program, in order, and last the functions."""
    root = folder or sql_folder()
    numbered = sorted((root / MIGRATIONS).glob("[0-9][0-9][0-9][0-9]_*.sql"))
    found = [Migration(int(p.name[:4]), p.stem, p.read_text()) for p in numbered if p.name != _BOOKS]
    functions = "\n".join(path.read_text() for path in sorted((root / FUNCTIONS).glob("*.sql")))
    return [*found, Migration(0, FUNCTIONS, functions)]


async def plan(connection: Connection | Pooled, folder: Path | None = None) -> list[Step]:
    """Every migration of this program and how the database stands to it.

    SchemaNewer if the database has migrations this program does not know; MigrationEdited if an applied file
    is not what it was.
    """
    books = await connection.fetchval(_sql["migration_books"])
    rows = await connection.fetch(_sql["applied_migrations"]) if books else []
    applied = {row["version"]: row for row in rows}
    ours = files_of(folder)
    unknown = sorted(set(applied) - {m.version for m in ours})
    if unknown:
        raise SchemaNewer(
            f"the schema has migration {applied[unknown[-1]]['name']}, which this actiond does not know. "
            "Install the newer actiond that made it."
        )
    steps = [
        Step(m, m.version in applied, m.version in applied and applied[m.version]["sha256"] != m.sha256) for m in ours
    ]
    for step in steps:
        if step.changed and step.migration.version:
            raise MigrationEdited(
                f"migration {step.migration.name} was edited after it was applied. "
                "Put the file back as it was and write a new one."
            )
    return steps


async def check(connection: Connection | Pooled) -> None:
    """SchemaMissing, SchemaOutdated or SchemaNewer, each naming the command that helps."""
    steps = await plan(connection)
    due = [step.migration.name for step in steps if step.due]
    if due and not any(step.applied for step in steps):
        raise SchemaMissing(
            "this database has no actiond schema yet. Run `actiond migrate` (or `actiond run --migrate`)."
        )
    if due:
        raise SchemaOutdated(f"the schema lacks {', '.join(due)}. Run `actiond migrate` (or `actiond run --migrate`).")


async def migrate(
    dsn: str, *, folder: Path | None = None, roles: bool = False, tell: Callable[[str], None] = lambda line: None
) -> list[str]:
    """Apply what is due, and the roles if asked for; give the names of what was. Safe to race; see plan for what it
    raises."""
    connection = await first_connect(dsn, "actiond migrate", {"statement_timeout": "0", "lock_timeout": "10s"})
    try:
        await _lock(connection)
        try:
            owner = await connection.fetchrow(_sql["schema_owner"])
            if owner and owner["other"]:
                await connection.execute(_sql["act_as"], owner["name"])
            applied = await _apply(connection, folder, tell)
            if roles or (applied and owner and owner["name"] == OWNER):
                await connection.execute(_sql["act_as"], "none")
                await connection.execute(roles_script(), timeout=None)
                applied.append(ROLES)
                tell(f"applied {ROLES}")
            return applied
        finally:
            with contextlib.suppress(
                asyncpg.PostgresError
            ):  # a script that failed half-way: the lock ends with the session
                await connection.execute(_sql["unlock_migrations"])
    except asyncpg.InsufficientPrivilegeError as refused:
        raise DatabaseUnreachable(
            f"this role may not migrate: {refused.args[0]}. Run `actiond migrate` as the owner of the schema, or a "
            "member of that role; with --roles as a role that may also create roles."
        ) from None
    finally:
        await connection.close(timeout=2)


async def _lock(connection: Connection) -> None:
    async with asyncio.timeout(_WAIT_S):
        while not await connection.fetchval(_sql["lock_migrations"]):
            await asyncio.sleep(0.05)


async def _apply(connection: Connection, folder: Path | None, tell: Callable[[str], None]) -> list[str]:
    applied = []
    for step in await plan(connection, folder):
        if not step.due:
            continue
        migration = step.migration
        async with connection.transaction():
            await connection.execute(_books(folder), timeout=None)
            await connection.execute(migration.text, timeout=None)
            await connection.execute(_sql["record_migration"], migration.version, migration.name, migration.sha256)
        applied.append(migration.name)
        tell(f"{'changed' if step.changed else 'applied'} {migration.name}")
    return applied


def roles_script() -> str:
    """deploy/roles.sql."""
    return (deploy_folder() / "roles.sql").read_text()


def _books(folder: Path | None) -> str:
    return ((folder or sql_folder()) / MIGRATIONS / _BOOKS).read_text()


def script(folder: Path | None = None) -> str:
    """Everything as one SQL script, for a DBA who applies it by hand."""
    parts = ["-- actiond: the whole schema. Apply with: psql -v ON_ERROR_STOP=1 -1 -f -", _books(folder)]
    for m in files_of(folder):
        parts += [f"-- {m.name}", m.text, _recorded(m)]
    return "\n".join(parts)


def _recorded(migration: Migration) -> str:
    """record_migration with its parameters written in: a number, a file name, a hash."""
    statement = _sql["record_migration"].split("called by: migrate\n", 1)[1]
    values = (str(migration.version), f"'{migration.name}'", f"'{migration.sha256}'")
    for place, value in enumerate(values, 1):
        statement = statement.replace(f"${place}", value)
    return statement.strip() + ";"
