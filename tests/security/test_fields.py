"""Every text that somebody may write into a table of ours is stored as it is, or refused, and never carried out.

security/fields.py names them all; a column that is new and not in it turns a test red.
"""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from security.fields import BY_DAEMONS, FIELDS, HELPERS, NOTHING_FREE, QUESTIONS
from support import hostile
from support.hostile import Canary

#: A rule says no: of the schema (23, AC), a type (22), a limit (54); no such thing (42), not in this database (0A).
REFUSALS = ("0A000", "22", "23", "3F", "42", "54", "AC")


async def asked(conn: asyncpg.Connection, statement: str, text: str) -> str | None:
    """What it gives; None: refused. In a transaction that goes on where there are several, and is rolled back after."""
    refusal = None
    try:
        async with conn.transaction():
            return str(await conn.fetchval(statement, text))
    except asyncpg.PostgresError as refused:
        refusal = refused
    assert refusal.sqlstate.startswith(REFUSALS), (statement, text[:100], refusal)
    named = "call_for" in statement and "improper" in str(refusal)  # by regproc, which says so in this way
    assert refusal.sqlstate != "42601" or named, f"became a part of: {statement} {text[:100]!r}: {refusal}"
    return None


@pytest.mark.parametrize("name", sorted(FIELDS))
async def test_a_text_is_stored_as_it_is_or_refused(name: str, canary: Canary, conn, tmp_path: Path) -> None:
    await conn.execute(HELPERS)
    stored = 0
    for text in hostile.texts(canary.file).values():
        away = conn.transaction()
        await away.start()
        for statement in FIELDS[name]:
            found = await asked(conn, statement, text)
            assert found in (None, text) or (statement.startswith("select") and found.startswith(text)), statement
            stored += found is not None
        assert await canary.sings(), text
        await away.rollback()
    assert stored or name in NOTHING_FREE


@pytest.mark.parametrize("statement", QUESTIONS, ids=[f"{n:02}" for n, _ in enumerate(QUESTIONS)])
async def test_a_text_in_a_question_is_only_a_text(statement: str, canary: Canary, conn) -> None:
    await conn.execute(HELPERS)
    for text in hostile.texts(canary.file).values():
        if "call_for" in statement and text == "public.touched":
            continue  # whoever may call these says which function: daemons, and the owner who configured it
        await asked(conn, statement, text)
        assert await canary.sings(), text


async def test_a_filter_means_a_text_as_it_is(canary: Canary, conn) -> None:
    found = {}
    for name, text in hostile.texts(canary.file).items():
        id_ = await asked(conn, "select actiond.enqueue('p', related => $1)", text)
        if id_ is not None:
            found[name] = (int(id_), text)
    assert len(found) > 30
    for id_, text in found.values():
        for newest in (True, False):
            ids = await conn.fetchval(
                "select f.ids from actiond.find(jsonb_build_object('related', $1::text), newest_first => $2) f",
                text,
                newest,
            )
            assert ids == [id_], text


async def test_everything_that_looks_goes_through_them_unharmed(canary: Canary, conn) -> None:
    """Views and functions for people, over rows that hold the whole corpus."""
    await conn.execute(HELPERS)
    for statements in FIELDS.values():
        for text in hostile.texts(canary.file).values():
            await asked(conn, statements[0], text)
    for setting in ("verb", "verb_id", "by", "reason"):
        await conn.execute(f"reset actiond.{setting}")
    views = await conn.fetch(
        "select oid::regclass as name from pg_class where relnamespace = 'actiond'::regnamespace and relkind = 'v'"
    )
    for view in views:
        await conn.fetch(f"select v::text from {view['name']} v")
    ids = await conn.fetch("select id from actiond.action order by id")
    assert len(ids) > 100
    for row in ids[:: len(ids) // 50]:
        await conn.fetch("select * from actiond.explain($1)", row["id"])


async def test_no_column_with_texts_is_forgotten(conn) -> None:
    rows = await conn.fetch(
        "select c.table_name || '.' || c.column_name as name, c.table_name as table, c.column_name as column"
        " from information_schema.columns c join information_schema.tables t using (table_schema, table_name)"
        " where c.table_schema = 'actiond' and t.table_type = 'BASE TABLE'"
        " and c.udt_name in ('text', '_text', 'jsonb', 'varchar', 'name', 'json', 'xml', 'bytea')"
    )
    left = {row["name"] for row in rows if row["column"] not in BY_DAEMONS.get(row["table"], ())} - set(FIELDS)
    assert left == set()
