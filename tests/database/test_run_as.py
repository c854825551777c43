"""run_as: what a batch handler does in the database is done as another role, and its outcomes are the daemon's.

Row level security of the user's table is the proof: it applies to the role and not to the login.
"""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from actiond import Batch, Processor, batch_processor
from actiond.postgres import role
from actiond.testing import run_once
from actiond.words.errors import RoleRefused
from support.rows import ask, look

TABLES = """
create table public.invoice (id bigint generated always as identity, clerk text not null default current_user,
                             amount int check (amount > 0));
alter table public.invoice enable row level security;
create policy own on public.invoice using (clerk = current_user) with check (clerk = current_user);
create table public.secret (word text);
"""


@pytest.fixture
async def clerk(a_role: str, conn: asyncpg.Connection) -> str:
    """A role with a policy of its own on a table, and no right on another."""
    await conn.execute(TABLES)
    await conn.execute(f"grant select, insert on public.invoice to {a_role}")
    return a_role


def as_clerk(clerk: str | None, handler: Any, **knobs: Any) -> Processor:
    return batch_processor("invoices", run_as=clerk, retries=0, **knobs)(handler)


async def clerks(conn: asyncpg.Connection) -> list[tuple[str, int]]:
    """Who wrote which amounts, as the table's owner sees it."""
    return [tuple(row) for row in await conn.fetch("select clerk, amount from public.invoice order by id")]


async def inserts(batch: Batch[Any]) -> None:
    async with batch.transaction() as connection:
        for action in batch:
            await connection.execute("insert into public.invoice (amount) values ($1)", action.data)
            action.complete(await connection.fetchval("select array[current_user, session_user]::text[]"))


async def test_what_the_handler_writes_is_the_roles_and_the_outcomes_are_the_daemons(db, conn, clerk) -> None:
    me = await conn.fetchval("select current_user")
    ids = await ask(conn, "invoices", 1, 2)
    actions = await run_once(db.dsn, as_clerk(clerk, inserts))
    assert [(action.id, action.status, action.result) for action in actions] == [
        (id_, "completed", [clerk, me]) for id_ in ids
    ]
    assert await clerks(conn) == [(clerk, 1), (clerk, 2)]
    [run] = await conn.fetch("select completed, failed from actiond.run")
    assert tuple(run) == (2, 0)


async def test_without_it_the_login_writes(db, conn, clerk) -> None:
    await ask(conn, "invoices", 1)
    await run_once(db.dsn, as_clerk(None, inserts))
    assert await clerks(conn) == [(await conn.fetchval("select current_user"), 1)]


async def test_row_level_security_of_the_table_applies(db, conn, clerk) -> None:
    await conn.execute("insert into public.invoice (clerk, amount) values ('somebody', 7)")

    async def counts(batch: Batch[Any]) -> None:
        async with batch.transaction() as connection:
            batch[0].complete(await connection.fetchval("select count(*) from public.invoice"))

    await ask(conn, "invoices", {})
    [seen] = await run_once(db.dsn, as_clerk(clerk, counts))
    assert seen.result == 0  # of the row that is there
    await ask(conn, "invoices", {})
    [seen] = await run_once(db.dsn, as_clerk(None, counts))
    assert seen.result == 1  # the owner of the table


async def test_what_the_role_may_not_do_fails_and_leaves_nothing(db, conn, clerk) -> None:
    async def forges(batch: Batch[Any]) -> None:
        async with batch.transaction() as connection:
            await connection.execute("insert into public.invoice (clerk, amount) values ('somebody', 1)")
            batch.complete()

    await ask(conn, "invoices", {})
    [failed] = await run_once(db.dsn, as_clerk(clerk, forges))
    assert failed.status == "failed"
    assert "row-level security policy" in (failed.error or "")

    async def spies(batch: Batch[Any]) -> None:
        async with batch.transaction() as connection:
            await connection.execute("select * from public.secret")

    await ask(conn, "invoices", {})
    [failed] = await run_once(db.dsn, as_clerk(clerk, spies))
    assert "permission denied for table secret" in (failed.error or "")
    assert await clerks(conn) == []


async def test_execute_each_runs_as_the_role_and_finds_the_bad_rows_as_ever(db, conn, clerk) -> None:
    async def each(batch: Batch[Any]) -> None:
        await batch.execute_each("insert into public.invoice (amount) values ($1)", lambda action: (action.data,))

    await ask(conn, "invoices", 1, -2, 3, 4, "five", 6)
    actions = await run_once(db.dsn, as_clerk(clerk, each))
    assert [action.status for action in actions] == ["completed", "failed", *["completed"] * 2, "failed", "completed"]
    assert "invoice_amount_check" in (actions[1].error or "")
    assert await clerks(conn) == [(clerk, amount) for amount in (1, 3, 4, 6)]


async def test_execute_each_obeys_the_policies_row_by_row(db, conn, clerk) -> None:
    async def each(batch: Batch[Any]) -> None:
        await batch.execute_each("insert into public.invoice (clerk, amount) values ($1, 1)", lambda a: (a.data,))

    await ask(conn, "invoices", clerk, clerk)
    assert [action.status for action in await run_once(db.dsn, as_clerk(clerk, each))] == ["completed"] * 2


async def test_what_is_deferred_to_the_commit_is_still_the_roles(db, conn, clerk) -> None:
    await conn.execute(
        f"""create table public.noted (who text);
            grant insert on public.noted to {clerk};
            create function public.note() returns trigger language plpgsql as $$ begin
              insert into public.noted values (current_user); return null; end $$;
            create constraint trigger later after insert on public.invoice deferrable initially deferred
              for each row execute function public.note()"""
    )
    await ask(conn, "invoices", 1)
    [done] = await run_once(db.dsn, as_clerk(clerk, inserts))
    assert done.status == "completed"
    assert await conn.fetchval("select array_agg(who) from public.noted") == [clerk]


