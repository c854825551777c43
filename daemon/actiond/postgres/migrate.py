"""Bring the schema up to date: migrations once each, functions whenever their text changed.

sql/migrations/NNNN_name.sql are applied in order, each in a transaction of its own; an applied file may never
change, and its hash is kept to prove it. sql/functions/*.sql are applied as one set, in name order, whenever
the hash of the set differs. Any number of starters may race: one works, the others wait. The lock is polled
and not waited for, because a waiting session would hold a snapshot.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from actiond.postgres.connection import Connection, first_connect
from actiond.postgres.statements import FUNCTIONS, MIGRATIONS, sql_folder
from actiond.words.errors import (
    DatabaseUnreachable,
    MigrationEdited,
    SchemaMissing,
    SchemaNewer,
    SchemaOutdated,
)

_LOCK = (1633907716, 0)  # actiond.lock_class('migrate'), needed before that function exists
_WAIT_S = 60.0

_BOOKS = """
create schema if not exists actiond;
create table if not exists actiond.migration (
  version integer primary key, name text not null, sha256 text not null,
  applied_at timestamptz not null default pg_catalog.clock_timestamp()
);
"""


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
    found = [
        Migration(int(path.name[:4]), path.stem, path.read_text())
        for path in sorted((root / MIGRATIONS).glob("[0-9][0-9][0-9][0-9]_*.sql"))
    ]
    functions = "\n".join(path.read_text() for path in sorted((root / FUNCTIONS).glob("*.sql")))
    return [*found, Migration(0, FUNCTIONS, functions)]


async def plan(connection: Connection, folder: Path | None = None) -> list[Step]:
    """Every migration of this program and how the database stands to it.

    SchemaNewer if the database has migrations this program does not know; MigrationEdited if an applied file
    is not what it was.
    """
    books = await connection.fetchval("select pg_catalog.to_regclass('actiond.migration') is not null")
    rows = await connection.fetch("select version, name, sha256 from actiond.migration") if books else []
    applied = {row["version"]: row for row in rows}
    ours = files_of(folder)
    unknown = sorted(set(applied) - {m.version for m in ours})
    if unknown:
        raise SchemaNewer(
            f"the schema has migration {unknown[-1]:04} ({applied[unknown[-1]]['name']}), which this actiond does not "
            "know. Install the newer actiond that made it."
        )
    steps = [
        Step(m, m.version in applied, m.version in applied and applied[m.version]["sha256"] != m.sha256) for m in ours
    ]
    for step in steps:
        if step.changed and step.migration.version:
            raise MigrationEdited(
                f"migration {step.migration.name} was edited after it was applied. Put the file back as it was and write a new one."
            )
    return steps


async def check(connection: Connection) -> None:
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
    dsn: str, *, folder: Path | None = None, tell: Callable[[str], None] = lambda line: None
) -> list[str]:
    """Apply what is due; give the names of what was. Safe to race; see plan for what it raises."""
    connection = await first_connect(dsn, "actiond migrate")
    try:
        await connection.execute("set statement_timeout = 0; set lock_timeout = '10s'")
        await _lock(connection)
        try:
            return await _apply(connection, folder, tell)
        finally:
            await connection.execute("select pg_catalog.pg_advisory_unlock($1, $2)", *_LOCK)
    except asyncpg.InsufficientPrivilegeError as refused:
        raise DatabaseUnreachable(
            f"this role may not migrate: {refused}. Run `actiond migrate` as the owner of the schema."
        ) from None
    finally:
        await connection.close(timeout=2)


async def _lock(connection: Connection) -> None:
    async with asyncio.timeout(_WAIT_S):
        while not await connection.fetchval("select pg_catalog.pg_try_advisory_lock($1, $2)", *_LOCK):
            await asyncio.sleep(0.05)


async def _apply(connection: Connection, folder: Path | None, tell: Callable[[str], None]) -> list[str]:
    applied = []
    for step in await plan(connection, folder):
        if not step.due:
            continue
        migration = step.migration
        async with connection.transaction():
            await connection.execute(_BOOKS)
            await connection.execute(migration.text)
            await connection.execute(
                "insert into actiond.migration (version, name, sha256) values ($1, $2, $3) "
                "on conflict (version) do update set sha256 = excluded.sha256, applied_at = clock_timestamp()",
                migration.version,
                migration.name,
                migration.sha256,
            )
        applied.append(migration.name)
        tell(f"{'changed' if step.changed else 'applied'} {migration.name}")
    return applied


def script(folder: Path | None = None) -> str:
    """Everything as one SQL script, for a DBA who applies it by hand."""
    parts = ["-- actiond: the whole schema. Apply with: psql -v ON_ERROR_STOP=1 -1 -f -", _BOOKS]
    for m in files_of(folder):
        record = f"insert into actiond.migration (version, name, sha256) values ({m.version}, '{m.name}', '{m.sha256}')"
        parts += [
            f"-- {m.name}",
            m.text,
            f"{record} on conflict (version) do update set sha256 = excluded.sha256;",
        ]
    return "\n".join(parts)
