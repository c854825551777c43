"""A rolling deploy of a payload that has changed: rows of both versions are done, by whoever knows them."""

from __future__ import annotations

import pytest

from support.command import actiond
from support.database import eventually
from support.rows import ask, until

pytestmark = pytest.mark.slow

OLD = """
from actiond import versioned

@versioned()
class Person(BaseModel):
    name: str

@processor("greet", retries=0, retry_interval="0.2 s", executor={executor!r})
def greet(action: Action[Person]) -> str:
    return action.data.name
"""
NEW = """
from actiond import versioned

def split(data):
    first, _, last = data["name"].partition(" ")
    return {{"first": first, "last": last}}

@versioned(split)
class Person(BaseModel):
    first: str
    last: str

@processor("greet", retries=0, retry_interval="0.2 s", executor={executor!r})
def greet(action: Action[Person]) -> str:
    return f"{{action.data.last}}, {{action.data.first}}"
"""


@pytest.mark.parametrize("executor", ["thread", "process"])
async def test_new_rows_wait_for_new_code_and_old_rows_are_brought_to_it(
    db, conn, start, processor_file, executor
) -> None:
    old = await start(db.dsn, processor_file(OLD.format(executor=executor))).ready()
    before, after = {"name": "Ada Lovelace"}, {"$version": 2, "first": "Grace", "last": "Hopper"}
    (served,) = await ask(conn, "greet", before)
    (row,) = await until(conn, [served], "completed")
    assert row["result"] == '"Ada Lovelace"'

    (kept,) = await ask(conn, "greet", after)
    sql = "select * from actiond.action where id = $1"
    waiting = await eventually(lambda: tried_twice(conn, sql, kept))
    assert waiting["status"] == "pending"
    assert waiting["retries_left"] is None  # with retries=0 anything that is charged would have failed
    assert waiting["error"] == (
        "The payload is newer than this program: it has version 2, and the last one known here is 1"
    )
    old.kill()

    await start(db.dsn, processor_file(NEW.format(executor=executor))).ready()
    (earlier,) = await ask(conn, "greet", before)
    rows = {row["id"]: row for row in await until(conn, [kept, earlier], "completed")}
    assert rows[kept]["result"] == '"Hopper, Grace"'
    assert rows[kept]["error"] is None
    assert rows[earlier]["result"] == '"Lovelace, Ada"'
    shown = await actiond("processors", "greet", dsn=db.dsn)
    assert '"const": 2' in shown.out
    refused = await actiond(
        "enqueue", "greet", "--validate", "--data", '{"first": "Grace", "last": "Hopper"}', dsn=db.dsn
    )
    assert refused.code == 1
    assert "lacks '$version'" in refused.err


async def tried_twice(conn, sql, id_):
    row = await conn.fetchrow(sql, id_)
    return row if row["attempts"] > 1 and row["error"] else None
