"""The schema comes up to date: once each, in any race, and never over an edited or a newer one."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import asyncpg
import pytest

from actiond.postgres.connection import first_connect
from actiond.postgres.migrate import check, files_of, migrate, script
from actiond.postgres.statements import FUNCTIONS, MIGRATIONS, Statements, sql_folder
from actiond.words.errors import (
    DatabaseUnreachable,
    MigrationEdited,
    OperatorError,
    SchemaMissing,
    SchemaNewer,
    SchemaOutdated,
)
from support.database import eventually

COMMAND = "`actiond migrate`"
ALL = [each.name for each in files_of()]
NEXT = "0099_next.sql"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of sql/ to edit."""
    return shutil.copytree(sql_folder(), tmp_path / "sql")


async def catalog(dsn: str) -> dict[str, list[tuple]]:
    """Everything that the schema consists of, in words."""
    connection = await asyncpg.connect(dsn)
    queries = {
        "columns": "select table_name, ordinal_position, column_name, data_type, is_nullable, column_default,"
        " is_identity from information_schema.columns where table_schema = 'actiond'",
        "indexes": "select indexname, indexdef from pg_indexes where schemaname = 'actiond'",
        "constraints": "select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint"
        " where connamespace = 'actiond'::regnamespace",
        "functions": "select proname, pg_get_functiondef(oid), proacl::text from pg_proc"
        " where pronamespace = 'actiond'::regnamespace",
        "triggers": "select tgname, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal",
        "views": "select viewname, definition from pg_views where schemaname = 'actiond'",
        "settings": "select relname, reloptions::text from pg_class where relnamespace = 'actiond'::regnamespace",
        "rights": "select relname, relacl::text from pg_class where relnamespace = 'actiond'::regnamespace",
        "books": "select lpad(version::text, 6, '0'), name, sha256 from actiond.migration",
    }
    try:
        return {what: sorted(map(tuple, await connection.fetch(query)), key=str) for what, query in queries.items()}
    finally:
        await connection.close()


async def checked(dsn: str) -> OperatorError | None:
    """What a daemon would say of this schema at its start."""
    connection = await first_connect(dsn)
    try:
        await check(connection)
    except OperatorError as wrong:
        return wrong
    finally:
        connection.terminate()
    return None


async def test_from_nothing_everything_is_applied_in_order_and_then_nothing_more(bare_db) -> None:
    told: list[str] = []
    assert await migrate(bare_db.dsn, tell=told.append) == ALL
    assert told == [f"applied {name}" for name in ALL]
    before = await catalog(bare_db.dsn)
    assert {name for name, *_ in before["triggers"]} >= {"action_inserted", "action_changed_by_hand"}
    assert await migrate(bare_db.dsn) == []
    assert await catalog(bare_db.dsn) == before
    assert await checked(bare_db.dsn) is None


async def test_of_ten_that_race_each_migration_is_applied_by_one(bare_db) -> None:
    applied = await asyncio.gather(*(migrate(bare_db.dsn) for _ in range(10)))
    assert sorted(applied) == [[]] * 9 + [ALL]
    connection = await bare_db.connect()
    assert await connection.fetchval("select count(*) from actiond.migration") == len(ALL)
    await connection.close()


async def test_while_one_migrates_others_wait_without_a_snapshot(bare_db) -> None:
    holder = await bare_db.connect()
    assert await holder.fetchval(Statements()["lock_migrations"])
    waiting = asyncio.create_task(migrate(bare_db.dsn))

    async def waits() -> bool:
        return await holder.fetchval(
            "select exists (select from pg_stat_activity where application_name = 'actiond migrate' and state = 'idle'"
            " and backend_xmin is null and query like '%pg_try_advisory_lock%')"
        )

    await eventually(waits)
    assert not waiting.done()
    await holder.execute("select pg_advisory_unlock_all()")
    assert await waiting == ALL
    await holder.close()


async def test_a_new_migration_is_applied_to_what_is_there_and_nothing_else(db, folder) -> None:
    (folder / MIGRATIONS / NEXT).write_text("alter table actiond.action add column colour text;")
    assert await migrate(db.dsn, folder=folder) == ["0099_next"]
    assert ("action", "colour") in {(row[0], row[2]) for row in (await catalog(db.dsn))["columns"]}


