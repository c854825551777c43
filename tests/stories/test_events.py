"""Handlers that publish, with their transaction or at once; `actiond subscription` and `actiond feed` as commands."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import asyncpg
import pytest

from support.command import actiond
from support.daemon import COMMAND
from support.database import eventually
from support.rows import ask, until

pytestmark = pytest.mark.slow

WORK = """
from actiond.words.errors import NoTransaction


@batch_processor("pay", retries=0)
async def pay(batch):
    async with batch.transaction() as connection:
        for action in batch:
            told = await batch.publish("order_paid", action.data, related=action.related)
            action.complete(told)
    if batch[0].data.get("then") == "raise":
        raise ValueError("after the commit")


@batch_processor("pay_in_vain", retries=0)
async def pay_in_vain(batch):
    async with batch.transaction() as connection:
        await batch.publish("order_paid", {"from": "inside"})
        await batch.publish("order_seen", {"from": "at once"}, immediately=True)
        raise ValueError("rolled back")


@batch_processor("pay_nowhere", retries=0)
async def pay_nowhere(batch):
    async with batch.transaction():
        pass
    try:
        await batch.publish("order_paid")
    except NoTransaction as refused:
        batch.fail(None, refused)


@batch_processor("ship", history="all")
async def ship(batch):
    batch.complete()


@batch_processor("watch")
async def watch(batch):
    batch.complete()
