"""What the code says of payloads, in the registry: the schema producers are held to, the fields that nobody sees."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest
from pydantic import BaseModel, field_validator

from actiond import Action, Batch, PayloadInvalid, batch_processor, enqueue, enqueue_many, processor, versioned
from actiond.postgres import schedule_edit
from actiond.postgres.processor_store import ProcessorStore
from actiond.postgres.statements import Statements
from actiond.testing import run_once
from actiond.words.errors import OperatorError
from support.command import actiond
from support.roles import Peopled
from support.rows import ask

CARD = "4111-1111-1111-1111"


class Charge(BaseModel):
    amount: int
    card: str

    @field_validator("amount")
    @classmethod
    def _is_much(cls, amount: int) -> int:
        if amount < 10:
            raise ValueError("not worth it")
        return amount


@processor("charge", redact=("card", "Pin"))
async def charge(action: Action[Charge]) -> dict[str, Any]:
    return {"card": action.data.card, "amount": action.data.amount}


@processor("anything")
async def anything(action: Action[Any]) -> None: ...


@pytest.fixture
async def declared(pool: asyncpg.Pool) -> ProcessorStore:
    """Both processors, as a daemon declares them."""
    store = ProcessorStore(pool, Statements())
    await store.declare((each.name, *each.stored()) for each in (charge, anything))
    return store


# The registry.


async def test_the_schema_and_the_fields_stand_in_the_row(conn, declared) -> None:
    row = await conn.fetchrow("select payload, redact from actiond.processor where name = 'charge'")
    assert json.loads(row["payload"])["required"] == ["amount", "card"]
    assert row["redact"] == ["card", "pin"]
    row = await conn.fetchrow("select payload, redact from actiond.processor where name = 'anything'")
    assert (row["payload"], row["redact"]) == (None, [])


async def test_declaring_again_changes_what_is_new_and_is_no_edit_of_an_operator(conn, declared) -> None:
    async def handler(action: Action[int]) -> None: ...

    before = await conn.fetchval("select xmin from actiond.processor where name = 'charge'")
    await declared.declare([("charge", *charge.stored())])
    assert await conn.fetchval("select xmin from actiond.processor where name = 'charge'") == before
    await declared.declare([("charge", *processor("charge")(handler).stored())])
    row = await conn.fetchrow("select payload, redact, updated_at < now() as old from actiond.processor"
                              " where name = 'charge'")  # fmt: skip
    assert (json.loads(row["payload"]), row["redact"]) == ({"type": "integer"}, [])
    assert await conn.fetchval("select count(*) from actiond.history") == 0


async def test_actiond_processors_shows_them(db, conn, declared) -> None:
    said = await actiond("processors", "charge", dsn=db.dsn)
    assert "not shown: card, pin" in said.out
    assert '"required": [' in said.out
    assert "payload: any JSON" in (await actiond("processors", "anything", dsn=db.dsn)).out
    shown = json.loads((await actiond("processors", "charge", "--json", dsn=db.dsn)).out)
    assert shown["processor"] == "charge"
    assert shown["payload"]["properties"]["card"]["type"] == "string"
    assert shown["redact"] == ["card", "pin"]
    assert {"knob": "retries", "origin": "built-in", "processor": "charge", "value": "3"} in shown["policy"]
    assert (await actiond("processors", "nobody", dsn=db.dsn)).line == (
        "actiond: there is no processor 'nobody'; `actiond processors` lists them all"
    )


# Checking before asking.


async def count(conn: asyncpg.Connection) -> int:
    return await conn.fetchval("select count(*) from actiond.action")


async def test_what_does_not_fit_is_not_asked_for(conn, declared) -> None:
    with pytest.raises(PayloadInvalid, match="amount: should be of type integer") as wrong:
        await enqueue(conn, "charge", {"amount": "much", "card": CARD}, validate=True)
    assert CARD not in str(wrong.value)
    assert await count(conn) == 0
    await enqueue(conn, "charge", {"amount": 10, "card": CARD}, validate=True)
    await enqueue(conn, "charge", {"amount": "much"})  # nobody asked
    await enqueue(conn, "anything", [None], validate=True)
    assert await count(conn) == 3


async def test_the_processor_itself_knows_more_than_its_schema_and_needs_no_daemon(conn) -> None:
    with pytest.raises(PayloadInvalid, match="not worth it"):
        await enqueue(conn, charge, {"amount": 9, "card": CARD}, validate=True)
    with pytest.raises(PayloadInvalid, match="card: Field required"):
        await enqueue_many(conn, charge, [{"amount": 10}], validate=True)
    assert await count(conn) == 0
    await enqueue(conn, charge, {"amount": "10", "card": CARD}, validate=True)  # pydantic takes it for a number
    assert await conn.fetchval("select processor from actiond.action") == "charge"


async def test_many_are_checked_each_and_in_a_transaction_all_or_none(conn, declared) -> None:
    good = {"amount": 10, "card": CARD}
    with pytest.raises(PayloadInvalid, match="lacks 'card'"):
        async with conn.transaction():
            await enqueue_many(conn, "charge", [good] * 6_000 + [({"amount": 3}, "order 7")], validate=True)
    assert await count(conn) == 0
    assert len(await enqueue_many(conn, "charge", [good, (good, "order 7")], validate=True)) == 2


async def test_a_processor_that_nobody_has_declared_is_probably_misspelt(conn, declared) -> None:
    with pytest.raises(OperatorError, match="no daemon has declared a processor 'chrage'"):
        await enqueue(conn, "chrage", {}, validate=True)


async def test_a_producer_may_ask_what_a_payload_looks_like_and_nothing_else(peopled: Peopled) -> None:
    async with peopled.connected("postgres") as owner:
        _, _, payload, redact = charge.stored()
        await owner.execute("update actiond.processor set payload = $1::text::jsonb, redact = $2", payload, redact)
    try:
        async with peopled.connected("producer") as conn:
            with pytest.raises(PayloadInvalid):
                await enqueue(conn, "p", {}, validate=True)
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await conn.fetch("select declared from actiond.processor")
    finally:
        async with peopled.connected("postgres") as owner:
            await owner.execute("update actiond.processor set payload = null, redact = '{}'")


LINES = f'{{"amount": 10, "card": "{CARD}"}}\n{{"amount": "x", "card": "{CARD}"}}\n{{"card": 7}}\n'


async def test_the_command_names_the_lines_that_do_not_fit(db, conn, declared) -> None:
    said = await actiond("enqueue", "charge", "--data", "-", "--validate", dsn=db.dsn, stdin=LINES)
    assert said.code == 1
    assert "line 2: amount: should be of type integer" in said.err
    assert "line 3: payload: lacks 'amount'; card: should be of type string" in said.err
    assert CARD not in said.err + said.out
    assert await count(conn) == 0
    said = await actiond("enqueue", "charge", "--data", "-", "--validate", "--skip-bad", dsn=db.dsn, stdin=LINES)
    assert (said.code, await count(conn)) == (1, 1)
    said = await actiond("enqueue", "charge", "--data", "{}", "--validate", "--dry-run", dsn=db.dsn)
    assert "0 good, 1 bad; nothing was inserted" in said.out
    said = await actiond("enqueue", "chrage", "--validate", dsn=db.dsn)
    assert said.line == "actiond: no daemon has declared a processor 'chrage', so its payloads cannot be checked"


# Fields that are not shown.

PAYLOAD = {"amount": 10, "card": CARD, "more": [{"PIN": 1234, "of": {"card": {"no": CARD}}}, "x"], "none": None}
SHOWN = {"amount": 10, "card": "[hidden]", "more": [{"PIN": "[hidden]", "of": {"card": "[hidden]"}}, "x"], "none": None}


async def test_views_show_the_payload_without_them(conn, declared) -> None:
    ids = await ask(conn, "charge", PAYLOAD, CARD, [], {})
    ids += await ask(conn, "anything", PAYLOAD)
    rows = await conn.fetch("select id, data from actiond.action_list order by id")
    assert [json.loads(row["data"]) for row in rows] == [SHOWN, CARD, [], {}, PAYLOAD]
    for view in ("recent_actions", "pending_actions"):
        rows = await conn.fetch(f"select data from actiond.{view} where processor = 'charge'")
        assert SHOWN in [json.loads(row["data"]) for row in rows]
    assert json.loads(await conn.fetchval("select params from actiond.job_list where id = $1", ids[0])) == SHOWN
    assert json.loads(await conn.fetchval("select data from actiond.action where id = $1", ids[0])) == PAYLOAD


async def test_results_and_states_show_them_neither(db, conn) -> None:
    @batch_processor("later", redact=("card",))
    async def later(batch: Batch[Any]) -> None:
        batch[0].defer("1 h", state={"card": CARD, "step": 1})

    await ask(conn, "charge", PAYLOAD)
    await ask(conn, "later", PAYLOAD)
    done, deferred = await run_once(db.dsn, charge, later)
    assert done.result == {"card": CARD, "amount": 10}  # a test sees what is there
    shown = json.loads((await actiond("show", str(done.id), "--json", dsn=db.dsn)).out)
    assert (shown["data"], shown["result"]) == (SHOWN, {"card": "[hidden]", "amount": 10})
    shown = json.loads((await actiond("show", str(deferred.id), "--json", dsn=db.dsn)).out)
    assert shown["state"] == {"card": "[hidden]", "step": 1}
    for command in (
        ["show", str(done.id)],
        ["show", str(deferred.id)],
        ["ls"],
        ["ls", "--json"],
        ["history", "--json"],
    ):
        said = await actiond(*command, dsn=db.dsn)
        assert said.code == 0
        assert CARD not in said.out + said.err


async def test_a_payload_deeper_than_any_is_hidden_from_there_on(conn, declared) -> None:
    deep = '{"a":' * 3_000 + f'{{"card": "{CARD}"}}' + "}" * 3_000
    id_ = await conn.fetchval("select actiond.enqueue('charge', $1)", deep)
    shown = await conn.fetchval("select data::text from actiond.action_list where id = $1", id_)
    assert shown == '{"a": ' * 51 + '"[hidden]"' + "}" * 51


async def test_schedules_show_them_neither_and_fire_with_them(db, conn, declared) -> None:
    said = await actiond(
        "schedule", "add", "nightly", "charge", "--every", "1 d", "--data", json.dumps(PAYLOAD), dsn=db.dsn
    )
    assert said.code == 0, said.err
    [listed] = json.loads((await actiond("schedule", "ls", "--json", dsn=db.dsn)).out)
    assert listed["data"] == SHOWN
    assert "shown" not in listed
    [row] = await schedule_edit.schedules(conn, "nightly")
    assert json.loads(row["data"]) == PAYLOAD


async def test_a_reader_sees_nothing_of_a_payload_as_before(peopled: Peopled) -> None:
    async with peopled.connected("postgres") as owner:
        await owner.execute("update actiond.processor set redact = '{card}'")
    try:
        async with peopled.connected("reader") as conn:
            seen = {row["data"] for row in await conn.fetch("select data from actiond.action_list")}
        assert seen == {'"(hidden)"'}
        async with peopled.connected("operator") as conn:
            assert await conn.fetch("select data, result, state from actiond.action_list")
    finally:
        async with peopled.connected("postgres") as owner:
            await owner.execute("update actiond.processor set redact = '{}'")


# Versions.


def joined(data: dict[str, Any]) -> dict[str, Any]:
    return {"name": f"{data['first']} {data['last']}"}


@versioned(joined)
class Person(BaseModel):
    name: str


@processor("greet")
async def greet(action: Action[Person]) -> str:
    return action.data.name


async def test_rows_asked_for_by_the_processor_carry_its_version(db, conn) -> None:
    ids = [await enqueue(conn, greet, {"name": "Ada"}, validate=True)]
    ids += await enqueue_many(conn, greet, [{"name": "Bob"}, ({"$version": 1, "first": "E", "last": "V"}, "7")])
    ids += [await enqueue(conn, "greet", {"first": "D", "last": "K"})]
    rows = await conn.fetch("select data from actiond.action where id = any($1) order by id", ids)
    assert [json.loads(row["data"]).get("$version") for row in rows] == [2, 2, 1, None]
    assert sorted(row.result for row in await run_once(db.dsn, greet)) == ["Ada", "Bob", "D K", "E V"]
