"""actiond.testing on a real database: what is due runs once and is saved, as a daemon would; and the one clock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import anyio
import asyncpg
import pytest

from actiond import KEEP_ALIVE, Action, Batch, Failure, batch_processor, processor
from actiond.postgres.migrate import migrate
from actiond.testing import Database, Server, run_once
from actiond.words.errors import OperatorError, SchemaMissing
from support.database import Database as OfSupport
from support.database import Server as ServerOfSupport
from support.rows import events, nothing_claimed


@processor("mail", retries=1, retry_interval="1 min")
async def mail(action: Action[dict[str, Any]]) -> str:
    if action.data.get("to") == "nobody":
        raise ValueError("nobody is there")
    return f"sent to {action.data['to']}"


@pytest.fixture
def database(db: OfSupport) -> Database:
    return Database(db.dsn)


async def test_each_row_that_is_due_gets_its_outcome(database: Database, conn: asyncpg.Connection) -> None:
    sent = await database.enqueue(mail, {"to": "ada"}, related="customer 1")
    refused = await database.enqueue("mail", {"to": "nobody"})
    later = await database.enqueue(mail, {"to": "later"}, delay="1 h")
    await database.enqueue("other", {})
    first, second = await database.run_once(mail)
    assert (first.id, first.status, first.result, first.related) == (sent, "completed", "sent to ada", "customer 1")
    assert (second.id, second.status, second.error) == (refused, "pending", "ValueError: nobody is there")
    assert (second.attempts, second.retries_left) == (1, 0)
    assert (await database.action(later)).attempts == 0
    assert await nothing_claimed(conn)
    assert await database.run_once(mail) == []


async def test_a_row_that_is_due_again_at_once_runs_once(database: Database, conn: asyncpg.Connection) -> None:
    @processor("busy")
    async def busy(action: Action[Any]) -> None:
        raise Failure("busy", KEEP_ALIVE, after="0 s")

    id_ = await database.enqueue(busy)
    for attempts in (1, 2):
        (again,) = await database.run_once(busy)
        assert (again.status, again.attempts) == ("pending", attempts)
    assert await events(conn, id_) == ["retried", "retried"]


async def test_more_than_one_batch_in_batches_of_the_usual_size(database: Database, conn: asyncpg.Connection) -> None:
    sizes: list[int] = []

    @batch_processor("many", batch_size=4)
    async def many(batch: Batch[Any]) -> None:
        sizes.append(len(batch))
        batch.complete()

    ids = [await database.enqueue(many, number) for number in range(10)]
    ran = await run_once(database.dsn, many)
    assert [each.id for each in ran] == ids
    assert sorted(sizes) == [2, 4, 4]
    assert {each.status for each in ran} == {"completed"}
    assert await nothing_claimed(conn)


async def test_a_transaction_of_the_handler_is_one(database: Database, conn: asyncpg.Connection) -> None:
    @batch_processor("writes")
    async def writes(batch: Batch[int]) -> None:
        async with batch.transaction() as connection:
            await connection.execute("create table public.written as select $1::int as number", batch[0].data)
            batch.complete()

    await database.enqueue(writes, 7)
    assert [each.status for each in await database.run_once(writes)] == ["completed"]
    assert await conn.fetchval("select number from public.written") == 7


@pytest.mark.parametrize("executor", ["loop", "thread", "process"])
async def test_a_handler_that_is_not_async_runs(database: Database, executor: str) -> None:
    @processor("plain", executor=executor)
    def plain(action: Action[int]) -> int:
        return action.data * 2

    await database.enqueue(plain, 21)
    assert [each.result for each in await database.run_once(plain)] == [42]


async def test_a_parent_goes_on_when_its_children_have_ended(database: Database) -> None:
    @processor("parent")
    async def parent(action: Action[Any]) -> Any:
        if action.state is None:
            await database.enqueue("child")
            return action.wait_for_children(state={"asked": True})
        return "all done"

    @processor("child")
    async def child(action: Action[Any]) -> None:
        return None

    id_ = await database.enqueue(parent)
    assert [each.processor for each in await database.run_once(parent, child)] == ["parent", "child"]
    (over,) = await database.run_once(parent)
    assert (over.id, over.status, over.result) == (id_, "completed", "all done")


async def test_what_an_operator_has_set_holds(database: Database, conn: asyncpg.Connection) -> None:
    @processor("set", retries=5, config={"url": "declared"})
    async def is_set(action: Action[Any]) -> None:
        raise ValueError("no")

    await database.enqueue(is_set)
    await conn.execute("select actiond.pause()")
    assert await database.run_once(is_set) == []
    await conn.execute("select actiond.resume()")
    await conn.execute("select actiond.set_processor('set', 'enabled', 'false')")
    assert await database.run_once(is_set) == []
    await conn.execute("select actiond.set_processor('set', 'enabled', 'true')")
    await conn.execute("select actiond.set_processor('set', 'retries', '0')")
    assert [each.status for each in await database.run_once(is_set)] == ["failed"]


async def test_it_is_a_daemon_that_has_ended(database: Database, conn: asyncpg.Connection) -> None:
    alive: list[int] = []

    @processor("looks")
    async def looks(action: Action[Any]) -> None:
        alive.append(await conn.fetchval("select count(*) from actiond.daemon where ended_at is null"))

    await database.enqueue(looks)
    await database.run_once(looks)
    assert alive == [1]
    ended = await conn.fetch("select processors, ended from actiond.daemon")
    assert [(row["processors"], row["ended"]) for row in ended] == [(["looks"], "stopped")]


async def test_a_deadline_around_it_ends_the_handler(database: Database) -> None:
    @processor("slow")
    async def slow(action: Action[Any]) -> None:
        await anyio.sleep_forever()

    await database.enqueue(slow)
    with pytest.raises(TimeoutError):
        with anyio.fail_after(2):
            await database.run_once(slow)


async def test_without_a_schema_it_says_what_to_do(bare_db: OfSupport) -> None:
    with pytest.raises(SchemaMissing, match="actiond migrate"):
        await run_once(bare_db.dsn, mail)


async def test_the_clock_stands_still_is_moved_and_runs_on(database: Database) -> None:
    noon = datetime(2030, 2, 3, 12, 0, tzinfo=UTC)
    assert await database.freeze(noon) == noon
    assert await database.now() == noon
    assert await database.move("90 s") == datetime(2030, 2, 3, 12, 1, 30, tzinfo=UTC)
    assert await database.now() == datetime(2030, 2, 3, 12, 1, 30, tzinfo=UTC)
    id_ = await database.enqueue(mail, {"to": "ada"}, delay="1 min")
    assert await database.run_once(mail) == []
    await database.move("1 min")
    assert [each.id for each in await database.run_once(mail)] == [id_]
    with pytest.raises(ValueError, match="no time zone"):
        await database.freeze(datetime(2030, 1, 1))  # noqa: DTZ001 - that is the mistake
    with pytest.raises(ValueError, match="not a duration"):
        await database.move("soon")


async def test_a_clock_that_runs_runs_on(database: Database) -> None:
    before = await database.now()
    first = await database.move("1 d")
    assert (first - before).days == 1
    second = await database.move("1 d")
    assert (second - before).days == 2
    assert await database.now() > second


async def test_the_clock_of_a_database_that_is_not_for_tests_is_left_alone(server: ServerOfSupport) -> None:
    database = await server.create()
    other = server.named(f"actiond_other_{database.name.removeprefix('actiond_test_')}")
    connection = await asyncpg.connect(server.admin_dsn)
    try:
        await server.drop(database)
        await connection.execute(f'create database "{other.name}"')
        await migrate(other.dsn)
        for moving in (Database(other.dsn).freeze(), Database(other.dsn).move("1 d")):
            with pytest.raises(OperatorError, match="whose name has `test` in it"):
                await moving
        with pytest.raises(ValueError, match="no database that was made for a test"):
            await Server(server.admin_dsn).drop(Database(other.dsn))
    finally:
        await connection.execute(f'drop database "{other.name}" with (force)')
        await connection.close()


async def test_databases_are_fresh_and_gone_afterwards(server: ServerOfSupport) -> None:
    ours = Server(server.admin_dsn)
    async with ours.fresh() as one, ours.fresh() as two:
        await one.enqueue(mail, {"to": "ada"})
        assert len(await one.run_once(mail)) == 1
        assert await two.run_once(mail) == []
        with pytest.raises(LookupError, match="no action 7"):
            await one.action(7)
    await ours.close()
    connection = await asyncpg.connect(server.admin_dsn)
    try:
        left = await connection.fetchval("select count(*) from pg_database where starts_with(datname, $1)", ours._ours)
    finally:
        await connection.close()
    assert left == 0


def test_a_test_that_fails_shows_no_password() -> None:
    shown = repr(Database("postgresql://me:open-sesame@here/actiond_test_1"))
    assert "here/actiond_test_1" in shown
    assert "open-sesame" not in shown
