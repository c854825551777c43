"""Applying deploy/roles.sql: by whom, how often, what it takes back and what it leaves alone."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import AsyncIterator

import asyncpg
import pytest

from actiond.postgres.migrate import files_of, migrate, roles_script
from actiond.postgres.statements import FUNCTIONS, deploy_folder
from house.source import ROOT
from support.command import actiond
from support.database import Database, Server
from support.roles import ROLES, Peopled

RIGHTS = """
select c.relname || coalesce('.' || a.attname, '') || ' ' || x.privilege_type || ' '
       || coalesce(nullif(x.grantee, 0)::regrole::text, 'public') as said
  from pg_class c
  left join pg_attribute a on a.attrelid = c.oid and a.attacl is not null
 cross join lateral (select * from aclexplode(c.relacl) union all select * from aclexplode(a.attacl)) x
 where c.relnamespace = 'actiond'::regnamespace
union
select p.proname || ' ' || x.privilege_type || ' ' || coalesce(nullif(x.grantee, 0)::regrole::text, 'public')
  from pg_proc p cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x
 where p.pronamespace = 'actiond'::regnamespace
"""
OWNERS = """
select relowner::regrole::text as name from pg_class where relnamespace = 'actiond'::regnamespace
union select proowner::regrole::text from pg_proc where pronamespace = 'actiond'::regnamespace
union select nspowner::regrole::text from pg_namespace where nspname = 'actiond'
"""


async def rights(conn: asyncpg.Connection) -> set[str]:
    return {row["said"] for row in await conn.fetch(RIGHTS)}


@pytest.fixture
async def fresh(server: Server, db: Database, conn: asyncpg.Connection, peopled: Peopled) -> Peopled:
    """A database of its own, for tests that change rights; with the logins of the shared one."""
    await migrate(db.dsn, roles=True)
    return Peopled(db)


async def test_nothing_is_everybodys_and_everything_is_the_owners(fresh: Peopled, conn: asyncpg.Connection) -> None:
    assert [right for right in await rights(conn) if right.endswith(" public")] == []
    assert [row["name"] for row in await conn.fetch(OWNERS)] == ["actiond_owner"]
    logins = "select rolname from pg_roles where rolname = any($1) and (rolcanlogin or rolsuper or rolcreaterole)"
    assert await conn.fetch(logins, [f"actiond_{role}" for role in ROLES]) == []


async def test_again_changes_nothing_and_takes_back_what_was_given_meanwhile(
    fresh: Peopled, conn: asyncpg.Connection
) -> None:
    before = await rights(conn)
    await conn.execute(roles_script())
    assert await rights(conn) == before
    await conn.execute(
        """grant select (data), update (data) on actiond.action to actiond_reader;
           grant delete on actiond.history to actiond_operator;
           grant execute on all functions in schema actiond to public"""
    )
    assert await rights(conn) != before
    await conn.execute(roles_script())
    assert await rights(conn) == before


async def test_what_was_given_to_others_stays(fresh: Peopled, conn: asyncpg.Connection, a_role: str) -> None:
    await conn.execute(f"grant select (error) on actiond.action to {a_role}")
    await conn.execute(roles_script())
    assert f"action.error SELECT {a_role}" in await rights(conn)


async def test_a_later_migration_gives_what_it_made_to_whom_it_belongs(
    fresh: Peopled, conn: asyncpg.Connection
) -> None:
    await conn.execute("drop function actiond.wake(text); delete from actiond.migration where version = 0")
    assert await migrate(fresh.dsn("owner")) == ["functions", "roles"]
    assert await migrate(fresh.dsn("owner")) == []
    assert {right for right in await rights(conn) if right.startswith("wake ")} == {
        f"wake EXECUTE actiond_{role}" for role in ("owner", "daemon", "operator")
    }
    assert [row["name"] for row in await conn.fetch(OWNERS)] == ["actiond_owner"]


async def test_the_same_functions_belong_to_the_owner_when_a_superuser_migrates(
    fresh: Peopled, conn: asyncpg.Connection
) -> None:
    await conn.execute("drop function actiond.wake(text); delete from actiond.migration where version = 0")
    assert await migrate(fresh.dsn("postgres")) == ["functions", "roles"]
    assert [row["name"] for row in await conn.fetch(OWNERS)] == ["actiond_owner"]


async def test_a_schema_without_roles_is_left_without(db: Database, conn: asyncpg.Connection) -> None:
    await conn.execute("delete from actiond.migration where version = 0")
    assert await migrate(db.dsn) == ["functions"]


async def test_the_command_applies_them_and_says_so(fresh: Peopled) -> None:
    said = await actiond("migrate", "--roles", dsn=fresh.dsn("postgres"))
    assert (said.code, said.out) == (0, "applied roles\n")
    printed = await actiond("migrate", "--sql", "--roles")
    assert printed.code == 0
    assert roles_script() in printed.out


@pytest.mark.parametrize("who", ["daemon", "stranger"])
async def test_who_may_not_apply_them_is_told_in_a_line(fresh: Peopled, who: str) -> None:
    said = await actiond("migrate", "--roles", dsn=fresh.dsn(who))
    assert said.code == 3
    assert "this role may not migrate" in said.line


async def test_it_is_a_script_for_psql(fresh: Peopled) -> None:
    psql = shutil.which("psql")
    if psql is None:
        pytest.skip("psql is not installed here")
    command = [
        psql,
        "-X",
        "-q",
        "-v",
        "ON_ERROR_STOP=1",
        "-f",
        str(deploy_folder() / "roles.sql"),
        fresh.dsn("postgres"),
    ]
    ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr


# The manual.

GIVEN = """
with given as (
  select c.relname as relation, c.relowner as owner, '' as column, c.relacl as acl from pg_class c
   where c.relnamespace = 'actiond'::regnamespace and c.relkind in ('r', 'v')
  union all
  select c.relname, c.relowner, a.attname, a.attacl from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
   where c.relnamespace = 'actiond'::regnamespace and c.relkind in ('r', 'v'))
