"""Becoming somebody else: traps laid before functions that run with their owner's rights, and how a pin disarms them.

An operator who may make functions, tables and temporary tables of their own puts them in the way of ours. A trap
that springs writes down as whom it ran.
"""

from __future__ import annotations

import pytest

from support.roles import Peopled

TRAP = """
grant usage on schema mallory to public;
create table mallory.loot (as_whom text);
grant all on mallory.loot to public;
create function mallory.nextval(text) returns bigint language plpgsql as $$
begin
  insert into mallory.loot values (current_user);
  return pg_catalog.nextval($1::pg_catalog.regclass);
end $$;
create function mallory.pg_notify(text, text) returns void language plpgsql as $$
begin
  insert into mallory.loot values (current_user);
end $$;
create function mallory.sprung() returns trigger language plpgsql as $$
begin
  insert into mallory.loot values (current_user);
  return new;
end $$;
"""
#: Temporary tables come before all others, unless somebody says that they come last.
IN_THE_WAY = """
do $$
declare
  name text;
begin
  foreach name in array array['action', 'history', 'processor', 'run', 'daemon', 'setting'] loop
    execute format('create temp table %I (name text, value jsonb)', name);
    execute format('grant all on %I to public', name);
    execute format('create trigger sprung before insert on %I for each row execute function mallory.sprung()', name);
  end loop;
end $$;
set search_path = pg_temp, mallory, pg_catalog;
"""
BY_HAND = [f"update actiond.action set status = '{s}' where id = 1" for s in ("held", "pending", "canceled", "pending")]


async def taken_over(peopled: Peopled, *statements: str) -> set[str]:
    """As whom the traps of an operator ran, besides the operator, while it executed these."""
    async with peopled.connected("postgres") as owner:
        await owner.execute("create schema mallory authorization test_operator")
        try:
            async with peopled.connected("operator") as mallory:
                await mallory.execute(TRAP)
                await mallory.execute(IN_THE_WAY)
                for statement in statements:
                    await mallory.execute(statement)
            found = await owner.fetch("select distinct as_whom from mallory.loot")
        finally:
            await owner.execute("drop schema mallory cascade")
    return {row["as_whom"] for row in found} - {"test_operator"}


async def test_nobody_becomes_the_owner_through_pg_temp_or_a_search_path(peopled: Peopled) -> None:
    assert await taken_over(peopled, *BY_HAND) == set()


async def test_without_its_pin_a_function_hands_over_its_owners_rights(peopled: Peopled) -> None:
    async with peopled.connected("postgres") as owner:
        await owner.execute("alter function actiond.changed_by_hand() reset search_path")
        try:
            assert await taken_over(peopled, *BY_HAND) == {"actiond_owner"}
        finally:
            await owner.execute("alter function actiond.changed_by_hand() set search_path = pg_catalog, pg_temp")


@pytest.mark.parametrize(
    ("pin", "as_whom"),
    [
        ("", {"actiond_owner"}),
        ("set search_path = actiond", {"actiond_owner"}),
        ("set search_path = actiond, pg_temp", set()),
    ],
    ids=["unpinned", "pinned_without_pg_temp", "pinned_with_pg_temp_last"],
)
async def test_a_table_without_its_schema_is_looked_for_in_pg_temp(
    peopled: Peopled, pin: str, as_whom: set[str]
) -> None:
    async with peopled.connected("postgres") as owner:
        await owner.execute(
            f"""set role actiond_owner;
                create function actiond.loose() returns void language plpgsql security definer {pin}
                as $$ begin insert into setting (name, value) values ('x', '1'); end $$;
                grant execute on function actiond.loose() to actiond_operator"""
        )
        try:
            assert await taken_over(peopled, "select actiond.loose()") == as_whom
        finally:
            await owner.execute("drop function actiond.loose(); delete from actiond.setting")
