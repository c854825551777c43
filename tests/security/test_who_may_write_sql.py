"""Only what is meant to be SQL is carried out as SQL: the source of a plan, the function of `sql_function`. And only
their owner writes them: no other role finds a way."""

from __future__ import annotations

import re
from pathlib import Path

import asyncpg
import pytest

from actiond.postgres.plan_edit import preview
from house.source import SQL, short
from support import hostile
from support.roles import Peopled

OPERATORS_MAY_NOT = [
    "insert into actiond.plan (name, source, processor) values ('mine', 'select public.touched()', 'p')",
    "update actiond.plan set source = 'select public.touched() as id'",
    'update actiond.plan set mapping = \'{"related": "id"}\'',
    "update actiond.plan set key = 'id'",
    "update actiond.plan set processor = 'q'",
    "update actiond.plan set then_plan = 'other'",
    "update actiond.plan set notify_processor = 'q'",
    "update actiond.plan set edition = 1",
    "update actiond.processor set uses = 'sql_function', config = '{\"function\": \"public.touched\"}'",
    "select actiond.set_processor('p', 'config', '{\"function\": \"public.touched\"}')",
    "select actiond.write_knob('p', 'config', '{\"function\": \"public.touched\"}')",
    "select actiond.write_knob('p', 'uses', 'sql_function')",
    "select actiond.write_knob('p', 'declared', '{}')",
    "update actiond.schedule set processor = 'q'",
    "update actiond.schedule set since = now()",
    "update actiond.subscription set event = 'x'",
    "select actiond.call_for_row('public.touched', 'x', '{}')",
    "select actiond.call_for_batch('public.touched', '[]')",
    "select actiond.plan_goes_on('monthly')",
    "select actiond.purge(1000)",
    "select actiond.purge_runs(1000)",
    "insert into actiond.purge default values",
    "update actiond.purge set after = 0, due_at = now()",
    "delete from actiond.plan",
    "delete from actiond.action",
    "create or replace function actiond.now() returns timestamptz language sql as 'select null::timestamptz'",
    "create rule r as on insert to actiond.action do also select public.touched()",
    "create policy p on actiond.action using (public.touched() = 1)",
    "alter table actiond.action alter column related set default public.touched()::text",
    "alter view actiond.action_list set schema public",
]


@pytest.fixture
async def planned(peopled: Peopled):
    """A plan of the owner's, in a database with a canary."""
    async with peopled.connected("postgres") as owner:
        await owner.execute(
            "drop table if exists public.canary; drop function if exists public.touched;" + hostile.MAKE_CANARY
        )
        await owner.execute(
            "create or replace view public.one as select 1 as id; grant select on public.one to public;"
            " insert into actiond.processor (name) values ('p') on conflict do nothing;"
            " insert into actiond.plan (name, source, processor, key) values ('monthly', 'public.one', 'p', 'id')"
            " on conflict do nothing"
        )
        yield owner
        assert await owner.fetchval("select count(*) from public.canary") == 0


@pytest.mark.parametrize("statement", OPERATORS_MAY_NOT, ids=[f"{n:02}" for n, _ in enumerate(OPERATORS_MAY_NOT)])
@pytest.mark.parametrize("who", ["operator", "producer", "reader", "stranger"])
async def test_nobody_but_the_owner_writes_what_is_carried_out(
    peopled: Peopled, planned, who: str, statement: str
) -> None:
    async with peopled.connected(who) as somebody:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await somebody.execute(statement)


async def test_a_definer_function_takes_a_text_for_a_text(peopled: Peopled, planned) -> None:
    """Those that run with the rights of the owner and may be called by others, with the whole corpus."""
    called = ["select actiond.flag_on($1)", "select actiond.set_flag($1, true, $1)", "select actiond.pause('p', $1)",
              "select set_config('actiond.by', $1, false), set_config('actiond.reason', $1, false)",
              "select actiond.enqueue('p', parent => 1, related => $1)",
              "update actiond.action set status = 'held' where related = $1"]  # fmt: skip
    async with peopled.connected("operator") as operator:
        for statement in called:
            for text in hostile.texts(Path("/nowhere")).values():
                try:
                    await operator.execute(
                        statement.replace("$1", await operator.fetchval("select quote_literal($1)", text))
                    )
                except asyncpg.PostgresError as refused:
                    state = refused.sqlstate
                else:
                    state = "00000"
                assert state != "42601", (statement, text)