"""


async def heard(conn: asyncpg.Connection, processor: str) -> list[Any]:
    rows = await conn.fetch("select data::text as data from actiond.action where processor = $1 order by id", processor)
    return [json.loads(row["data"]) for row in rows]


@pytest.fixture
async def subscribed(conn) -> None:
    await conn.execute(
        "insert into actiond.subscription (event, processor)"
        " values ('order_paid', 'ship'), ('order_paid', 'watch'), ('order_seen', 'watch')"
    )


async def test_published_in_a_transaction_it_commits_with_the_marks(
    db, conn, start, processor_file, subscribed
) -> None:
    await start(db.dsn, processor_file(WORK)).ready()
    ids = await ask(conn, "pay", {"order": 1}, {"order": 2}, related="order")
    rows = await until(conn, ids, "completed")
    assert [row["result"] for row in rows] == ["2", "2"]
    assert await heard(conn, "ship") == await heard(conn, "watch") == [{"order": 1}, {"order": 2}]
    everybody = [row["id"] for row in await conn.fetch("select id from actiond.action")]
    await until(conn, everybody, "completed")
    # What was decided and published inside stays, whatever the handler does afterwards.
    (late,) = await ask(conn, "pay", {"order": 3, "then": "raise"})
    await until(conn, [late], "completed")
    assert len(await heard(conn, "ship")) == 3


async def test_rolled_back_it_was_never_published_but_at_once_it_was(
    db, conn, start, processor_file, subscribed
) -> None:
    """One connection for handlers: what is published at once does not wait for the one that its handler holds."""
    daemon = start(db.dsn, processor_file(WORK), env={"ACTIOND_HANDLER_CONNECTIONS": "1"})
    await daemon.ready()
    (row,) = await until(conn, await ask(conn, "pay_in_vain"), "failed")
    assert "rolled back" in row["error"]
    assert (await heard(conn, "ship"), await heard(conn, "watch")) == ([], [{"from": "at once"}])


async def test_outside_of_a_transaction_a_handler_has_to_say_at_once(
    db, conn, start, processor_file, subscribed
) -> None:
    await start(db.dsn, processor_file(WORK)).ready()
    (row,) = await until(conn, await ask(conn, "pay_nowhere"), "failed")
    assert "publish inside `async with batch.transaction()`, or with immediately=True" in row["error"]
    assert await heard(conn, "ship") == []


async def test_the_daemon_notifies_when_the_setting_says_so(db, conn, start, processor_file) -> None:
    payloads = list[Any]()
    listening = await db.connect()
    await listening.add_listener("actiond_outcomes", lambda *said: payloads.append(said[-1]))
    daemon = start(db.dsn, processor_file(WORK))
    await daemon.ready()
    await until(conn, await ask(conn, "ship", {}, {}), "completed")
    assert payloads == []
    await conn.execute("insert into actiond.setting (name, value) values ('notify_outcomes', 'true')")

    async def notified() -> bool:
        """The setting reaches the daemon some time after it was written."""
        await until(conn, await ask(conn, "ship"), "completed")
        return bool(payloads)

    await eventually(notified)
    assert set(payloads) == {""}
    await listening.close()


# The command line


async def test_subscriptions_from_the_first_to_the_last(db, conn) -> None:
    await conn.execute("insert into actiond.processor (name) values ('ship')")
    none = await actiond("subscription", "ls", dsn=db.dsn)
    assert none.out == "nobody has subscribed: `actiond subscription add EVENT PROCESSOR`\n"
    added = await actiond("subscription", "add", "order_paid", "ship", dsn=db.dsn)
    assert added.out.splitlines() == [
        "ship hears of order_paid",
        "undo: actiond subscription rm order_paid ship",
    ]
    assert added.err == ""
    again = await actiond("subscription", "add", "order_paid", "ship", "--json", dsn=db.dsn)
    assert json.loads(again.out) == {"event": "order_paid", "processor": "ship", "added": False, "known": True}
    typo = await actiond("subscription", "add", "order_paid", "shipp", dsn=db.dsn)
    assert typo.line == "no processor 'shipp' is known yet: is the name right?"
    table = (await actiond("subscription", "ls", "order_paid", dsn=db.dsn)).out.splitlines()
    assert [line.split()[:2] for line in table[1:]] == [["order_paid", "ship"], ["order_paid", "shipp"]]
    assert table[2].rstrip().endswith("no such processor is known")
    rows = json.loads((await actiond("subscription", "ls", "--processor", "ship", "--json", dsn=db.dsn)).out)
    assert [(row["event"], row["processor"], row["known"]) for row in rows] == [("order_paid", "ship", True)]
    gone = await actiond("subscription", "rm", "order_paid", "shipp", dsn=db.dsn)
    assert gone.out.splitlines()[1] == "undo: actiond subscription add order_paid shipp"
    nothing = await actiond("subscription", "rm", "order_paid", "shipp", dsn=db.dsn)
    assert (nothing.code, "has not subscribed to 'order_paid'" in nothing.line) == (1, True)
    bad = await actiond("subscription", "add", "order paid", "ship", dsn=db.dsn)
    assert (bad.code, "event_is_1_to_255_characters" in bad.line) == (1, True)


class Reading:
    """`actiond feed --follow --json` as a process; what it has printed stays in a file when it is killed."""

    def __init__(self, dsn: str, path: Any, *options: str) -> None:
        self._path = path
        with path.open("wb") as out:
            self.process = subprocess.Popen(
                [*COMMAND, "feed", "--json", *options],
                env={**os.environ, "ACTIOND_DSN": dsn},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.PIPE,
            )

    def entries(self) -> list[dict[str, Any]]:
        """Whole lines only: a kill may cut the last one."""
        return [json.loads(line) for line in self._path.read_bytes().split(b"\n")[:-1]]

    def has(self, at_least: int) -> bool:
        """So many were printed."""
        return len(self.entries()) >= at_least

    def ends(self) -> tuple[int, str]:
        """Its exit code, and what it said beside."""
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said.decode()


@contextmanager
def reading(*arguments: Any) -> Iterator[Reading]:
    reader = Reading(*arguments)
    try:
        yield reader
    finally:
        if reader.process.poll() is None:
            reader.process.kill()
            reader.process.communicate()


async def test_a_reader_that_is_killed_goes_on_where_it_was(db, conn, start, processor_file, tmp_path) -> None:
    """Killed with SIGKILL three times while a daemon works; what it had printed last says where."""
    await start(db.dsn, processor_file(WORK)).ready()
    seen, position, asked = list[int](), "", list[int]()
    for life in range(4):
        with reading(db.dsn, tmp_path / f"life{life}", "--follow", "--since", position) as reader:
            asked += await ask(conn, "ship", *[{}] * 300)
            enough = len(asked) - len(seen) if life == 3 else 100
            await eventually(partial(reader.has, enough))
            reader.process.kill()
            reader.process.communicate()
            entries = reader.entries()
        seen += [entry["action_id"] for entry in entries]
        position = entries[-1]["position"]
    assert sorted(seen) == asked


async def test_ctrl_c_ends_it_and_it_says_where_to_go_on(db, conn, tmp_path) -> None:
    write = "insert into actiond.history (action_id, event) values ($1, 'completed')"
    await conn.execute(write, 1)
    with reading(db.dsn, tmp_path / "first", "--follow") as reader:

        async def follows() -> bool:
            """From when it does, everything is in it."""
            await conn.execute(write, 2)
            return bool(reader.entries())

        await eventually(follows)
        reader.process.send_signal(signal.SIGINT)
        code, said = await asyncio.to_thread(reader.ends)
    entries = reader.entries()
    assert {entry["action_id"] for entry in entries} == {2}
    assert (code, said.splitlines()[-1]) == (
        0,
        f"go on: actiond feed --since {entries[-1]['position']} --follow",
    )
    await conn.execute(write, 3)
    rest = await actiond("feed", "--since", entries[-1]["position"], "--json", dsn=db.dsn)
    assert json.loads(rest.out.splitlines()[-1])["action_id"] == 3


async def test_a_feed_for_people(db, conn, start, processor_file) -> None:
    await start(db.dsn, processor_file(WORK)).ready()
    await conn.execute("update actiond.processor set history = 'none' where name = 'watch'")
    (failed,) = await until(conn, await ask(conn, "pay_nowhere"), "failed")
    (shipped,) = await until(conn, await ask(conn, "ship"), "completed")
    told = await actiond("feed", dsn=db.dsn)
    assert told.code == 0
    first, second = told.out.splitlines()
    assert (
        f"failed     A-{failed['id']:08}  pay_nowhere  attempt 1  NoTransaction: There is no transaction here" in first
    )
    assert second.endswith(f"completed  A-{shipped['id']:08}  ship  attempt 1")
    missing, none, again = told.err.splitlines()
    assert missing.startswith("not here, because history does not keep them: completions at the first attempt of pay, ")
    assert none == ("not here, because history does not keep them: outcomes of watch (actiond set watch history all)")
    assert again.startswith("go on: actiond feed --since ")
    only = await actiond("feed", "--processor", "ship", dsn=db.dsn)
    assert only.out.splitlines() == [second]
    # As far as the whole, though it showed less: a daemon may have gone on meanwhile, but not with outcomes.
    position = only.err.splitlines()[-1].removeprefix("go on: actiond feed --since ").split()[0]
    assert (await actiond("feed", "--since", position, dsn=db.dsn)).out == ""


@pytest.mark.parametrize("position", ["yesterday", "99999999:99999999:"])
async def test_a_wrong_position_is_one_line(db, position: str) -> None:
    told = await actiond("feed", "--since", position, dsn=db.dsn)
    assert (told.code, told.out) == (1, "")
    assert f"'{position}'" in told.line
