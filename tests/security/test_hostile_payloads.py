"""Payloads that want to bring a daemon down: each ends with a reason, its neighbours complete, the log stays a log."""

from __future__ import annotations

import re

import asyncpg
import pytest

from support import hostile
from support.rows import ask, look, nothing_claimed, until

pytestmark = pytest.mark.slow

WORK = """
class Shape(BaseModel):
    number: int = 0
    text: str = ""


@processor("one", retries=0)
async def one(action: Action[dict]):
    action.log.info("seen", payload=action.data)
    return action.data


@processor("typed", retries=0)
async def typed(action: Action[Shape]):
    return action.data.number


@processor("anything", retries=0)
async def anything(action):
    return {"echo": action.data}


@processor("raises", retries=0)
async def raises(action):
    action.log.warning(str(action.data), **{str(action.data)[:50]: 1})
    raise RuntimeError(action.data)


@processor("forked", retries=0, executor="process")
def forked(action):
    return action.data


@batch_processor("many", retries=0, batch_size=100)
async def many(batch):
    for action in batch:
        action.complete(action.data)
"""
PROCESSORS = ("one", "typed", "anything", "raises", "forked", "many")


async def accepted(conn: asyncpg.Connection, processor: str, text: str) -> int | None:
    """Its id; None: Postgres itself refuses it, with a reason."""
    try:
        return await conn.fetchval(
            "insert into actiond.action (processor, data) values ($1, $2::text::jsonb) returning id", processor, text
        )
    except asyncpg.PostgresError as refused:
        refusal = refused
    assert refusal.sqlstate[:2] in ("22", "23", "54"), refusal
    return None


async def test_each_row_ends_with_a_reason_and_its_neighbours_complete(db, conn, start, processor_file) -> None:
    rows: dict[int, tuple[str, str]] = {}
    for processor in PROCESSORS:
        for name, text in hostile.payloads().items():
            if (id_ := await accepted(conn, processor, text)) is not None:
                rows[id_] = (processor, name)
    assert {"deep_arrays", "long_number", "beyond_a_double", "escaped_nul", "twice"} <= {n for _, n in rows.values()}
    good = {each: await ask(conn, each, *[{"n": n} for n in range(20)]) for each in PROCESSORS if each != "raises"}

    daemon = await start(db.dsn, processor_file(WORK)).ready()
    for processor, ids in good.items():
        await until(conn, ids, "completed")
        assert len(ids) == 20, processor
    for row in await until(conn, sorted(rows), "completed", "failed"):
        assert row["status"] == "completed" or row["error"], rows[row["id"]]
        assert row["crashes"] == 0
        assert row["attempts"] == 1, rows[row["id"]]
    assert await nothing_claimed(conn)
    assert daemon.process.poll() is None
    assert daemon.heard("connection_lost") == []
    assert [line for line in daemon.lines if line["event"] is None] == []  # every line is one JSON object

    ended = {rows[row["id"]]: row for row in await look(conn, sorted(rows))}
    assert "recursion limit" in ended["one", "deep_objects"]["error"]
    assert "recursion limit" in ended["anything", "deep_arrays"]["error"]
    assert "number out of range" in ended["anything", "long_number"]["error"]
    assert ended["many", "twice"]["result"] == '{"a": {"a": 3}}'
    assert ended["anything", "escaped_nul"]["status"] == "completed"
    assert ended["anything", "controls"]["status"] == "completed"


@pytest.mark.parametrize("format_", ["console", "journal"])
async def test_no_text_of_others_breaks_a_line_or_steers_a_terminal(
    db, conn, start, processor_file, tmp_path, format_
) -> None:
    texts = [text for text in hostile.texts(tmp_path / "touched").values() if text and len(text) < 1000]
    for text in texts:
        await conn.execute(
            "insert into actiond.action (processor, data, related) values ('raises', to_jsonb($1::text), $1)", text
        )
        await conn.execute("insert into actiond.action (processor) values (left($1, 255))", text)
        await conn.execute("select pg_notify('actiond_wake', $1), pg_notify('actiond_withdrawn', $1)", text)
    ids = [row["id"] for row in await conn.fetch("select id from actiond.action where processor = 'raises'")]
    daemon = start(db.dsn, processor_file(WORK), options=("--log-format", format_))
    await until(conn, ids, "failed")
    for text in texts:
        await conn.execute("select pg_notify('actiond_wake', $1), pg_notify('actiond_withdrawn', $1)", text)
        await conn.execute("select pg_notify('actiond_policy', $1)", text)
    after = await ask(conn, "anything", *[1, 2, 3])
    await until(conn, after, "completed")
    lines = [line["text"] for line in daemon.lines if line["event"] is None]
    assert len(lines) > len(texts)
    begin = r"<\d>" if format_ == "journal" else r"\d\d:\d\d:\d\d |    "
    for line in lines:
        assert hostile.steering(line) == set(), line
        assert re.match(begin, line), line
    assert not (tmp_path / "touched").exists()
