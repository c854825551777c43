"""Built-in processors in a real daemon: made of rows, changed by rows, and one that is wrong stops no other."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import asyncpg
import pytest

from support.daemon import Daemon
from support.database import Database, eventually
from support.rows import ask, until
from support.web import Web, reply, web_server

pytestmark = pytest.mark.slow


async def make(conn: asyncpg.Connection, name: str, uses: str, config: dict[str, Any], retries: int = 0) -> None:
    await conn.execute(
        "insert into actiond.processor (name, uses, config, retries) values ($1, $2, $3, $4)",
        name,
        uses,
        json.dumps(config),
        retries,
    )


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as web:
        yield web


@pytest.fixture
async def listened(db: Database) -> AsyncIterator[list[str]]:
    """The payloads on channel `orders`, in order."""
    heard: list[str] = []
    listener = await db.connect()
    await listener.add_listener("orders", lambda *news: heard.append(str(news[3])))
    yield heard
    await listener.close()


async def test_notifications_come_with_the_outcomes(
    db: Database, conn: asyncpg.Connection, start: Callable[..., Daemon], listened: list[str]
) -> None:
    await start(db.dsn).ready()
    await make(conn, "whole", "publish", {"channel": "orders"})
    await make(conn, "key", "publish", {"channel": "orders", "payload": "order ${data.order}"})
    ids = await ask(conn, "whole", {"order": 1}, "x" * 7997, "x" * 7998, "é" * 4000)
    rows = await until(conn, ids, "completed", "failed")
    assert [row["status"] for row in rows] == ["completed", "completed", "failed", "failed"]
    assert "the payload has 8000 bytes, and a notification takes 7999" in rows[2]["error"]
    ids = await ask(conn, "key", {"order": 1}, {}, {"order": 3})
    rows = await until(conn, ids, "completed", "failed")
    assert [row["status"] for row in rows] == ["completed", "failed", "completed"]
    assert rows[1]["error"] == "there is no data.order, which the template needs"
    await eventually(lambda: len(listened) >= 4)
    assert listened == ['{"order": 1}', json.dumps("x" * 7997), "order 1", "order 3"]


async def test_a_notification_wakes_another_processor(
    db: Database, conn: asyncpg.Connection, start: Callable[..., Daemon], processor_file: Callable[[str], Any]
) -> None:
    waits = """
    @processor("waits", run_on_insert=False)
    async def waits(action): pass
    """
    await start(db.dsn, processor_file(waits), env={"ACTIOND_POLL_INTERVAL_S": "3600"}).ready()
    await make(conn, "follow_up", "publish", {"channel": "actiond_wake", "payload": "waits"})
    first = await ask(conn, "waits", 1)
    await until(conn, await ask(conn, "follow_up", {}), "completed")
    await until(conn, first, "completed")


async def test_rows_choose_a_processor_and_data_and_nothing_else(
    db: Database, conn: asyncpg.Connection, start: Callable[..., Daemon], web: Web
) -> None:
    daemon = await start(db.dsn, env={"ACTIOND_SECRET_TOKEN": "open-sesame"}).ready()
    url = web.say("/a", reply(200, b'"open-sesame"'))
    headers = {"Authorization": {"secret": "token", "prefix": "Bearer "}}
    await make(conn, "call", "http", {"url": url, "headers": headers})
    await make(conn, "cat", "command", {"argv": ["sh", "-c", "exit 9"]})
    other = {"url": "http://127.0.0.1:1/", "argv": ["touch", "/x"], "headers": {}, "config": {}, "uses": "sql_function"}
    (row,) = await until(conn, await ask(conn, "call", other), "completed", "failed")
    assert json.loads(row["result"]) == {"status": 200, "body": "[hidden]"}
    assert json.loads(web.seen[0].body) == other
    assert web.seen[0].headers["authorization"] == "Bearer open-sesame"
    (row,) = await until(conn, await ask(conn, "cat", other), "completed", "failed")
    assert row["error"] == "no answer: the program ended with exit code 9"
    kept = await conn.fetchval("select string_agg(t::text, '') from (table actiond.history) t") or ""
    assert "sesame" not in kept
    assert "sesame" not in str(daemon.lines)


async def test_a_wrong_config_stops_no_other_and_is_told_with_its_field(
    db: Database, conn: asyncpg.Connection, start: Callable[..., Daemon], web: Web
) -> None:
    daemon = await start(db.dsn).ready()
    url = web.say("/a", reply(200))
    await make(conn, "bad", "http", {"url": url, "tiemout": "5 s"})
    await make(conn, "good", "http", {"url": url})
    line = await daemon.says("processor_reload_failed", source="processor bad")
    assert line["error"].endswith("'bad': config tiemout: there is no such field")
    await until(conn, await ask(conn, "good", 1), "completed")
    waiting = await ask(conn, "bad", 1)
    await conn.execute("update actiond.processor set config = $1 where name = 'bad'", json.dumps({"url": url}))
    await until(conn, waiting, "completed")
    await conn.execute("update actiond.processor set config = '{}' where name = 'bad'")
    line = await daemon.says("processor_reload_failed", times=2)
    assert line["error"].endswith("'bad': config url: Field required")
    await until(conn, await ask(conn, "bad", 2), "completed")  # as it was


async def test_a_secret_that_comes_later_is_found_at_a_reload(
    db: Database, conn: asyncpg.Connection, start: Callable[..., Daemon], web: Web, tmp_path: Any
) -> None:
    daemon = await start(db.dsn, env={"CREDENTIALS_DIRECTORY": str(tmp_path)}).ready()
    url = web.say("/a", reply(200))
    await make(conn, "call", "http", {"url": url, "headers": {"X-Key": {"secret": "key"}}})
    ids = await ask(conn, "call", 1)
    line = await daemon.says("processor_reload_failed")
    assert "headers.X-Key: there is no secret 'key': set ACTIOND_SECRET_KEY" in line["error"]
    (tmp_path / "key").write_text("first")
    daemon.signal(signal.SIGHUP)
    await until(conn, ids, "completed")
    (tmp_path / "key").write_text("second")
    daemon.signal(signal.SIGHUP)
    await daemon.says("processor_reloaded", processor="call")
    await until(conn, await ask(conn, "call", 1), "completed")
    assert [request.headers["x-key"] for request in web.seen] == ["first", "second"]


async def test_a_missing_extra_is_named_and_the_others_go_on(
    db: Database,
    conn: asyncpg.Connection,
    start: Callable[..., Daemon],
    processor_file: Callable[[str], Any],
    listened: list[str],
) -> None:
    without = "import sys\nsys.modules['httpx'] = sys.modules['aiosmtplib'] = None  # as if they were not installed"
    daemon = await start(db.dsn, processor_file(without)).ready()
    await make(conn, "call", "http", {"url": "http://127.0.0.1/"})
    await make(conn, "mail", "email", {})
    await make(conn, "tell", "publish", {"channel": "orders"})
    line = await daemon.says("processor_reload_failed", source="processor call")
    assert line["error"] == "'http' needs the package httpx, which is not here: pip install 'actiond[http]'"
    line = await daemon.says("processor_reload_failed", source="processor mail")
    assert line["error"] == "'email' needs the package aiosmtplib, which is not here: pip install 'actiond[email]'"
    await until(conn, await ask(conn, "tell", 1), "completed")


async def test_what_a_built_in_declares_is_to_be_seen(
    db: Database, conn: asyncpg.Connection, start: Callable[..., Daemon]
) -> None:
    await start(db.dsn).ready()
    await make(conn, "cat", "command", {"argv": ["cat"], "timeout": "2 s"})

    async def shown() -> dict[str, tuple[str, str]]:
        rows = await conn.fetch("select knob, value, origin from actiond.processor_policy where processor = 'cat'")
        return {row["knob"]: (row["value"], row["origin"]) for row in rows}

    async def declared() -> bool:
        return (await shown())["batch_size"] == ("50", "declared")

    await eventually(declared)
    assert (await shown())["retries"] == ("0", "override")
    assert (await shown())["timeout"][1] == "declared"


async def test_a_host_may_allow_less(db: Database, conn: asyncpg.Connection, start: Callable[..., Daemon]) -> None:
    daemon = await start(db.dsn, env={"ACTIOND_BUILT_INS": "http, publish"}).ready()
    await make(conn, "cat", "command", {"argv": ["cat"]})
    await make(conn, "tell", "publish", {"channel": "orders"})
    line = await daemon.says("processor_reload_failed", source="processor cat")
    assert line["error"] == "'command' is not among those that ACTIOND_BUILT_INS allows on this host"
    await until(conn, await ask(conn, "tell", 1), "completed")
    assert daemon.heard("processor_registered", processor="cat") == []