async def test_the_type_of_a_key_may_be_called_anything(conn: asyncpg.Connection, canary) -> None:
    name = 'x" (select public.touched()) "'
    quoted = '"' + name.replace('"', '""') + '"'
    await conn.execute(f"create type public.{quoted} as enum ('a', 'b')")
    await conn.execute(f"create table public.typed (id public.{quoted}); insert into public.typed values ('a'), ('b')")
    run = await conn.fetchval("insert into actiond.action (processor) values ('p') returning id")
    await conn.execute(
        "insert into actiond.plan (name, source, processor, key, page) values ('typed', 'public.typed', 'p', 'id', 1)"
    )
    seen = await preview(conn, "typed", 5)
    assert seen.rows == 2
    oid = await conn.fetchval(
        "select atttypid::text from pg_attribute where attrelid = 'typed'::regclass and attname = 'id'"
    )
    texts = await conn.fetchrow("select * from actiond.plan_texts('typed', '{id}', array[$1::text])", oid)
    assert (await conn.fetchrow(texts["next"], run, "p", "a"))["last"] == "b"


# The catalog.


async def test_strangers_may_call_nothing(peopled: Peopled) -> None:
    async with peopled.connected("postgres") as owner:
        open_ = await owner.fetch(
            "select p.oid::regprocedure::text as name from pg_proc p where p.pronamespace = 'actiond'::regnamespace"
            " and has_function_privilege('test_stranger', p.oid, 'execute')"
        )
    assert [row["name"] for row in open_] == []


#: Functions with the rights of their owner: who may call them, and what they do with these. Nobody calls a trigger.
DEFINERS = {
    "adopted": "a trigger: how deep a family is",
    "breaker_turned": "a trigger: writes history",
    "changed_by_hand": "a trigger: writes history",
    "flag_on": "daemon, operator, producer, reader: one setting, as a boolean",
    "flag_turned": "a trigger: lets plans and schedules go on",
    "plan_flag_changed": "a trigger: lets runs of a plan go on",
    "plan_goes_on": "nobody: called by these two",
    "note_processor_edit": "a trigger: writes history",
    "note_setting_edit": "a trigger: writes history",
    "purge": "daemon: deletes what is older than its retention, and nothing else",
}


async def test_each_function_with_its_owners_rights_is_known(peopled: Peopled) -> None:
    async with peopled.connected("postgres") as owner:
        rows = await owner.fetch(
            "select distinct p.proname, p.prorettype = 'trigger'::regtype as fired,"
            " coalesce((select string_agg(distinct replace(r.rolname, 'actiond_', ''), ', '"
            " order by replace(r.rolname, 'actiond_', ''))"
            " from aclexplode(p.proacl) a join pg_roles r on r.oid = a.grantee"
            " where r.rolname <> 'actiond_owner'), 'nobody') as callers from pg_proc p"
            " where p.pronamespace = 'actiond'::regnamespace and p.prosecdef"
        )
    found = {row["proname"]: "a trigger" if row["fired"] else row["callers"] for row in rows}
    assert {row["callers"] for row in rows if row["fired"]} == {"nobody"}
    assert found == {name: said.split(":")[0] for name, said in DEFINERS.items()}


#: Files in which a statement is made of texts, and what comes in without being quoted.
MADE = {
    "sql/functions/085_call_function.sql": "regproc, which quotes",
    "sql/functions/096_feed.sql": "numbers of transactions, made to a position",
    "sql/functions/098_find.sql": "asc, desc, and what find_in made of %L and numbers",
    "sql/functions/105_switches.sql": "the type of a column, of the catalog; the name by %I",
    "sql/functions/130_plans.sql": "the source, which is SQL; expressions of %I and %L; types by format_type",
}


def test_where_a_statement_is_made_of_texts_is_known() -> None:
    made = re.compile(r"\bexecute\b(?! function| on)|%(\d\$)?s", re.IGNORECASE)
    found = set()
    for path in sorted(SQL.rglob("*.sql")):
        text = re.sub(r"--.*", "", path.read_text())
        if made.search(text) and path.name != "schema.sql":
            found.add(short(path))
    assert found == set(MADE)