async def test_what_a_deferred_constraint_refuses_fails_alone(db, conn, clerk) -> None:
    await conn.execute(
        """create function public.thirteen() returns trigger language plpgsql as $$ begin if new.amount = 13 then
             raise exception 'thirteen' using errcode = '23514'; end if; return null; end $$;
           create constraint trigger thirteen after insert on public.invoice deferrable initially deferred
             for each row execute function public.thirteen()"""
    )

    async def each(batch: Batch[Any]) -> None:
        await batch.execute_each("insert into public.invoice (amount) values ($1)", lambda action: (action.data,))

    await ask(conn, "invoices", 1, 13, 3)
    actions = await run_once(db.dsn, as_clerk(clerk, each))
    assert [action.status for action in actions] == ["completed", "failed", "completed"]
    assert await clerks(conn) == [(clerk, 1), (clerk, 3)]


async def test_the_role_ends_with_the_transaction(db, conn, clerk) -> None:
    said: list[str] = []

    async def twice(batch: Batch[Any]) -> None:
        for action in list(batch):
            async with batch.transaction([action]) as connection:
                said.append(await connection.fetchval("select current_user"))
                action.complete()

    await ask(conn, "invoices", 1, 2)
    await run_once(db.dsn, as_clerk(clerk, twice))
    await ask(conn, "invoices", 3)
    await run_once(db.dsn, as_clerk(None, twice))
    assert said == [clerk, clerk, await conn.fetchval("select current_user")]


async def test_a_name_is_taken_as_it_is_written(db, conn, clerk) -> None:
    odd = f'{clerk} "; drop table public.invoice; --'
    await conn.execute('create role "' + odd.replace('"', '""') + '"')
    try:
        await conn.execute('grant insert on public.invoice to "' + odd.replace('"', '""') + '"')

        async def inserts_alone(batch: Batch[Any]) -> None:
            async with batch.transaction() as connection:
                await connection.execute("insert into public.invoice (amount) values (1)")
                batch.complete()

        await ask(conn, "invoices", 1)
        await run_once(db.dsn, as_clerk(odd, inserts_alone))
        assert await clerks(conn) == [(odd, 1)]
    finally:
        await conn.execute('drop owned by "' + odd.replace('"', '""') + '"; drop role "' + odd.replace('"', '""') + '"')


async def test_a_handler_in_isolation_has_the_role_in_every_call(db, conn, clerk) -> None:
    await ask(conn, "invoices", 1, -2, 3)
    actions = await run_once(db.dsn, as_clerk(clerk, inserts, isolate=True, transactional=True))
    assert [action.status for action in actions] == ["completed", "failed", "completed"]
    assert await clerks(conn) == [(clerk, 1), (clerk, 3)]


# A role that cannot be taken.


async def test_a_role_that_is_not_there_is_told_at_once(db, conn) -> None:
    ids = await ask(conn, "invoices", 1)
    with pytest.raises(RoleRefused, match=r"'invoices' runs as 'nobody at all', but there is no role"):
        await run_once(db.dsn, as_clerk("nobody at all", inserts))
    assert (await look(conn, ids))[0]["attempts"] == 0


async def test_a_role_that_the_login_may_not_take_is_told_at_once(db, conn, clerk, peopled) -> None:
    async with peopled.connected("daemon") as connection:
        pool: Any = _One(connection)
        with pytest.raises(RoleRefused, match=f"no member of '{clerk}': grant \"{clerk}\" to it"):
            await role.check(pool, [as_clerk(clerk, inserts)])
        await role.check(pool, [as_clerk("actiond_producer", inserts), as_clerk(None, inserts)])


class _One:
    """A pool of this connection."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    def acquire(self) -> _One:
        return self

    async def __aenter__(self) -> asyncpg.Connection:
        return self._connection

    async def __aexit__(self, *_: object) -> None: ...


async def test_a_role_that_goes_away_meanwhile_fails_its_actions_with_a_line(db, conn, clerk) -> None:
    async def drops_first(batch: Batch[Any]) -> None:
        await conn.execute(f"alter role {clerk} rename to {clerk}_gone")
        try:
            await inserts(batch)
        finally:
            await conn.execute(f"alter role {clerk}_gone rename to {clerk}")

    await ask(conn, "invoices", 1)
    [failed] = await run_once(db.dsn, as_clerk(clerk, drops_first))
    assert failed.status == "failed"
    assert f"there is no role '{clerk}' in this database" in (failed.error or "")


async def test_it_is_no_fault_of_the_rows_for_execute_each(db, conn, clerk) -> None:
    calls: list[int] = []

    async def drops_first(batch: Batch[Any]) -> None:
        calls.append(len(batch))
        await conn.execute(f"alter role {clerk} rename to {clerk}_gone")
        try:
            await batch.execute_each("insert into public.invoice (amount) values ($1)", lambda action: (action.data,))
        finally:
            await conn.execute(f"alter role {clerk}_gone rename to {clerk}")

    await ask(conn, "invoices", 1, 2, 3)
    failed = await run_once(db.dsn, as_clerk(clerk, drops_first))
    assert {"there is no role" in (action.error or "") for action in failed} == {True}
    assert calls == [3]


# Who asked.


async def test_the_handler_knows_who_asked(db, conn, clerk) -> None:
    seen: list[str] = []

    async def looks(batch: Batch[Any]) -> None:
        seen.extend(action.created_by for action in batch)
        batch.complete()

    await ask(conn, "invoices", {})
    await run_once(db.dsn, as_clerk(None, looks))
    assert seen == [await conn.fetchval("select session_user")]