@pytest.mark.parametrize(
    ("rest", "error"),
    [
        ("select 1 / 0", asyncpg.DivisionByZeroError),
        ("alter table actiond.migration add check (version <> 99)", asyncpg.CheckViolationError),  # found when recorded
    ],
)
async def test_a_migration_that_fails_leaves_no_trace_and_what_came_before_it_stands(
    rest, error, bare_db, folder
) -> None:
    (folder / MIGRATIONS / NEXT).write_text(f"create table actiond.half (); {rest};")
    with pytest.raises(error):
        await migrate(bare_db.dsn, folder=folder)
    there = await catalog(bare_db.dsn)
    assert sorted(row[1] for row in there["books"]) == [name for name in ALL if name != FUNCTIONS]
    assert "half" not in {row[0] for row in there["settings"]}
    (folder / MIGRATIONS / NEXT).unlink()
    assert await migrate(bare_db.dsn, folder=folder) == [FUNCTIONS]


async def test_a_migration_that_was_edited_after_it_was_applied_is_refused(db, folder) -> None:
    first = sorted(path for path in (folder / MIGRATIONS).iterdir() if path.stem in ALL)[0]
    first.write_text(first.read_text() + "\n-- a remark\n")
    before = await catalog(db.dsn)
    with pytest.raises(MigrationEdited, match=f"{first.stem} was edited after it was applied"):
        await migrate(db.dsn, folder=folder)
    assert await catalog(db.dsn) == before


async def test_functions_are_applied_again_when_one_of_them_changed(db, folder) -> None:
    told: list[str] = []
    path = folder / FUNCTIONS / "070_wake.sql"
    path.write_text(path.read_text().replace("'actiond_wake'", "'another_channel'"))
    assert await migrate(db.dsn, folder=folder, tell=told.append) == [FUNCTIONS]
    assert told == [f"changed {FUNCTIONS}"]
    assert any("another_channel" in text for _, text, _ in (await catalog(db.dsn))["functions"])
    assert await migrate(db.dsn, folder=folder) == []
    assert isinstance(await checked(db.dsn), SchemaOutdated)
    assert await migrate(db.dsn) == [FUNCTIONS]


async def test_a_schema_that_a_newer_program_made_is_left_alone(db, folder) -> None:
    (folder / MIGRATIONS / NEXT).write_text("create table actiond.later ();")
    await migrate(db.dsn, folder=folder)
    with pytest.raises(SchemaNewer, match=r"0099_next.+newer actiond"):
        await migrate(db.dsn)
    assert isinstance(await checked(db.dsn), SchemaNewer)


async def test_a_database_without_a_schema_is_told_the_command(bare_db) -> None:
    wrong = await checked(bare_db.dsn)
    assert isinstance(wrong, SchemaMissing)
    assert COMMAND in str(wrong)


async def test_a_schema_that_lacks_something_is_told_what_and_the_command(db) -> None:
    connection = await db.connect()
    await connection.execute("delete from actiond.migration where version = 0")
    await connection.close()
    wrong = await checked(db.dsn)
    assert isinstance(wrong, SchemaOutdated)
    assert FUNCTIONS in str(wrong)
    assert COMMAND in str(wrong)


async def test_a_role_that_may_not_migrate_is_told_so_in_one_line(db, a_role) -> None:
    as_that_role = f"{db.dsn}{'&' if '?' in db.dsn else '?'}role={a_role}"
    with pytest.raises(DatabaseUnreachable, match=r"may not migrate: .+ as the owner of the schema"):
        await migrate(as_that_role)


async def test_the_script_for_a_dba_makes_the_same_schema(db, bare_db) -> None:
    connection = await bare_db.connect()
    await connection.execute(script())
    await connection.close()
    assert await catalog(bare_db.dsn) == await catalog(db.dsn)
    assert await checked(bare_db.dsn) is None
    assert await migrate(bare_db.dsn) == []


def test_every_migration_has_a_number_of_its_own() -> None:
    versions = [each.version for each in files_of()]
    assert len(set(versions)) == len(versions)
    assert versions[-1] == 0
    assert versions[:-1] == sorted(versions[:-1])