select x.grantee::regrole::text as role, g.relation, lower(x.privilege_type) as right, g.column
  from given g cross join lateral aclexplode(g.acl) x
 where x.grantee <> 0 and x.grantee <> g.owner
"""
COLUMNS = """
select c.relname as relation, c.relkind::text as kind, array_agg(a.attname::text) as columns
  from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
 where c.relnamespace = 'actiond'::regnamespace and c.relkind in ('r', 'v') group by 1, 2
"""


def said_in_the_manual(page: str, columns: dict[str, list[str]], views: set[str]) -> set[tuple[str, str, str, str]]:
    """(role, relation, right, column); a right on the whole table has no column."""
    found = set()
    for role, on, may in re.findall(r"^\| `(actiond_\w+)` \| (.+?) \| (.+?) \|$", page, re.MULTILINE):
        relations = set(re.findall(r"`(\w+)`", on))
        if "every table and view" in on:
            relations |= set(columns)
        if "every view" in on:
            relations |= views
        right, named = may.split()[0], re.findall(r"`(\w+)`", may)
        for relation in relations:
            chosen = [name for name in columns[relation] if name not in named] if "all but" in may else named
            found |= {(role, relation, right, column) for column in chosen or [""]}
    return found


async def test_the_table_of_the_manual_is_what_the_database_says(fresh: Peopled, conn: asyncpg.Connection) -> None:
    there = await conn.fetch(COLUMNS)
    columns = {row["relation"]: row["columns"] for row in there}
    views = {row["relation"] for row in there if row["kind"] == "v"}
    given = {(row["role"], row["relation"], row["right"], row["column"]) for row in await conn.fetch(GIVEN)}
    said = said_in_the_manual((ROOT / "docs" / "security.md").read_text(), columns, views)
    assert len(said) > 100
    assert sorted(said - given) == []
    assert sorted(given - said) == []


@pytest.fixture
async def a_role_that_makes_roles(server: Server, bare_db: Database) -> AsyncIterator[str]:
    """As hosted databases give one to their customers. The five roles are its own meanwhile."""
    if server.private is None:
        pytest.skip("makes roles, which belong to the whole server: only on a server of our own")
    conn, name = await bare_db.connect(), bare_db.name.replace("test", "test_admin")
    existing = "select rolname as name from pg_roles where rolname = any($1)"
    ours = [row["name"] for row in await conn.fetch(existing, [f"actiond_{role}" for role in ROLES])]
    for role in ours:
        await conn.execute(f"alter role {role} rename to was_{role}")
    await conn.execute(f'create role {name} login createrole; grant all on database "{bare_db.name}" to {name}')
    yield name
    for role in (*(f"actiond_{role}" for role in ROLES), name):
        await conn.execute(f"drop owned by {role} cascade; drop role {role}")
    for role in ours:
        await conn.execute(f"alter role was_{role} rename to {role}")
    await conn.close()


async def test_no_superuser_is_needed(bare_db: Database, a_role_that_makes_roles: str) -> None:
    dsn = re.sub(r"//([^@/]*@)?", f"//{a_role_that_makes_roles}@", bare_db.dsn, count=1)
    assert await migrate(dsn) == [*(each.name for each in files_of() if each.name != FUNCTIONS), FUNCTIONS]
    assert await migrate(dsn, roles=True) == ["roles"]
    assert await migrate(dsn, roles=True) == ["roles"]
    conn = await bare_db.connect()
    assert [row["name"] for row in await conn.fetch(OWNERS)] == ["actiond_owner"]
    await conn.close()
