"""Presence behind a server that falls silent: nothing says so, except its own heartbeat."""

from __future__ import annotations

import asyncio

import anyio.lowlevel

from actiond.postgres import presence as module
from actiond.postgres.presence import Callbacks, Identity, Presence
from actiond.postgres.statements import Statements
from support.database import eventually
from support.proxy import running_proxy


async def test_a_listener_whose_server_falls_silent_is_replaced(db, monkeypatch) -> None:
    monkeypatch.setattr(module, "BEAT_TIMEOUT_S", 0.5)
    sessions: list[bool] = []
    callbacks = Callbacks(
        heard=lambda channel, payload: None,
        registered=lambda daemon: None,
        beaten=lambda dead: None,
        declared_dead=lambda daemon: None,
        session=lambda up, why: sessions.append(up),
    )
    async with running_proxy(db.dsn) as proxy:
        presence = Presence(proxy.dsn, Identity("here", 1, "0", ["p"], 30.0), callbacks, Statements())
        task = asyncio.create_task(presence.run())
        await eventually(lambda: sessions == [True])
        proxy.hole()
        await eventually(lambda: False in sessions, within_s=8)  # to close politely would take ten
        proxy.heal()
        await eventually(lambda: sessions[-1])
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_session_that_did_not_answer_a_loop_is_asked_nothing_more(db, monkeypatch) -> None:
    """One silence is enough: the beat behind it would wait for its own."""
    monkeypatch.setattr(module, "BEAT_TIMEOUT_S", 0.5)
    sessions: list[bool] = []
    beats: list[list[int]] = []
    callbacks = Callbacks(
        heard=lambda channel, payload: None,
        registered=lambda daemon: None,
        beaten=beats.append,
        declared_dead=lambda daemon: None,
        session=lambda up, why: sessions.append(up),
    )
    async with running_proxy(db.dsn) as proxy:
        presence = Presence(proxy.dsn, Identity("here", 1, "0", ["p"], 30.0), callbacks, Statements())
        task = asyncio.create_task(presence.run())
        await eventually(lambda: beats)
        proxy.hole()
        asking = [asyncio.create_task(presence.take(name)) for name in ("p", "q")]
        await anyio.lowlevel.checkpoint()  # the first is under way
        monkeypatch.setattr(module, "BEAT_TIMEOUT_S", 600.0)
        await eventually(lambda: False in sessions, within_s=8)
        asked = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(each) for each in asked] == [TimeoutError, ConnectionError]
        proxy.heal()
        await eventually(lambda: sessions[-1])
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_daemon_that_can_hold_no_lock_is_dead_only_when_its_lease_is_over(conn) -> None:
    await conn.execute(
        """insert into actiond.daemon (host, locks, seen_at, lease_until)
           values ('me', true, now(), now() + '30 s'), ('locks', true, now() - '5 s'::interval, now() + '30 s'),
                  ('silent', false, now() - '5 s'::interval, now() + '30 s'),
                  ('over', false, now() - '40 s'::interval, now() - '1 s'::interval)"""
    )
    row = await conn.fetchrow(Statements()["beat"], 1, 30.0, 2.5, 100.0)
    dead = await conn.fetch("select host from actiond.daemon where id = any($1::int[]) order by id", row["dead"])
    assert [each["host"] for each in dead] == ["locks", "over"]
