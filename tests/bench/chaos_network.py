"""Chaos scenarios between daemons and their server: silence on connections that never end, and clocks that disagree."""

from __future__ import annotations

import asyncio
import shutil
import time

from tests.bench.chaos_stage import END_S, HELD, Stage, Way

from support.other_clock import other_clock
from support.proxy import running_proxy

HOUR_S, DAY_S = 3600.0, 86400.0
CALM_S = 3.0
LONG_ROWS, LONG_S, LONG_BEGUN_S, ON_ITS_WAY_S = 20, "2", 0.5, 0.2


async def half_open(stage: Stage) -> None:
    """The session on which a daemon listens is half open: no byte comes, no end. Until the daemon has found out."""
    async with running_proxy(stage.dsn) as proxy:
        daemon_way = Way(stage.dsn, {"ACTIOND_LISTEN_DSN": proxy.dsn})
        async with stage.working(daemon_way, Way(stage.dsn)):
            proxy.hole(ends=True)
            began_s = time.monotonic()
            await stage.daemons[0].says("listener_lost", END_S)
            stage.values.append(time.monotonic() - began_s)
            proxy.heal()
            await stage.daemons[0].says("listener_restored", END_S)


async def cut_off(stage: Stage) -> None:
    """All of a daemon's connections go silent while it has rows in hand. Until the last of these ended elsewhere."""
    async with running_proxy(stage.dsn) as proxy, stage.working(Way(proxy.dsn), Way(stage.dsn)):
        async with stage.connected() as connection:  # so many that both have some
            await stage.producer.insert(connection, "chaos_long", LONG_ROWS, LONG_S)
        await asyncio.sleep(LONG_BEGUN_S)
        proxy.hole(ends=True)  # the server sees neither a byte nor an end
        since = time.time()
        await asyncio.sleep(ON_ITS_WAY_S)
        ids = [row["id"] for row in await stage.ask(HELD, stage.daemons[0].pid)]
        if not ids:
            raise RuntimeError("nothing was in hand: this would prove nothing")
        stage.watched.append((since, ids))
        stage.said.append(f"{len(ids)} rows in hand")
        await stage.ended(ids)
        stage.over_at = time.time()
        proxy.heal()


async def clock_skew(stage: Stage) -> None:
    """One host is an hour ahead and one a day behind, and then the other way round."""
    with other_clock() as one, other_clock() as other:
        one.goes_wrong(HOUR_S)
        other.goes_wrong(-DAY_S)
        async with stage.working(Way(stage.dsn, one.environment), Way(stage.dsn, other.environment)):
            for ahead_s in (-DAY_S, HOUR_S):
                one.goes_wrong(ahead_s)
                other.goes_wrong(-ahead_s)
                await asyncio.sleep(CALM_S)
            if (died := (await stage.ask("select count(*) from actiond.daemon where ended = 'died'"))[0][0]) != 0:
                stage.complaints.append(f"{died} daemons were taken for dead")


def compiler_missing() -> str | None:
    return None if shutil.which("cc") else "no C compiler here (apt-get install gcc)"
