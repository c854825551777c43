"""Presence behind a server that falls silent: nothing says so, except its own heartbeat."""

from __future__ import annotations

import asyncio

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
        await eventually(lambda: False in sessions)
        proxy.heal()
        await eventually(lambda: sessions[-1], within_s=8)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
